# SPDX-License-Identifier: Apache-2.0
"""Stream queue: a queue in block RAM whose output comes from a register."""

from amaranth import Module, Mux, Signal
from amaranth.hdl import ShapeLike
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out


class StreamQueue(wiring.Component):
    """Keeps up to ``depth`` items for a consumer; their number is the producer's care. An item a cycle, latency 3
    cycles.

    Parameters
    ----------
    depth:
        A power of two.

    Members
    -------
    i : the items; always taken.
    o : the items, in order.
    empty : none is inside.
    """

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape, always_ready=True)),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=self.shape, depth=self.depth, init=[])
        write, read = mem.write_port(), mem.read_port()
        stored = Signal(range(self.depth + 1))
        # ``stored`` is not 0; the memory's output is an item; and so is the register behind it.
        waiting, fetched, valid = Signal(), Signal(), Signal()
        payload = Signal.like(self.o.payload, reset_less=True)
        fetch, move = Signal(), Signal()
        m.d.comb += [
            move.eq(fetched & (~valid | self.o.ready)),
            fetch.eq(waiting & (~fetched | ~valid | self.o.ready)),
            write.en.eq(self.i.valid),
            write.data.eq(self.i.payload),
            read.en.eq(fetch),
            self.o.valid.eq(valid),
            self.o.payload.eq(payload),
            self.empty.eq(~(waiting | fetched | valid)),
        ]
        m.d.sync += [
            write.addr.eq(write.addr + self.i.valid),
            read.addr.eq(read.addr + fetch),
            stored.eq(stored + self.i.valid - fetch),
            waiting.eq(self.i.valid | Mux(fetch, stored[1:].any(), waiting)),
            fetched.eq(fetch | (fetched & ~move)),
            valid.eq(move | (valid & ~self.o.ready)),
        ]
        with m.If(move):
            m.d.sync += payload.eq(read.data)
        return m
