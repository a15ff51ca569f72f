# SPDX-License-Identifier: Apache-2.0
"""Stream register and stream queue: nothing lost, doubled or out of order, an item a cycle."""

import random

import cocotb

from hw.lib import StreamQueue, StreamRegister
from sim import testbench as bench

DEPTH = 16


def test_stream_register():
    bench.run(StreamRegister(16), __file__, only=r"check_register.*")


def test_stream_queue():
    bench.run(StreamQueue(16, DEPTH), __file__, only=r"check_queue.*")


async def through_register(dut, count: int, source_pause=(), sink_pause=()) -> int:
    """Send ``count`` items; returns the cycles until all have left."""
    items = [random.randrange(1 << 16) for _ in range(count)]
    sink = bench.Sink(dut, "o", sink_pause)
    sending = cocotb.start_soon(bench.Source(dut, "i", source_pause).send(items))
    taken = 0
    while len(sink.items) < count:
        await bench.cycles(dut)
        taken += 1
        assert taken < 50 * count + 50
    await sending
    sink.task.cancel()
    dut.o_ready.value = 0
    assert sink.items == items
    return taken


@cocotb.test()
async def check_register_with_pauses(dut):
    rng = random.Random(1)
    await bench.reset(dut, i_valid=0, i_payload=0, o_ready=0)
    for source in (0.0, 0.3, 0.8):
        for sink in (0.0, 0.3, 0.8):
            await through_register(dut, 300, bench.pauses(rng, source), bench.pauses(rng, sink))


@cocotb.test()
async def check_register_takes_an_item_a_cycle(dut):
    await bench.reset(dut, i_valid=0, i_payload=0, o_ready=0)
    assert await through_register(dut, 200) <= 203


@cocotb.test()
async def check_register_holds_two(dut):
    """``ready`` falls when both places are taken, whatever ``o.ready`` does in the same cycle."""
    await bench.reset(dut, i_valid=1, i_payload=7, o_ready=0)
    await bench.cycles(dut, 3)
    assert not dut.i_ready.value and dut.o_valid.value
    dut.i_valid.value = 0
    dut.o_ready.value = 1
    await bench.cycles(dut, 2)
    assert dut.i_ready.value
    await bench.cycles(dut, 1)
    assert not dut.o_valid.value


async def through_queue(dut, rng: random.Random, count: int, source_stall: float, sink_stall: float) -> int:
    """Send ``count`` items, never more than ``DEPTH`` at once; returns the cycles until all have left."""
    items = [rng.randrange(1 << 16) for _ in range(count)]
    sink = bench.Sink(dut, "o", bench.pauses(rng, sink_stall))
    sent = taken = 0
    while len(sink.items) < count:
        # The sink's list is as of this cycle; what it takes now still has its place.
        go = sent < count and sent - len(sink.items) < DEPTH and rng.random() >= source_stall
        dut.i_valid.value = int(go)
        if go:
            dut.i_payload.value = items[sent]
            sent += 1
        await bench.cycles(dut)
        taken += 1
        assert taken < 50 * count + 50
    dut.i_valid.value = 0
    sink.task.cancel()
    dut.o_ready.value = 0
    assert sink.items == items
    await bench.cycles(dut, 3)
    assert dut.empty.value and not dut.o_valid.value
    return taken


@cocotb.test()
async def check_queue_with_pauses(dut):
    rng = random.Random(2)
    await bench.reset(dut, i_valid=0, i_payload=0, o_ready=0)
    for source in (0.0, 0.3, 0.8):
        for sink in (0.0, 0.3, 0.8):
            await through_queue(dut, rng, 300, source, sink)


@cocotb.test()
async def check_queue_takes_an_item_a_cycle(dut):
    await bench.reset(dut, i_valid=0, i_payload=0, o_ready=0)
    assert await through_queue(dut, random.Random(3), 200, 0.0, 0.0) <= 206


@cocotb.test()
async def check_queue_is_not_empty_from_the_first_cycle_on(dut):
    await bench.reset(dut, i_valid=0, i_payload=0, o_ready=0)
    assert dut.empty.value
    dut.i_valid.value = 1
    await bench.cycles(dut)
    dut.i_valid.value = 0
    for _ in range(6):
        await bench.cycles(dut)
        assert not dut.empty.value
    assert dut.o_valid.value
    dut.o_ready.value = 1
    await bench.cycles(dut, 2)
    assert dut.empty.value
