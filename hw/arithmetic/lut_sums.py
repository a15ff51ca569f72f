# SPDX-License-Identifier: Apache-2.0
"""Sums of products in LUTs, for outputs that find no DSP slice."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES
from hw.arithmetic.dsp_sums import SUM_WIDTH
from hw.interfaces import VECTOR
from hw.lib import delay

WEIGHT_BITS = 4
PAIRS = LANES // 2
ORDER = [half * (PAIRS // 2) + n for n in range(PAIRS // 2) for half in range(2)]
"""Pairs of lanes as they are added."""


class LookupSums(wiring.Component):
    """``o_sums[o] = sum over lanes of i_weights[o][lane] * i_vector[lane]``, :attr:`latency` cycles later, a vector a
    cycle.

    Distributed arithmetic: for each bit of the weights, two lanes ``a`` and ``b`` contribute 0, ``a``, ``b`` or
    ``a + b``, chosen by their two bits. ``a + b`` is computed once for all outputs, and choosing and adding to the sum
    so far takes one LUT a bit (two select bits, three candidates, the sum). So the sum of a weight bit runs through
    eight such adders, a pair of lanes each, and the four sums are added last, the upper one subtracted if weights are
    signed. Pairs of the lower and of the upper eight lanes take turns, as their weights come side by side.

    Members
    -------
    i_weights : nibbles, [output][lane], those of lane ``n`` ``n % 8`` cycles after ``i_vector``.
    i_unsigned : nibbles are 0 to 15, otherwise -8 to 7.
    """

    def __init__(self, outputs: int):
        self.outputs = outputs
        nibbles = data.ArrayLayout(unsigned(WEIGHT_BITS), LANES)
        super().__init__(
            {
                "i_vector": In(VECTOR),
                "i_weights": In(data.ArrayLayout(nibbles, outputs)),
                "i_unsigned": In(1),
                "o_sums": Out(data.ArrayLayout(signed(SUM_WIDTH), outputs)),
            }
        )

    @property
    def latency(self) -> int:
        return PAIRS + 3

    def elaborate(self, platform) -> Module:
        m = Module()
        candidates = []
        for n, pair in enumerate(ORDER):
            lanes = 2 * pair, 2 * pair + 1
            a, b = (delay(m, self.i_vector[lane], 1, f"lane_{lane}") for lane in lanes)
            both = Signal(signed(9), name=f"both_{n}", reset_less=True)
            m.d.sync += both.eq(self.i_vector[lanes[0]] + self.i_vector[lanes[1]])
            # A pair is added a cycle after the pair before it.
            candidates.append([delay(m, value, n, f"candidate_{n}_{k}") for k, value in enumerate((a, b, both))])
        is_unsigned = delay(m, self.i_unsigned, PAIRS + 1, "unsigned")
        for output in range(self.outputs):
            self._output(m, output, candidates, is_unsigned)
        return m

    def _output(self, m: Module, output: int, candidates: list, is_unsigned) -> None:
        """One output: four sums of weight bits, then theirs."""
        # Yosys gives the carry chain the minuend as it is, and merges all else into the LUT; of a sum it may take
        # either. x - ~y is x + y + 1.
        sums: list = [Const(-PAIRS)] * WEIGHT_BITS
        for n, (a, b, both) in enumerate(candidates):
            # Lane ``2 * j`` of a half came ``2 * j`` cycles ago, the other lane a cycle later; adder ``n`` is due after
            # ``n + 1``.
            nibbles = Cat(
                delay(m, self.i_weights[output][2 * ORDER[n] + k], n % 2 + 1 - k, f"weights_{output}_{n}_{k}")
                for k in range(2)
            )
            # 2 * (n + 1) lanes, each -128 at least, and the ones that are yet to come.
            width = 1 + (256 * (n + 1) + PAIRS - n - 2).bit_length()
            for bit in range(WEIGHT_BITS):
                of_a, of_b = nibbles[bit], nibbles[WEIGHT_BITS + bit]
                added = Mux(of_a, Mux(of_b, both, a), Mux(of_b, b, 0))
                total = Signal(signed(width), name=f"sum_{output}_{bit}_{n}", reset_less=True)
                m.d.sync += total.eq(sums[bit] - ~added)
                sums[bit] = total
        width = len(sums[0])
        low, high = (Signal(signed(width + 2), name=f"{name}_{output}", reset_less=True) for name in ("low", "high"))
        total = Signal(signed(SUM_WIDTH), name=f"total_{output}", reset_less=True)
        # 2 * x, or -2 * x = 2 * ~x + 2: the 2 is carried in from the bit below, which is not needed otherwise.
        upper = Cat(~is_unsigned, Mux(is_unsigned, sums[3], ~sums[3])).as_signed()
        shifted = Cat(1, sums[2][1:]).as_signed()
        added = Signal(signed(width + 2), name=f"added_{output}")
        m.d.comb += added.eq(shifted + upper)
        m.d.sync += [
            low.eq(sums[0] + (sums[1] << 1)),
            high.eq(Cat(sums[2][0], added[1:])),
            total.eq(low + (high << 2)),
        ]
        m.d.comb += self.o_sums[output].eq(total)
