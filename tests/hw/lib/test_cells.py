# SPDX-License-Identifier: Apache-2.0
"""Cells of the 7-series against the portable bodies that simulation has in their place: one beside the other, the same
operands every cycle.

Their behaviour is that of :mod:`tests.netlist.cells`.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import cocotb
import pytest
from amaranth import Elaboratable, Instance, Module
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.dsp_sums import SliceSums
from hw.lib import READ_LATENCY, BlockMemory
from hw.lib.cells import Series7
from sim import testbench as bench
from sim.testbench.runner import to_verilog
from tests.netlist.cells import models, primitive_ports


class OnChip(Elaboratable):
    """A component with its cells of the chip, whatever it is elaborated for."""

    def __init__(self, component: wiring.Component) -> None:
        self.component = component

    def elaborate(self, platform: object) -> Module:
        return self.component.elaborate(Series7())


class Both(wiring.Component):
    """A portable component and the same one with cells: outputs of the first, and with a prefix those of the second."""

    def __init__(self, portable: wiring.Component, cells: wiring.Component) -> None:
        self.portable, self.cells = portable, cells
        members = portable.signature.members
        self.outputs = [name for name, member in members.items() if member.flow == Out]
        super().__init__(
            {name: In(member.shape) for name, member in members.items() if member.flow == In}
            | {f"{kind}_{name}": Out(members[name].shape) for name in self.outputs for kind in ("portable", "cells")}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.portable, m.submodules.cells = self.portable, OnChip(self.cells)
        for kind, component in (("portable", self.portable), ("cells", self.cells)):
            for name in self.portable.signature.members:
                if name in self.outputs:
                    m.d.comb += getattr(self, f"{kind}_{name}").eq(getattr(component, name))
                else:
                    m.d.comb += getattr(component, name).eq(getattr(self, name))
        return m


def build(portable: wiring.Component, cells: wiring.Component, label: str) -> Path:
    text, ports = to_verilog(Both(portable, cells))
    kind = type(portable).__name__
    assert text.count(" DSP48E1 ") + text.count(" RAMB36E1 "), f"{kind}: no cell of the chip in it"
    return bench.build_verilog(text + models(["DSP48E1", "RAMB36E1"]), ports, "top", f"cells-{label}")


def test_sums_in_slices():
    bench.simulate(build(SliceSums(), SliceSums(), "sums"), "top", __file__, only="check_sums")


@pytest.mark.parametrize("width, depth", [(64, 512), (40, 300), (128, 1024), (20, 700)])
def test_block_memory(width, depth):
    folder = build(BlockMemory(width, depth), BlockMemory(width, depth), f"memory-{width}-{depth}")
    bench.simulate(folder, "top", __file__, only="check_memory", width=width, depth=depth)


@pytest.mark.parametrize(
    "component", [SliceSums(), BlockMemory(64, 512), BlockMemory(20, 700)], ids=["DSP48E1", "RAMB36E1", "deep"]
)
def test_ports_are_the_cells(component):
    """Name, direction and width of every port of an instance."""
    found = [*instances(Fragment.get(OnChip(component), None))]
    assert found
    for instance in found:
        ports = primitive_ports(instance.type)
        for name, (value, direction) in instance.ports.items():
            assert (direction, len(value)) == ports[name], name


def instances(fragment: Fragment) -> Iterator[Instance]:
    """Of a design, all that are cells."""
    for part, *_ in fragment.subfragments:
        if isinstance(part, Instance):
            yield part
        else:
            yield from instances(part)


@pytest.mark.parametrize("width, depth, unused", [(64, 512, 6), (20, 700, 5)])
def test_addresses_of_block_memories(width, depth, unused):
    """UG473: a word's address stands above the bits inside of a word, bit 15 is high without a cascade."""
    both = Both(BlockMemory(width, depth), BlockMemory(width, depth))
    found = re.findall(r"\.(ADDR\w+ADDR)\({ (.*?), (\w+), (.*?) }\)", to_verilog(both)[0])
    assert {name for name, *_ in found} == {"ADDRARDADDR", "ADDRBWRADDR"}
    assert {address for _, _, address, _ in found} == {"read_address", "write_address"}
    assert {(high, low) for _, high, _, low in found} == {("1'h1", f"{unused}'h00")}


@cocotb.test()
async def check_sums(dut):
    """Any operands; what they mean together is the array's care."""
    rng = random.Random(1)
    await bench.reset(dut)
    compared = set()
    for cycle in range(600):
        for name, bits in (("i_vector", 64), ("i_weights", 64), ("i_unsigned", 8), ("i_excess", 12), ("i_positive", 1)):
            handle = getattr(dut, name)
            handle.value = rng.choice([0, (1 << bits) - 1, rng.getrandbits(bits), rng.getrandbits(bits)])
        await bench.cycles(dut)
        if cycle > SliceSums().latency:
            sums = int(dut.cells_o_sums.value)
            assert sums == int(dut.portable_o_sums.value)
            compared.add(sums)
    assert len(compared) > 400


@cocotb.test()
async def check_memory(dut):
    """Every word is written and read; not both in a cycle, which is undefined."""
    width, depth = bench.parameter("width"), bench.parameter("depth")
    rng = random.Random(depth)
    await bench.reset(dut, write_enable=0, write_address=0, write_data=0, read_address=0)
    words = [rng.getrandbits(width) for _ in range(depth)]
    dut.write_enable.value = 1
    for address in rng.sample(range(depth), depth):
        dut.write_address.value, dut.write_data.value = address, words[address]
        await bench.cycles(dut)
    expected = [None] * READ_LATENCY
    for _ in range(2 * depth):
        address, written = rng.sample(range(depth), 2)
        dut.read_address.value, dut.write_address.value = address, written
        dut.write_enable.value, dut.write_data.value = rng.choice([0, 1]), rng.getrandbits(width)
        await bench.cycles(dut)
        expected.append(words[address])
        if dut.write_enable.value:
            words[written] = int(dut.write_data.value)
        if (word := expected[-READ_LATENCY]) is not None:
            assert (int(dut.cells_read_data.value), int(dut.portable_read_data.value)) == (word, word)
