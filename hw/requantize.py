"""Requantizer: one lane of ``clamp((acc * m + b) >> s, lo, hi)``."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import delay

SHIFTED = {4: 3, 2: 4, 0: 5}
"""Cycles from the operands to the stages of the shifter, by the lowest bit of ``s`` that a stage uses."""

CLAMPED = 7
"""Cycles from the operands to the comparison with ``lo`` and ``hi``."""

SUM_WIDTH = 48
"""Bits of ``acc * m + b``: the adder of a DSP slice. Parameters must keep the sum within them."""


class Requantizer(wiring.Component):
    """``o = clamp((i_acc * i_m + i_b) >> s, lo, hi)`` (arithmetic shift, docs/numbers.md), a result a cycle.

    The result follows its operands by :attr:`latency` cycles; there is no stall and no valid (delay a tag by ``latency``).
    ``acc * m + b`` must fit 48 bits, signed. Of ``s``, bits ``low + 1..low`` count ``SHIFTED[low]`` cycles after the operands, ``lo`` and ``hi``
    :data:`CLAMPED` cycles after them: so either they do not change while results are in flight, or they follow in this order.

    Multiply and add are one DSP slice with all its registers; the shift is three stages of four positions each.

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

        # Barrel shifter, coarse to fine.
        shifted = total
        for low in SHIFTED:
            stage = Signal(signed(SUM_WIDTH), name=f"shifted_{low}", reset_less=True)
            with m.Switch(self.s[low : low + 2]):
                for n in range(4):
                    with m.Case(n):
                        m.d.sync += stage.eq(shifted >> (n << low))
            shifted = stage

        # Saturate to the output's bits, then clamp.
        width = self.output_width
        low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
        top = shifted[width - 1 :]
        fits = (top == 0) | top.all()
        saturated = Signal(signed(width), reset_less=True)
        clamped = Signal(signed(width), reset_less=True)
        m.d.sync += [
            saturated.eq(Mux(fits, shifted[:width].as_signed(), Mux(shifted[-1], low, high))),
            clamped.eq(Mux(saturated < self.lo, self.lo, Mux(saturated > self.hi, self.hi, saturated))),
        ]
        m.d.comb += self.o.eq(clamped)
        return m
