# SPDX-License-Identifier: Apache-2.0
"""Sum of nine products in LUTs: the arithmetic of one channel of the depthwise filter."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.lib import delay

TAPS = 9
WEIGHT_BITS = 4
SUM_WIDTH = 15
"""Nine products of at most 8 * 128."""


class TapSums(wiring.Component):
    """``o_sum = sum over taps of i_weights[tap] * i_samples[tap]``, :attr:`LATENCY` - 1 cycles after the weights, one a
    cycle.

    Distributed arithmetic, as in :class:`hw.arithmetic.lut_sums.LookupSums`: for each bit of the weights, two taps
    ``a`` and ``b`` contribute 0, ``a``, ``b`` or ``a + b``. Two pairs are added in a cycle.

    Members
    -------
    i_samples : a cycle before their weights.
    i_weights : signed, -8 to 7.
    """

    LATENCY = 4
    """Cycles from the weights to a register behind the sum."""

    def __init__(self):
        super().__init__(
            {
                "i_samples": In(data.ArrayLayout(signed(8), TAPS)),
                "i_weights": In(data.ArrayLayout(signed(WEIGHT_BITS), TAPS)),
                "o_sum": Out(signed(SUM_WIDTH)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        samples = [delay(m, sample, 1, f"sample_{n}") for n, sample in enumerate(self.i_samples)]
        pairs = []
        for n in range(0, TAPS - 1, 2):
            both = Signal(signed(9), name=f"both_{n}", reset_less=True)
            m.d.sync += both.eq(self.i_samples[n] + self.i_samples[n + 1])
            pairs.append(both)
        front = self._half(m, "front", samples[:4], pairs[:2], 0)
        back = self._half(m, "back", samples[4:], pairs[2:], 4)
        ones, fours = (Signal(signed(SUM_WIDTH - 2), name=name, reset_less=True) for name in ("ones", "fours"))
        total = Signal(signed(SUM_WIDTH), reset_less=True)
        # The upper bit of a signed weight counts negatively.
        m.d.sync += [
            ones.eq((front[0] + (front[1] << 1)) + (back[0] + (back[1] << 1))),
            fours.eq((front[2] - (front[3] << 1)) + (back[2] - (back[3] << 1))),
            total.eq(ones + (fours << 2)),
        ]
        m.d.comb += self.o_sum.eq(total)
        return m

    def _half(self, m: Module, name: str, samples: list, pairs: list, first: int) -> list:
        """For each weight bit, the sum of the samples whose weights have it: of two pairs, and of a fifth if there is
        one.
        """
        sums = []
        for bit in range(WEIGHT_BITS):
            total = Signal(signed(8 + (len(samples) - 1).bit_length()), name=f"{name}_{bit}", reset_less=True)
            taken = [self.i_weights[first + n][bit] for n in range(len(samples))]
            added = 0
            for n, both in enumerate(pairs):
                a, b = samples[2 * n : 2 * n + 2]
                of_a, of_b = taken[2 * n : 2 * n + 2]
                added = added + Mux(of_a, Mux(of_b, both, a), Mux(of_b, b, 0))
            if len(samples) % 2:
                added = added + Mux(taken[-1], samples[-1], 0)
            m.d.sync += total.eq(added)
            sums.append(total)
        return sums
