# SPDX-License-Identifier: Apache-2.0
"""Depthwise unit: 16 channels x 9 taps a cycle, or their maximum, or the sample itself."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.depthwise.filter import DepthwiseFilter
from hw.depthwise.maximum import DepthwiseMaximum
from hw.interfaces import BEAT_TAPS, SAMPLES, VECTOR, ParameterBus, StepControl
from hw.lib import delay, taken


class Depthwise(wiring.Component):
    """Makes one vector of the beats from ``first`` to ``last``: filtered and requantized (MAC), their maximum (MAX), or
    ``samples[0]`` (OFF).

    A beat a cycle, no stall, order kept. The vector follows its last beat by :attr:`latency` cycles, the same in all
    steps. Nothing leaves in PEAKS steps.

    Members
    -------
    parameters : writes the depthwise entries, into the half that no running step uses.
    i : beats of samples from the window.
    i_taps : plane and taps of the beat that comes :data:`hw.interfaces.TAP_LEAD` cycles later.
    o : vectors.
    """

    STEP_FIELDS = "depthwise_op depthwise_s depthwise_lo depthwise_hi".split()

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.filter = DepthwiseFilter(config)
        super().__init__(
            {
                **taken(StepControl(half=True)),
                "parameters": In(ParameterBus()),
                "i": In(stream.Signature(SAMPLES, always_ready=True)),
                "i_taps": In(BEAT_TAPS),
                "o": Out(stream.Signature(VECTOR, always_ready=True)),
            }
        )

    @property
    def latency(self) -> int:
        return self.filter.latency + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        step = self.step
        m.submodules.filter = self.filter
        m.submodules.maximum = maximum = DepthwiseMaximum()
        for unit in (self.filter, maximum):
            m.d.comb += unit.step.eq(step)
            wiring.connect(m, wiring.flipped(self.i), unit.i)
        m.d.comb += [
            self.filter.half.eq(self.half),
            self.filter.i_taps.eq(self.i_taps),
            maximum.i_taps.eq(self.i_taps),
        ]
        wiring.connect(m, self.filter.parameters, wiring.flipped(self.parameters))

        waited = delay(m, maximum.o_payload, self.filter.latency - maximum.latency, "maximum")
        is_filter = step.depthwise_op == DepthwiseOp.MAC
        leaves = self.i.valid & self.i.payload.last & (step.depthwise_op != DepthwiseOp.PEAKS)
        result = Signal(VECTOR, reset_less=True)
        m.d.sync += result.eq(Mux(is_filter, self.filter.o_payload, waited))
        m.d.comb += self.o.payload.eq(result)
        m.d.comb += self.o.valid.eq(delay(m, leaves, self.latency, "valid", reset=True))
        return m
