# SPDX-License-Identifier: Apache-2.0
"""Delays: what comes out when, and what a reset does to it."""

import pytest
from amaranth import Module, ResetInserter, Signal, signed
from amaranth.lib import data
from amaranth.sim import Simulator

from hw.lib import delay, relays
from hw.lib.relay import KEEP


@pytest.mark.parametrize("cycles", [1, 3])
@pytest.mark.parametrize("reset", [False, True], ids=["data", "tag"])
def test_delay(cycles, reset):
    """Data have no reset, and so may be shift registers; a tag that starts something is gone after one."""
    inner, clear, value = Module(), Signal(), Signal(8)
    delayed = delay(inner, value, cycles, "value", reset=reset) if reset else delay(inner, value, cycles, "value")
    m = Module()
    m.submodules.inner = ResetInserter(clear)(inner)

    async def drive(ctx):
        for n in range(1, 20):
            ctx.set(value, n)
            ctx.set(clear, n == 10)
            await ctx.tick()
            kept = n - cycles + 1
            assert ctx.get(delayed) == (0 if reset and kept <= 10 <= n else max(kept, 0)), n

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()


def test_no_delay():
    value = Signal(8)
    assert delay(Module(), value, 0, "value") is value


@pytest.mark.parametrize("tag", [{}, {"reset": True}], ids=["data", "tag"])
def test_relays(tag):
    """Registers of their own that no tool merges; of tags, those that start something, a reset clears them."""
    found = relays(Module(), Signal(signed(5)), 3, "copy", **tag)
    assert [register.name for register in found] == ["copy_0", "copy_1", "copy_2"]
    assert all(register.shape() == signed(5) and register.attrs == KEEP for register in found)
    assert [register.reset_less for register in found] == [not tag] * 3
    (alone,) = relays(Module(), Signal(data.StructLayout({"a": 1, "b": 2})), 1, "one", **tag)
    assert len(alone.as_value()) == 3 and alone.as_value().reset_less == (not tag)
