# SPDX-License-Identifier: Apache-2.0
"""Burst reader against memory contents: every length, alignment, stalls, errors, clearing."""

import random

import cocotb
import numpy as np
import pytest

from hw.axi import BurstReader
from hw.axi.burst_splitter import RUN
from sim import testbench as bench
from sim.testbench.dram import DECODE_ERROR, SLAVE_ERROR, Dram
from sim.timing import DramTiming

BASE, SIZE = 0x1000_0000, 1 << 16
IDEAL = DramTiming(latency=20, bytes_per_cycle=16, refresh_interval=0, refresh_cycles=0)


@pytest.mark.parametrize("outstanding, depth", [(8, 256), (2, 32)])
def test_burst_reader(outstanding, depth):
    # Few bursts in flight do not cover the latency.
    only = None if outstanding == 8 else r"check_(?!full_rate)"
    bench.run(BurstReader(outstanding, depth), __file__, only=only, depth=depth)


async def start(dut, timing: DramTiming) -> Dram:
    dram = Dram(dut, SIZE, BASE, timing)
    dram.add_read_port("port")
    await bench.reset(dut, runs_valid=0, runs_payload=0, data_ready=0, clear=0)
    return dram


def runs_to_items(runs: list[tuple[int, int]]) -> list[int]:
    return [bench.pack(RUN, address=address, beats=beats) for address, beats in runs]


def contents(dram: Dram, runs: list[tuple[int, int]]) -> list[int]:
    return [dram.read_beat(address + 8 * n) for address, beats in runs for n in range(beats)]


async def read(dut, dram: Dram, runs: list[tuple[int, int]], source_pause=(), sink_pause=()) -> int:
    """Read ``runs`` and compare; returns the cycles from the first to the last beat."""
    for address, beats in runs:
        dram.allow(address, 8 * beats, read=True)
    port = dram.reads[0]
    beats, expected = port.beats, contents(dram, runs)
    sink = bench.Sink(dut, "data", sink_pause)
    seen = []

    async def watch():
        while len(seen) < len(expected):
            await bench.cycles(dut)
            seen.extend([dram.now] * (len(sink.items) - len(seen)))

    watcher = cocotb.start_soon(watch())
    await bench.Source(dut, "runs", source_pause).send(runs_to_items(runs))
    items = await sink.expect(len(expected))
    await watcher
    sink.task.cancel()
    dut.data_ready.value = 0
    dram.forbid_all()
    assert items == expected
    assert port.beats - beats == len(expected)
    assert dut.idle.value and not dut.error.value and dram.outstanding == 0
    return seen[-1] - seen[0] + 1


@cocotb.test()
async def check_lengths_around_a_page(dut):
    rng = random.Random(1)
    dram = await start(dut, DramTiming(latency=5, jitter=10, stall=0.2, refresh_interval=200, refresh_cycles=20))
    for beats in range(1, 41):
        page = BASE + 4096 * rng.randint(1, 8)
        offsets = rng.sample(range(-beats, 2), 2) if beats > 1 else [-1, 0]
        runs = [(page + 8 * offset, beats) for offset in offsets]
        await read(dut, dram, runs, bench.pauses(rng, 0.3), bench.pauses(rng, rng.choice([0.0, 0.3, 0.8])))
    assert max(burst.beats for burst in dram.reads[0].bursts) == 16


@cocotb.test()
async def check_random_runs(dut):
    rng = random.Random(2)
    dram = await start(dut, DramTiming(jitter=40, stall=0.1))
    for stall in (0.0, 0.5):
        lengths = [rng.choice([1, 2, 15, 16, 17, 300, rng.randint(1, 60)]) for _ in range(40)]
        runs = [(BASE + 8 * rng.randint(0, SIZE // 8 - beats), beats) for beats in lengths]
        await read(dut, dram, runs, bench.pauses(rng, stall), bench.pauses(rng, stall))


@cocotb.test()
async def check_address_bits_below_a_beat_are_ignored(dut):
    dram = await start(dut, IDEAL)
    dram.allow(BASE, 8, read=True)
    sink = bench.Sink(dut, "data")
    await bench.Source(dut, "runs").send(runs_to_items([(BASE + 5, 1)]))
    assert await sink.expect(1) == [dram.read_beat(BASE)]


@cocotb.test()
async def check_full_rate(dut):
    """Runs of one burst, and long runs at any alignment, leave no gap once data flow."""
    dram = await start(dut, IDEAL)
    for runs in (
        [(BASE + 128 * n, 16) for n in range(40)],
        [(BASE + 256 * n + 128, 16) for n in range(40)],
        [(BASE + 8 * 7, 640)],
        [(BASE + 8 * 41 * n, 40) for n in range(20)],
    ):
        beats = sum(count for _, count in runs)
        assert await read(dut, dram, runs) == beats


@cocotb.test()
async def check_stalled_consumer_leaves_the_bus_free(dut):
    """No more is asked for than the output queue can hold, and what was asked for is taken."""
    dram = await start(dut, IDEAL)
    dram.allow(BASE, SIZE, read=True)
    dut.data_ready.value = 0
    await bench.Source(dut, "runs").send(runs_to_items([(BASE, 1000)]))
    await bench.cycles(dut, 500)
    asked = sum(burst.beats for burst in dram.reads[0].bursts)
    assert bench.parameter("depth") - 16 < asked <= bench.parameter("depth")
    assert dram.outstanding == 0 and dram.reads[0].beats == asked and not dut.idle.value


@cocotb.test()
async def check_errors(dut):
    dram = await start(dut, IDEAL)
    for response in (SLAVE_ERROR, DECODE_ERROR):
        dram.allow(BASE, 1024, read=True)
        dram.fault(BASE + 8 * 37, 8, "read", response)
        sink = bench.Sink(dut, "data")
        await bench.Source(dut, "runs").send(runs_to_items([(BASE, 37)]))
        await sink.expect(37)
        assert not dut.error.value
        await bench.Source(dut, "runs").send(runs_to_items([(BASE + 8 * 37, 40)]))
        await sink.expect(77)
        assert dut.error.value and dut.idle.value
        sink.task.cancel()
        dram.repair()
        await clear(dut, dram)
        await read(dut, dram, [(BASE, 20)])


async def clear(dut, dram: Dram, cycles: int = 1) -> None:
    """Clear for a number of cycles; see the reader drain."""
    dut.clear.value = 1
    for _ in range(cycles):
        await bench.cycles(dut)
    dut.clear.value = 0
    for _ in range(500):
        await bench.cycles(dut)
        if dut.idle.value:
            break
    assert dut.idle.value and dram.outstanding == 0 and not dut.error.value and not dut.data_valid.value


@cocotb.test()
async def check_clear_at_any_time(dut):
    rng = random.Random(3)
    dram = await start(dut, DramTiming(latency=10, jitter=5, stall=0.2))
    source = None
    for delay in (*range(0, 40, 3), *(rng.randint(40, 200) for _ in range(10))):
        dram.allow(BASE, SIZE, read=True)
        sink = bench.Sink(dut, "data", bench.pauses(rng, 0.3))
        source = cocotb.start_soon(bench.Source(dut, "runs").send(runs_to_items([(BASE + 8 * 5, 100), (BASE, 33)] * 3)))
        await bench.cycles(dut, delay)
        source.cancel()
        dut.runs_valid.value = 0
        sink.task.cancel()
        await clear(dut, dram, rng.choice([1, 2, 100]))
        asked = len(dram.reads[0].bursts)
        await bench.cycles(dut, 50)
        assert len(dram.reads[0].bursts) == asked and dut.idle.value
        await read(dut, dram, [(BASE + 8 * rng.randint(0, 500), rng.randint(1, 40))])


def test_noise_is_not_uniform():
    """Every expectation above compares memory contents, so these must differ from place to place."""
    beats = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8).view("<u8")
    assert len(np.unique(beats)) == len(beats)
