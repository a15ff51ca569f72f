# SPDX-License-Identifier: Apache-2.0
"""Ports of a bundle lie beside the others, and are connected at once."""

import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.axi import BusControl, BusMaster
from hw.lib import connect_bundle, flat_ports, taken


class Inner(wiring.Component):
    """Answers a ``clear`` with an ``error``."""

    def __init__(self):
        super().__init__({**taken(BusControl()), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.error.eq(self.clear), self.beat.eq(self.reset)]
        return m


class Outer(wiring.Component):
    """Hands on what it takes."""

    def __init__(self):
        super().__init__({**taken(BusMaster()), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = Inner()
        connect_bundle(m, BusControl(), self, inner)
        return m


def test_a_bundle_is_handed_on():
    m = Module()
    m.submodules.outer = outer = Outer()
    bus = BusMaster().create()
    connect_bundle(m, BusMaster(), bus, outer)

    async def bench(ctx):
        for clear, reset in ((0, 0), (1, 0), (0, 1)):
            ctx.set(bus.clear, clear)
            ctx.set(bus.reset, reset)
            assert (ctx.get(bus.error), ctx.get(bus.beat)) == (clear, reset)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_ports_that_are_not_there():
    with pytest.raises(AttributeError, match="base"):
        connect_bundle(Module(), BusMaster(), BusMaster().create(), Inner())


def test_directions():
    members = taken(BusMaster())
    assert {name for name, member in members.items() if member.flow == In} == {"base", "clear", "reset"}
    assert {name for name, member in members.items() if member.flow == Out} == {"busy", "beat", "error"}


def test_a_constant_is_no_port():
    assert {name for name in flat_ports(Outer()) if name.startswith("o_")} == {"o_valid", "o_payload"}
