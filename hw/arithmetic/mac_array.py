# SPDX-License-Identifier: Apache-2.0
"""Array: 16 inputs x ``outputs`` products of 4-bit weights a cycle, in DSP slices and, beyond their number, in LUTs."""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from hw.arithmetic.dsp_sums import CASCADE, EXCESS_LATENCY, SUM_WIDTH, SliceSums
from hw.arithmetic.lut_sums import LookupSums
from hw.chips import XC7Z020
from hw.interfaces import VECTOR
from hw.lib import delay, relay, relays

SPREAD = 4
"""Cascades with a copy of their own of what all of them need."""


def slice_outputs(outputs: int, slices: int) -> int:
    """Outputs, of ``outputs``, that ``slices`` DSP slices compute."""
    return min(outputs, 2 * (slices // LANES))


def skew(lane: int) -> int:
    """Cycles from a vector to when the weights of one of its lanes are due at the array."""
    return 1 + lane % CASCADE


class Array(wiring.Component):
    """``o_sums[o] = sum over lanes of i_weights[o][lane] * i_vector[lane]``, :attr:`latency` cycles later, a vector a
    cycle.

    The first outputs are computed in DSP slices, as many as ``slices`` allow, two in 16 of them; the others in LUTs. A
    sum is made in two halves of eight lanes, a lane a cycle: the weights of lane ``n`` are due :func:`skew` (``n``)
    cycles after the vector, which takes a cycle to spread.

    Parameters
    ----------
    slices:
        DSP slices that may be used: 0 for none, ``8 * config.outputs`` for all outputs in slices.

    Members
    -------
    i_weights : nibbles, [output][lane], those of lane ``n`` :func:`skew` (``n``) cycles after ``i_vector``.
    i_unsigned : nibbles are 0 to 15 (the low halves of 8-bit weights), otherwise -8 to 7.
    """

    def __init__(self, config: AcceleratorConfig, slices: int = XC7Z020.array_slices):
        self.config = config
        self.slices = slices
        nibbles = data.ArrayLayout(unsigned(4), LANES)
        super().__init__(
            {
                "i_vector": In(VECTOR),
                "i_weights": In(data.ArrayLayout(nibbles, config.outputs)),
                "i_unsigned": In(1),
                "o_sums": Out(data.ArrayLayout(signed(SUM_WIDTH), config.outputs)),
            }
        )

    @property
    def latency(self) -> int:
        return CASCADE + 6

    def elaborate(self, platform) -> Module:
        m = Module()
        count = slice_outputs(self.config.outputs, self.slices)
        in_slices, in_lookup = range(0, count, 2), range(count, self.config.outputs)
        if in_slices:
            halves = [self._half(m, range(first, first + CASCADE), in_slices) for first in range(0, LANES, CASCADE)]
            for pair, partial in zip(in_slices, zip(*halves, strict=True), strict=True):
                for n in range(2):
                    total = Signal(signed(SUM_WIDTH), name=f"total_{pair + n}", reset_less=True)
                    m.d.sync += total.eq(partial[0][n] + partial[1][n])
                    m.d.comb += self.o_sums[pair + n].eq(total)
        if in_lookup:
            m.submodules.lookup = lookup = LookupSums(len(in_lookup))
            m.d.comb += [
                lookup.i_vector.eq(relay(m, self.i_vector, "lookup_vector")),
                lookup.i_unsigned.eq(relay(m, self.i_unsigned, "lookup_unsigned")),
            ]
            for n, output in enumerate(in_lookup):
                sums = delay(m, lookup.o_sums[n], self.latency - lookup.latency - 1, f"lookup_{output}")
                m.d.comb += [lookup.i_weights[n].eq(self.i_weights[output]), self.o_sums[output].eq(sums)]
        return m

    def _half(self, m: Module, lanes: range, pairs: range) -> list:
        """Sums over half of the lanes, two for each pair of outputs, a cycle before the result."""
        copies = -(-len(pairs) // SPREAD)
        excess = relays(m, self._excess(m, lanes), copies, f"excess_{lanes[0]}_here")
        operands = []
        for n, lane in enumerate(lanes):
            operand = delay(m, Cat(self.i_vector[lane], self.i_unsigned), n, f"operand_{lane}")
            operands.append(relays(m, operand, copies, f"operand_{lane}_here"))
        sums = []
        for number, pair in enumerate(pairs):
            m.submodules[f"slices_{lanes[0]}_{pair}"] = cascade = SliceSums()
            here = number // SPREAD
            m.d.comb += Cat(cascade.i_excess, cascade.i_positive).eq(excess[here])
            for n, lane in enumerate(lanes):
                m.d.comb += Cat(cascade.i_vector[n], cascade.i_unsigned[n]).eq(operands[n][here])
                for k in range(2):
                    m.d.comb += cascade.i_weights[n][k].eq(self.i_weights[pair + k][lane])
            # Two registers to cross the chip with.
            sums.append(delay(m, cascade.o_sums, 2, f"partial_{lanes[0]}_{pair}"))
        return sums

    def _excess(self, m: Module, lanes: range) -> Value:
        """What takes off :class:`SliceSums`' excess: minus the sum of the lanes if weights are signed; and whether that
        is not negative.
        """
        quarters = []
        for n in range(0, CASCADE, 4):
            # -x is ~x + 1.
            a, b, c, d = (~self.i_vector[lane] for lane in lanes[n : n + 4])
            quarter = Signal(signed(10), name=f"quarter_{lanes[n]}", reset_less=True)
            m.d.sync += quarter.eq((a + b) + (c + d))
            quarters.append(quarter)
        excess = Signal(signed(12), name=f"excess_{lanes[0]}", reset_less=True)
        is_unsigned = delay(m, self.i_unsigned, EXCESS_LATENCY - 1, f"kind_{lanes[0]}")
        m.d.sync += excess.eq(Mux(is_unsigned, 0, sum(quarters) + Const(CASCADE)))
        return Cat(excess, ~excess[-1])
