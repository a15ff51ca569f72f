# SPDX-License-Identifier: Apache-2.0
"""Requantizer: one lane of ``clamp((acc * m + b) >> s, lo, hi)``."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.lib import delay

SHIFTED = {4: 3, 2: 4, 0: 5}
"""Cycles from the operands to the stages of the shifter, by the lowest bit of ``s`` that a stage uses."""

CLAMPED = 7
"""Cycles from the operands to the comparison with ``lo`` and ``hi``."""

SUM_WIDTH = 48
"""Bits of ``acc * m + b``: the adder of a DSP slice. Parameters must keep the sum within them."""


class Requantizer(wiring.Component):
    """``o = clamp((i_acc * i_m + i_b) >> s, lo, hi)`` (arithmetic shift, docs/numbers.md), a result a cycle.

    The result follows its operands by :attr:`latency` cycles; there is no stall and no valid (delay a tag by
    ``latency``). ``acc * m + b`` must fit 48 bits, signed; ``s`` is at most 47. Bits ``low + 1..low`` of ``s`` count
    ``SHIFTED[low]`` cycles after the operands, ``lo`` and ``hi`` :data:`CLAMPED` cycles after them: so either they do
    not change while results are in flight, or they follow in this order.

    Multiply and add are one DSP slice with all its registers. The shift is three stages of four positions each, coarse
    to fine. Each keeps as many bits as an output that fits can still come from, and saturates what has more.

    Parameters
    ----------
    acc_width:
        Bits of the accumulator, at most 25 (the DSP's wide operand).
    output_width:
        Bits of ``lo``, ``hi`` and ``o``, signed.
    """

    LATENCY = 8

    def __init__(self, acc_width: int, output_width: int):
        assert acc_width <= 25, f"acc_width = {acc_width}: expected at most 25"
        self.acc_width = acc_width
        self.output_width = output_width
        super().__init__(
            {
                "i_acc": In(signed(acc_width)),
                "i_m": In(signed(16)),
                "i_b": In(signed(SUM_WIDTH)),
                "s": In(6),
                "lo": In(signed(output_width)),
                "hi": In(signed(output_width)),
                "o": Out(signed(output_width)),
            }
        )

    @property
    def latency(self) -> int:
        return self.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        # DSP slice: operands, product, sum.
        acc = delay(m, self.i_acc, 1, "acc")
        multiplier = delay(m, self.i_m, 1, "m")
        product = Signal(signed(self.acc_width + 16), reset_less=True)
        total = Signal(signed(SUM_WIDTH), reset_less=True)
        m.d.sync += [product.eq(acc * multiplier), total.eq(product + delay(m, self.i_b, 2, "b"))]

        value, over = total, Const(0)
        for low in SHIFTED:
            value, over = self._shift(m, value, over, low)
        width = self.output_width
        saturated = Signal(signed(width), reset_less=True)
        clamped = Signal(signed(width), reset_less=True)
        limit = Cat((~value[-1]).replicate(width - 1), value[-1])
        m.d.sync += [
            saturated.eq(Mux(over, limit, value)),
            clamped.eq(Mux(saturated < self.lo, self.lo, Mux(saturated > self.hi, self.hi, saturated))),
        ]
        m.d.comb += self.o.eq(clamped)
        return m

    def _shift(self, m: Module, value, over, low: int):
        """Shift by bits ``low`` and ``low + 1`` of ``s``; the finer ones come later.

        Returns
        -------
        What is left of the value, its sign on top, and whether it was too large for that.
        """
        # An output that fits has at most this many bits before the shifts that are to come.
        width = self.output_width + (1 << low) - 1
        shifted = Signal(signed(width), name=f"shifted_{low}", reset_less=True)
        too_large = Signal(name=f"over_{low}", reset_less=True)
        positions = [n << low for n in range(4) if n << low < len(value)]
        with m.Switch(self.s[low : low + 2]):
            for n, position in enumerate(positions):
                with m.Default() if position == positions[-1] else m.Case(n):
                    kept, lost = value[position : position + width - 1], value[position + width - 1 :]
                    m.d.sync += [
                        shifted.eq(Cat(kept, value[-1].replicate(width - len(kept)))),
                        too_large.eq(over | (lost.any() & ~lost.all())),
                    ]
        return shifted, too_large
