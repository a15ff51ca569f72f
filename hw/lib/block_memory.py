"""Block memory: one write port, one read port with a registered output, in pieces that map to block RAM."""

from amaranth import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

READ_LATENCY = 2
"""Cycles from ``read_address`` to ``read_data``: the memory's own register, and one more behind it."""

LUT_RAM_WORDS = 64
"""Depths up to this are distributed RAM whatever the width."""

DISTRIBUTED_WORDS = 128
"""Depths up to this may be distributed RAM on request: 72 bits of it are some 250 LUTs instead of a block RAM. Other limits are requests too."""


class BlockMemory(wiring.Component):
    """``depth`` words of ``width`` bits; read data follow the address by :data:`READ_LATENCY` cycles, every cycle.

    A word read in the cycle in which it is written is undefined. Synthesis maps wide memories badly, so the width is cut into
    pieces of 72 bits (up to 512 words) or 36 bits (more), which are the shapes of a 36 Kbit block RAM.

    Parameters
    ----------
    distributed:
        Where block RAM is scarce: use LUTs, if ``depth`` is at most ``distributed_words``.
    """

    def __init__(
        self, width: int, depth: int, distributed: bool = False, *, distributed_words: int = DISTRIBUTED_WORDS
    ):
        self.width = width
        self.depth = depth
        self.distributed = depth <= LUT_RAM_WORDS or (distributed and depth <= distributed_words)
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
        piece = self.width if self.distributed else 72 if self.depth <= 512 else 36
        style = "distributed" if self.distributed else "block"
        pieces = []
        for n, low in enumerate(range(0, self.width, piece)):
            width = min(piece, self.width - low)
            m.submodules[f"piece{n}"] = mem = memory.Memory(
                shape=width, depth=self.depth, init=[], attrs={"ram_style": style}
            )
            write, read = mem.write_port(), mem.read_port()
            m.d.comb += [
                write.en.eq(self.write_enable),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data[low : low + width]),
                read.addr.eq(self.read_address),
                read.en.eq(1),
            ]
            pieces.append(read.data)
        registered = Signal(self.width, reset_less=True)
        m.d.sync += registered.eq(Cat(pieces))
        m.d.comb += self.read_data.eq(registered)
        return m
