"""Sums of products in DSP slices: two outputs share a cascade of eight."""

from amaranth import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES

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

    A slice multiplies an activation by ``(u1 << 20) + u0``, where ``u`` is the weight as an unsigned nibble: itself, or, if it is signed, the weight
    plus 8, which is its upper bit inverted. So the packed operand is a concatenation. The first adder of the cascade takes off what is
    too much, 8 times the sum of the activations, the same for both outputs, and adds ``2**18`` to the lower field, so that it never borrows from the
    upper one. So the sums are just fields of the cascade's.

    Members
    -------
    i_vector, i_weights, i_unsigned : activation, nibbles of both outputs, and their kind, for lane ``n`` to be given ``n`` cycles late.
    i_excess : minus the sum of the activations, or 0 if weights are unsigned, :data:`EXCESS_LATENCY` cycles late.
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
        chain = Signal(signed(2 * FIELD))
        m.d.comb += [offset.eq(self.i_excess << 3), chain.eq(Cat(offset[: FIELD - 2], ~offset[-1], 0, offset))]
        for n in range(CASCADE):
            low, high = (Cat(w[:3], w[3] ^ ~self.i_unsigned[n]) for w in (self.i_weights[n][k] for k in range(2)))
            a = Signal(signed(FIELD + 5), name=f"a_{n}", reset_less=True)
            b = Signal(signed(8), name=f"b_{n}", reset_less=True)
            product = Signal(signed(FIELD + 13), name=f"product_{n}", reset_less=True)
            total = Signal(signed(2 * FIELD), name=f"sum_{n}", reset_less=True)
            m.d.sync += [
                a.eq(Cat(low, Cat(*[0] * (FIELD - 4)), high)),
                b.eq(self.i_vector[n]),
                product.eq(a * b),
                total.eq(product + chain),
            ]
            chain = total
        m.d.comb += [self.o_sums[k].eq(chain[FIELD * k : FIELD * k + SUM_WIDTH]) for k in range(2)]
        return m
