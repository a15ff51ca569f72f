# SPDX-License-Identifier: Apache-2.0
"""Plane offsets of the running step and of the next one."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from codenet.isa import Section
from hw.interfaces import ParameterBus, ParameterSection


class OffsetTable(wiring.Component):
    """Keeps one section of plane offsets in two halves; reads one offset a cycle, :attr:`LATENCY` cycles later.

    Parameters
    ----------
    depth:
        Entries of each half.
    section:
        Section of the parameter block that fills it.

    Members
    -------
    parameters:
        Fills the half that the payload names.
    half, index:
        Entry to look up.
    offset:
        The entry.
    """

    LATENCY = 2

    def __init__(self, depth: int, section: Section) -> None:
        self.depth = depth
        self.section = section
        super().__init__(
            {
                "parameters": In(ParameterBus()),
                "half": In(1),
                "index": In(ceil_log2(depth)),
                "offset": Out(unsigned(32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = offsets = memory.Memory(shape=unsigned(32), depth=2 * self.depth, init=[])
        write, read = offsets.write_port(), offsets.read_port()
        offset = Signal.like(self.offset, reset_less=True)
        entry = self.parameters.payload
        m.d.comb += [
            write.en.eq(self.parameters.valid & (entry.section == ParameterSection(int(self.section)))),
            write.addr.eq(Cat(entry.index[: len(self.index)], entry.half)),
            write.data.eq(entry.data),
            read.en.eq(1),
            read.addr.eq(Cat(self.index, self.half)),
            self.offset.eq(offset),
        ]
        m.d.sync += offset.eq(read.data)
        return m
