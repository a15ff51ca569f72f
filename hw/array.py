"""Array: 16 inputs x ``outputs`` products of 4-bit weights a cycle, two of them in a DSP slice."""

from amaranth import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from hw.interfaces import VECTOR
from hw.pipeline import delay

CASCADE = 8
"""Slices in a cascade: what packs well into the columns of the small Zynqs (docs/architecture.md)."""

FIELD = 20
"""Bits from one output's sum to the other's in a cascade; its carries never leave it: 8 * 15 * 128 < 2**19."""

SUM_WIDTH = 16
"""A sum of 16 products: 16 * 15 * 128 < 2**15."""


class Array(wiring.Component):
    """``o_sums[o] = sum over lanes of i_weights[o][lane] * i_vector[lane]``, :attr:`latency` cycles later, a vector a cycle.

    Two outputs share a multiplier: ``(w1 * 2**20 + w0) * a``. Eight multipliers form a cascade that adds along the DSP column, so
    lane ``n`` of a cascade enters ``n`` cycles late. The cascade is unpacked once at its end: the upper sum lacks the borrow of a
    negative lower one.

    Members
    -------
    i_weights : nibbles, [output][lane].
    i_unsigned : nibbles are 0 to 15 (the low halves of 8-bit weights), otherwise -8 to 7.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
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
        return CASCADE + 5

    def elaborate(self, platform) -> Module:
        m = Module()
        cascades = [
            self._cascade(m, first, self._skewed(m, range(first, first + CASCADE)))
            for first in range(0, LANES, CASCADE)
        ]
        for output, partial in enumerate(zip(*cascades, strict=True)):
            total = Signal(signed(SUM_WIDTH), name=f"total_{output}", reset_less=True)
            m.d.sync += total.eq(sum(partial))
            m.d.comb += self.o_sums[output].eq(total)
        return m

    def _skewed(self, m: Module, lanes: range) -> list:
        """Activation, weights of all outputs, and their kind, of each lane, each a cycle later than the one before."""
        skewed = []
        for n, lane in enumerate(lanes):
            weights = Cat(self.i_weights[output][lane] for output in range(self.config.outputs))
            skewed.append(
                (
                    delay(m, self.i_vector[lane], n, f"activation_{lane}"),
                    delay(m, weights, n, f"weights_{lane}"),
                    delay(m, self.i_unsigned, n, f"unsigned_{lane}"),
                )
            )
        return skewed

    def _cascade(self, m: Module, first: int, skewed: list) -> list:
        """Sums over the lanes of one cascade, for every output."""
        partial = []
        for pair in range(0, self.config.outputs, 2):
            chain = 0
            for n, (activation, weights, is_unsigned) in enumerate(skewed):
                name = f"{first + n}_{pair}"
                low, high = (
                    Cat(nibble, nibble[3] & ~is_unsigned).as_signed()
                    for nibble in (weights[4 * pair : 4 * pair + 4], weights[4 * pair + 4 : 4 * pair + 8])
                )
                a = Signal(signed(FIELD + 5), name=f"a_{name}", reset_less=True)
                b = Signal(signed(8), name=f"b_{name}", reset_less=True)
                product = Signal(signed(FIELD + 13), name=f"product_{name}", reset_less=True)
                total = Signal(signed(2 * FIELD), name=f"sum_{name}", reset_less=True)
                m.d.sync += [
                    a.eq((high << FIELD) + low),
                    b.eq(activation),
                    product.eq(a * b),
                    total.eq(product + chain),
                ]
                chain = total
            # A register to cross the chip with, then unpack.
            packed = delay(m, chain, 1, f"packed_{first}_{pair}")
            sums = [Signal(signed(SUM_WIDTH), name=f"partial_{first}_{pair + n}", reset_less=True) for n in range(2)]
            m.d.sync += [
                sums[0].eq(packed[:FIELD].as_signed()),
                sums[1].eq(packed[FIELD:].as_signed() + packed[FIELD - 1]),
            ]
            partial += sums
        return partial
