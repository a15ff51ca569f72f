# SPDX-License-Identifier: Apache-2.0
"""Depthwise maximum: the largest of a window's samples."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES
from codenet.isa import DepthwiseOp
from hw.interfaces import BEAT_TAPS, SAMPLES, STEP, TAP_LEAD, VECTOR
from hw.lib import delay, relays

LOWEST = -128
NO_TAP = 3


class DepthwiseMaximum(wiring.Component):
    """Maximum of the samples of the beats from ``first`` to ``last``, in each lane; in OFF steps ``samples[0]``.

    ``i_taps`` is of the beat that comes :data:`hw.interfaces.TAP_LEAD` cycles later. A beat a cycle; the result of a
    beat follows it by :attr:`latency` cycles and means something where the beat has ``last``.
    """

    LATENCY = 6

    def __init__(self):
        super().__init__(
            {
                "step": In(STEP),
                "i": In(stream.Signature(SAMPLES, always_ready=True)),
                "i_taps": In(BEAT_TAPS),
                "o_payload": Out(VECTOR),
            }
        )

    @property
    def latency(self) -> int:
        return self.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        beat = self.i.payload
        valid = delay(m, self.i.valid, self.LATENCY - 1, "valid", reset=True)
        first = delay(m, beat.first, self.LATENCY - 1, "first")
        off = delay(m, self.step.depthwise_op == DepthwiseOp.OFF, 1, "off")
        taps = delay(m, self.i_taps, TAP_LEAD - 1, "taps")

        # Samples that have no part in the beat lose against any other.
        candidates = []
        for n in range(9):
            taken = (taps.row_tap[n // 3] != NO_TAP) & (taps.column_tap[n % 3] != NO_TAP)
            # A copy for every four lanes, as the reset that tools make of it.
            absent = relays(m, Mux(off, n != 0, ~taken), 4, f"absent_{n}")
            candidate = Signal(VECTOR, name=f"candidate_{n}", reset_less=True)
            for lane in range(LANES):
                m.d.sync += candidate[lane].eq(Mux(absent[lane // 4], LOWEST, beat.samples[n][lane]))
            candidates.append(candidate)
        while len(candidates) > 1:
            level = []
            for n in range(0, len(candidates), 2):
                larger = Signal(VECTOR, name=f"larger_{len(candidates)}_{n}", reset_less=True)
                for lane in range(LANES):
                    values = [candidate[lane] for candidate in candidates[n : n + 2]]
                    m.d.sync += larger[lane].eq(Mux(values[0] > values[-1], values[0], values[-1]))
                level.append(larger)
            candidates = level
        largest = Signal(VECTOR, reset_less=True)
        with m.If(valid):
            for lane in range(LANES):
                new, old = candidates[0][lane], largest[lane]
                m.d.sync += largest[lane].eq(Mux(first | (new > old), new, old))
        m.d.comb += self.o_payload.eq(largest)
        return m
