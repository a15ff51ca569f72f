# SPDX-License-Identifier: Apache-2.0
"""Block memory: one write port, one read port with a registered output, in pieces that map to block RAM."""

from amaranth import Instance, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hw.lib.cells import Series7, block_ram

READ_LATENCY = 2
"""Cycles from ``read_address`` to ``read_data``: the memory's own register, and one more behind it."""

CELL_WORDS = 1024
"""Deepest piece that is one block RAM cell."""

LUT_RAM_WORDS = 64
"""Depths up to this are distributed RAM: a block RAM would be mostly empty."""


class BlockMemory(wiring.Component):
    """``depth`` words of ``width`` bits; read data follow the address by :data:`READ_LATENCY` cycles, every cycle.

    A word read in the cycle in which it is written is undefined. The width is cut into pieces of 64 bits (up to 512
    words) or 32 bits (more), as synthesis maps wide memories badly. On the chip a piece of up to 1,024 words is a block
    RAM cell with the register inside.
    """

    def __init__(self, width: int, depth: int):
        self.width = width
        self.depth = depth
        self.distributed = depth <= LUT_RAM_WORDS
        bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(bits),
                "write_data": In(width),
                "read_address": In(bits),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        piece = self.width if self.distributed else 64 if self.depth <= CELL_WORDS // 2 else 32
        cells = isinstance(platform, Series7) and not self.distributed and self.depth <= CELL_WORDS
        for n, low in enumerate(range(0, self.width, piece)):
            part = slice(low, min(low + piece, self.width))
            m.submodules[f"piece{n}"] = self._cell(part) if cells else self._memory(part)
        return m

    def _cell(self, part: slice) -> Instance:
        return block_ram(
            deep=self.depth > CELL_WORDS // 2,
            write=self.write_enable,
            write_address=self.write_address,
            write_data=self.write_data[part],
            read_address=self.read_address,
            read_data=self.read_data[part],
        )

    def _memory(self, part: slice) -> Module:
        m = Module()
        style = "distributed" if self.distributed else "block"
        m.submodules.memory = mem = memory.Memory(
            shape=part.stop - part.start, depth=self.depth, init=[], attrs={"ram_style": style}
        )
        write, read = mem.write_port(), mem.read_port()
        registered = Signal.like(read.data, reset_less=True)
        m.d.sync += registered.eq(read.data)
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data[part]),
            read.addr.eq(self.read_address),
            read.en.eq(1),
            self.read_data[part].eq(registered),
        ]
        return m
