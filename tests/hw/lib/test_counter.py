# SPDX-License-Identifier: Apache-2.0
"""Counters against a count."""

import random

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from hw.lib.counter import count_to


@pytest.mark.parametrize("last", [0, 1, 2, 5])
def test_count_to(last):
    """At the last one exactly, whenever it advances, and from 0 after a restart in the middle."""
    m = Module()
    advance, restart, end = Signal(), Signal(), Signal(4, init=last)
    at_last = count_to(m, "items", end, advance, restart)

    async def drive(ctx):
        rng, count = random.Random(last), 0
        await ctx.tick()
        ctx.set(restart, 1)
        await ctx.tick()
        for _ in range(300):
            assert ctx.get(at_last) == (count == last)
            go, again = rng.random() < 0.6, rng.random() < 0.05
            ctx.set(advance, go)
            ctx.set(restart, again)
            await ctx.tick()
            count = 0 if again or (go and count == last) else count + go

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
