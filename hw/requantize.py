"""Requantizer: one lane of ``clamp((acc * m + b) >> s, lo, hi)``."""

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Requantizer(wiring.Component):
    """``o = clamp((i_acc * i_m + i_b) >> s, lo, hi)``, one result a cycle, :attr:`latency` cycles after its operands.

    ``s``, ``lo`` and ``hi`` are static while results are in flight. No stall, no valid: the user delays a tag by ``latency``.
    """

    LATENCY = 8

    def __init__(self, acc_width: int, output_width: int):
        self.acc_width = acc_width
        self.output_width = output_width
        super().__init__(
            {
                "i_acc": In(signed(acc_width)),
                "i_m": In(signed(16)),
                "i_b": In(signed(48)),
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
        raise NotImplementedError
