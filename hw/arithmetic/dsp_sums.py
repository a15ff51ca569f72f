# SPDX-License-Identifier: Apache-2.0
"""Sums of products in DSP slices: two outputs share a cascade of eight."""

from amaranth import Cat, Const, Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES
from hw.lib.cells import Series7, dsp_multiply_add

CASCADE = LANES // 2
"""Slices in a cascade: what packs well into the columns of the small Zynqs (docs/synthesis.md)."""

FIELD = 20
"""Bits from one output's sum to the other's in a cascade."""

EXCESS_LATENCY = 2
"""Cycles that ``i_excess`` comes after the first lane: when its slice's product is there."""


SUM_WIDTH = 16
"""Bits of a sum of 16 products: 16 * 15 * 128 < 2**15. Those of the cascade's fields above it are not needed."""


class SliceSums(wiring.Component):
    """``o_sums[k] = sum over n of i_weights[n][k] * i_vector[n]`` for two outputs ``k``, modulo ``2**16``.

    A slice multiplies an activation by ``(u1 << 20) + u0``, where ``u`` is the weight as an unsigned nibble: itself,
    or, if it is signed, the weight plus 8, which is its upper bit inverted. So the packed operand is a concatenation.
    The first adder of the cascade takes off what is too much, 8 times the sum of the activations, the same for both
    outputs, and adds ``2**18`` to the lower field, so that it never borrows from the upper one. So the sums are just
    fields of the cascade's.

    Members
    -------
    i_vector, i_weights, i_unsigned : activation, nibbles of both outputs, and their kind, for lane ``n`` to be given
        ``n`` cycles late.
    i_excess, i_positive : minus the sum of the activations, or 0 if weights are unsigned, and whether it is not
        negative, :data:`EXCESS_LATENCY` cycles late.
    o_sums : :attr:`latency` cycles after lane 0.
    """

    def __init__(self):
        pair = data.ArrayLayout(unsigned(4), 2)
        super().__init__(
            {
                "i_vector": In(data.ArrayLayout(signed(8), CASCADE)),
                "i_weights": In(data.ArrayLayout(pair, CASCADE)),
                "i_unsigned": In(CASCADE),
                "i_excess": In(signed(12)),
                "i_positive": In(1),
                "o_sums": Out(data.ArrayLayout(signed(SUM_WIDTH), 2)),
            }
        )

    @property
    def latency(self) -> int:
        return CASCADE + 2

    def elaborate(self, platform) -> Module:
        m = Module()
        # With the bias, the upper two bits of the lower field are 00 or 01, where its sign was 1 or 0.
        offset = Signal(signed(FIELD))
        start = Signal(signed(2 * FIELD))
        m.d.comb += [offset.eq(self.i_excess << 3), start.eq(Cat(offset[: FIELD - 2], self.i_positive, 0, offset))]
        operands = []
        for n in range(CASCADE):
            low, high = (Cat(w[:3], w[3] ^ ~self.i_unsigned[n]) for w in (self.i_weights[n][k] for k in range(2)))
            operands.append((Cat(low, Const(0, FIELD - 4), high, Const(0, 1)).as_signed(), self.i_vector[n]))
        total = (self._cells if isinstance(platform, Series7) else self._portable)(m, operands, start)
        m.d.comb += [self.o_sums[k].eq(total[FIELD * k : FIELD * k + SUM_WIDTH]) for k in range(2)]
        return m

    def _portable(self, m: Module, operands: list, chain: Value) -> Value:
        """Registers around multipliers and adders; returns the last sum."""
        for n, (weights, activation) in enumerate(operands):
            a = Signal(signed(FIELD + 5), name=f"a_{n}", reset_less=True)
            b = Signal(signed(8), name=f"b_{n}", reset_less=True)
            product = Signal(signed(FIELD + 13), name=f"product_{n}", reset_less=True)
            total = Signal(signed(2 * FIELD), name=f"sum_{n}", reset_less=True)
            m.d.sync += [a.eq(weights), b.eq(activation), product.eq(a * b), total.eq(product + chain)]
            chain = total
        return chain

    def _cells(self, m: Module, operands: list, start: Value) -> Value:
        """The same in slices, each adding to the sum of the one below by the cascade's own wires."""
        cascade = None
        for n, (weights, activation) in enumerate(operands):
            total, above = Signal(48, name=f"sum_{n}"), Signal(48, name=f"cascade_{n}")
            m.submodules[f"slice_{n}"] = dsp_multiply_add(
                weights, activation, total, above, c=start if cascade is None else None, cascade=cascade
            )
            cascade = above
        return total
