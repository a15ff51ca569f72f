# SPDX-License-Identifier: Apache-2.0
"""Reset from another clock domain."""

from amaranth import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

STAGES = 3


class ResetSynchronizer(wiring.Component):
    """``o`` is high as soon as ``reset_n`` is low, even without a clock, and falls :data:`STAGES` clocks after it
    rises.

    The registers carry the attribute ``ASYNC_REG``: tools keep them together, and constraints find them by it
    (:mod:`hw.boards.constraints`).
    """

    def __init__(self) -> None:
        super().__init__({"reset_n": In(1), "o": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        guarded = ClockDomain("guarded", async_reset=True, local=True)
        m.domains += guarded
        stages = Signal(STAGES, init=-1, attrs={"ASYNC_REG": "TRUE"})
        m.d.comb += [guarded.clk.eq(ClockSignal()), guarded.rst.eq(~self.reset_n), self.o.eq(stages[-1])]
        m.d.guarded += stages.eq(stages << 1)
        return m
