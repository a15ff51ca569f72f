# SPDX-License-Identifier: Apache-2.0
"""Stream register and stream queue lose, repeat and reorder nothing."""

from collections.abc import Callable

from amaranth import Mux, Value
from amaranth.hdl import ValueLike
from amaranth.lib import fifo

from hw.lib import StreamQueue, StreamRegister
from tests.formal.bench import Bench, Scoreboard, waits_at_most
from tests.formal.prove import Mutant, proof

DEPTH = 4
"""Of the queue that is proven."""


@proof(
    name="stream register",
    claim="every item comes out once, in order, unchanged, as soon as the other side takes it; room for two; "
    "valid stays with its payload until ready",
    component=lambda: StreamRegister(8),
    depth=2,
    cover=8,
    depth_of_mutants=8,
    mutants=(
        Mutant("hw.lib.skid_buffer", "m.d.sync += spare_full.eq(1)", "m.d.sync += spare_full.eq(0)"),
        Mutant(
            "hw.lib.skid_buffer", "payload.eq(Mux(spare_full, spare, self.i.payload))", "payload.eq(self.i.payload)"
        ),
        Mutant("hw.lib.skid_buffer", "self.o.ready | ~valid", "self.o.ready"),
    ),
)
def stream_register(bench: Bench) -> None:
    i, o = bench.component.i, bench.component.o
    items = Scoreboard(bench, i.valid & i.ready, o.valid & o.ready, 2)
    item = items.hold(bench, i.payload)
    bench.ensure(~items.turn | (o.payload == item))
    bench.ensure(o.valid == (items.level != 0))
    bench.ensure(i.ready == (items.level != 2))
    bench.stable(o.valid, o.ready, o.payload)
    bench.invariant(items.level == bench.inner("valid") + bench.inner("spare_full"))
    bench.invariant(~items.watching | (item == Mux(items.ahead == 0, bench.inner("payload"), bench.inner("spare"))))
    bench.cover(items.turn & (items.level == 2) & ~i.ready)


@proof(
    name="stream queue",
    claim="every item comes out once, in order, unchanged, at most three cycles after it is the first; "
    f"room for {DEPTH}; valid stays with its payload until ready; empty means empty",
    assumptions="no item is given to a full queue",
    component=lambda: StreamQueue(8, DEPTH),
    depth=4,
    cover=16,
    depth_of_mutants=12,
    mutants=(
        Mutant("hw.lib.stream_fifo", "Mux(fetch, stored[1:].any(), waiting)", "Mux(fetch, stored.any(), waiting)"),
        Mutant("hw.lib.stream_fifo", "move | (valid & ~self.o.ready)", "move | valid"),
        Mutant("hw.lib.stream_fifo", "with m.If(move):", "with m.If(fetched):"),
    ),
)
def stream_queue(bench: Bench) -> None:
    queue = bench.component
    items = Scoreboard(bench, queue.i.valid, queue.o.valid & queue.o.ready, DEPTH)
    bench.assume(~queue.i.valid | (items.level != DEPTH))
    item = items.hold(bench, queue.i.payload)
    bench.ensure(~items.turn | (queue.o.payload == item))
    bench.ensure(queue.empty == (items.level == 0))
    bench.stable(queue.o.valid, queue.o.ready, queue.o.payload)
    waits_at_most(bench, (items.level != 0) & ~queue.o.valid, 2)
    bench.cover(items.turn & (items.level == DEPTH))
    follow_queue(bench, items, item)


def follow_queue(bench: Bench, items: Scoreboard, item: Value, owner: object = None) -> None:
    """What holds inside of a stream queue (``owner``, the component itself by default) whose items are ``items``."""
    valid, fetched, waiting, stored, payload, mem, write, read = (
        bench.inner(name, owner)
        for name in ("valid", "fetched", "waiting", "stored", "payload", "mem", "write", "read")
    )
    bench.invariant(items.level == stored + fetched + valid)
    bench.invariant(waiting == (stored != 0))
    bench.invariant((write.addr - read.addr)[: len(read.addr)] == stored[: len(read.addr)])
    place = items.ahead - valid - fetched
    word = bench.memory_word(mem, (read.addr + place)[: len(read.addr)])
    inside = Mux(items.ahead < valid, payload, Mux(items.ahead < valid + fetched, read.data, word))
    bench.invariant(~items.watching | (inside == item))


def follow_fifo(bench: Bench, items: Scoreboard, item: Value, queue: fifo.SyncFIFOBuffered) -> None:
    """What holds inside of Amaranth's queue with a register behind it, whose items are ``items``."""
    level = bench.inner("inner_level", queue)
    word = follow_ring(bench, queue, level, queue.depth - 1)
    bench.invariant(items.level == level + queue.r_rdy)
    inside = Mux(items.ahead < queue.r_rdy, queue.r_data, word(items.ahead - queue.r_rdy))
    bench.invariant(~items.watching | (inside == item))


def follow_ring(bench: Bench, queue: fifo.FIFOInterface, level: Value, depth: int) -> Callable[[ValueLike], Value]:
    """What holds of the pointers of Amaranth's queue, which has ``level`` of ``depth`` words in its memory; returns
    what gives the ``n``-th of these words.
    """
    produce, consume, storage = (bench.inner(name, queue) for name in ("produce", "consume", "storage"))

    def place(n: ValueLike) -> Value:
        return Mux(consume + n < depth, consume + n, consume + n - depth)

    bench.invariant((level <= depth) & (consume < depth) & (produce == place(level)))
    return lambda n: bench.memory_word(storage, place(n))
