# SPDX-License-Identifier: Apache-2.0
"""Burst writer against memory contents: every length, alignment, stalls, errors, clearing."""

import random

import cocotb
import numpy as np
import pytest

from codenet.errors import ConfigError
from hw.axi import BurstWriter
from hw.axi.burst_splitter import RUN, check_limits
from hw.axi.write_master import LEAD
from sim import testbench as bench
from sim.testbench.dram import DECODE_ERROR, SLAVE_ERROR, Dram
from sim.timing import DramTiming

BASE, SIZE = 0x2000_0000, 1 << 16
IDEAL = DramTiming(latency=20, bytes_per_cycle=16, refresh_interval=0, refresh_cycles=0)


@pytest.mark.parametrize("outstanding, depth", [(8, 64), (1, 32)])
def test_burst_writer(outstanding, depth):
    # One burst in flight does not cover the latency.
    only = None if outstanding == 8 else r"check_(?!full_rate)"
    bench.run(BurstWriter(outstanding, depth), __file__, only=only, depth=depth)


@pytest.mark.parametrize("outstanding, depth", [(0, 64), (8, 16), (8, 100)])
def test_bad_limits(outstanding, depth):
    with pytest.raises(ConfigError, match="expected"):
        check_limits(outstanding, depth)


async def start(dut, timing: DramTiming) -> Dram:
    dram = Dram(dut, SIZE, BASE, timing)
    dram.add_write_port("port")
    await bench.reset(dut, runs_valid=0, runs_payload=0, data_valid=0, data_payload=0, clear=0)
    return dram


def runs_to_items(runs: list[tuple[int, int]]) -> list[int]:
    return [bench.pack(RUN, address=address, beats=beats) for address, beats in runs]


async def until_idle(dut, timeout: int = 20_000) -> None:
    for _ in range(timeout):
        await bench.cycles(dut)
        if dut.idle.value:
            return
    raise AssertionError(f"not idle after {timeout} cycles")


async def write(dut, dram: Dram, runs: list[tuple[int, int]], rng: random.Random, stall: float = 0.0) -> int:
    """Write random beats to ``runs`` and compare all of memory; returns the cycles that it took."""
    for address, beats in runs:
        dram.allow(address, 8 * beats, write=True)
    expected = dram.dump(BASE, SIZE)
    values = []
    for address, beats in runs:
        block = np.frombuffer(rng.randbytes(8 * beats), dtype="<u8")
        expected[address - BASE :][: 8 * beats] = block.view(np.uint8)
        values += block.tolist()
    before, began = dram.writes[0].beats, dram.now
    sending = cocotb.start_soon(bench.Source(dut, "data", bench.pauses(rng, stall)).send(values))
    await bench.Source(dut, "runs", bench.pauses(rng, stall)).send(runs_to_items(runs))
    await sending
    await until_idle(dut)
    taken = dram.now - began
    assert dram.outstanding == 0 and not dut.error.value
    await bench.cycles(dut, 50)
    assert dram.writes[0].beats - before == len(values)
    assert np.array_equal(dram.dump(BASE, SIZE), expected)
    dram.forbid_all()
    return taken


@cocotb.test()
async def check_lengths_around_a_page(dut):
    rng = random.Random(1)
    dram = await start(dut, DramTiming(latency=5, jitter=10, stall=0.2, refresh_interval=200, refresh_cycles=20))
    for beats in range(1, 41):
        page = BASE + 4096 * rng.randint(1, 8)
        await write(dut, dram, [(page + 8 * rng.randint(-beats, 1), beats)], rng, rng.choice([0.0, 0.3]))
    assert max(burst.beats for burst in dram.writes[0].bursts) == 16


@cocotb.test()
async def check_random_runs(dut):
    rng = random.Random(2)
    dram = await start(dut, DramTiming(jitter=40, stall=0.1))
    for stall in (0.0, 0.4):
        address, runs = BASE, []
        for _ in range(40):
            beats = rng.choice([1, 2, 15, 16, 17, 100, rng.randint(1, 60)])
            address += 8 * rng.randint(0, 20)
            runs.append((address, beats))
            address += 8 * beats
        await write(dut, dram, runs, rng, stall)


@cocotb.test()
async def check_full_rate(dut):
    rng = random.Random(3)
    dram = await start(dut, IDEAL)
    for runs in (
        [(BASE + 128 * n, 16) for n in range(40)],
        [(BASE + 8 * 7, 640)],
        [(BASE + 64 * n, 8) for n in range(80)],
    ):
        # The first burst waits for its data; the last one's response follows by the latency.
        assert await write(dut, dram, runs, rng) <= 640 + 16 + IDEAL.latency + 12


@cocotb.test()
async def check_no_address_without_data(dut):
    """A producer that stops in the middle of a burst does not hold the bus."""
    dram = await start(dut, IDEAL)
    dram.allow(BASE, 128, write=True)
    await bench.Source(dut, "runs").send(runs_to_items([(BASE, 16)]))
    data = bench.Source(dut, "data")
    await data.send(range(15))
    await bench.cycles(dut, 100)
    assert not dram.writes[0].bursts and not dut.port_aw_valid.value and not dut.port_w_valid.value
    await data.send([15])
    await until_idle(dut)
    assert dram.dump(BASE, 128).view("<u8").tolist() == list(range(16))


@cocotb.test()
async def check_not_idle_with_a_run_alone(dut):
    """Offered or taken, with nothing to write yet; nor with data alone."""
    dram = await start(dut, IDEAL)
    dram.allow(BASE, 128, write=True)
    await bench.cycles(dut, 5)
    assert dut.idle.value
    await bench.Source(dut, "runs").send(runs_to_items([(BASE, 2)]))
    for _ in range(50):
        await bench.cycles(dut)
        assert not dut.idle.value
    await bench.Source(dut, "data").send([1, 2])
    await until_idle(dut)
    await bench.Source(dut, "data").send([3])
    for _ in range(50):
        await bench.cycles(dut)
        assert not dut.idle.value
    await bench.Source(dut, "runs").send(runs_to_items([(BASE + 16, 1)]))
    await until_idle(dut)
    assert dram.dump(BASE, 24).view("<u8").tolist() == [1, 2, 3]


@cocotb.test()
async def check_spacious(dut):
    """A producer that decides LEAD cycles before a beat, in each cycle that is spacious, never waits with one, and
    fills the queue but for the beats on their way.
    """
    dram = await start(dut, IDEAL)
    dram.allow(BASE, SIZE, write=True)
    decided: list[bool] = [False] * LEAD
    sent, depth = 0, bench.parameter("depth")
    for _ in range(depth + 20):
        beat = decided.pop(0)
        dut.data_valid.value, dut.data_payload.value = int(beat), sent
        if beat:
            assert dut.data_ready.value, f"beat {sent} has to wait"
            sent += 1
        decided.append(bool(dut.spacious.value))
        await bench.cycles(dut)
    assert sent == depth - 3
    await bench.Source(dut, "runs").send(runs_to_items([(BASE, sent)]))
    await until_idle(dut)
    assert dram.dump(BASE, 8 * sent).view("<u8").tolist() == list(range(sent)) and dut.spacious.value


@cocotb.test()
async def check_errors(dut):
    rng = random.Random(4)
    dram = await start(dut, IDEAL)
    for response in (SLAVE_ERROR, DECODE_ERROR):
        dram.allow(BASE, 1024, write=True)
        dram.fault(BASE + 8 * 20, 8, "write", response)
        sending = cocotb.start_soon(bench.Source(dut, "data").send(range(40)))
        await bench.Source(dut, "runs").send(runs_to_items([(BASE, 40)]))
        await sending
        await until_idle(dut)
        assert dut.error.value
        dram.repair()
        dut.clear.value = 1
        await bench.cycles(dut)
        dut.clear.value = 0
        await until_idle(dut)
        await write(dut, dram, [(BASE, 20)], rng)


@cocotb.test()
async def check_reset_forgets_what_the_bus_owes(dut):
    """The bus is reset, too, and answers nothing that it was asked before."""
    await bench.reset(dut, runs_valid=0, runs_payload=0, data_valid=0, data_payload=0, clear=0, reset=0)
    dut.port_aw_ready.value, dut.port_w_ready.value, dut.port_b_valid.value = 1, 1, 0
    sending = cocotb.start_soon(bench.Source(dut, "data").send(range(32)))
    await bench.Source(dut, "runs").send(runs_to_items([(BASE, 32)]))
    await sending
    await bench.cycles(dut, 100)
    assert not dut.idle.value
    dut.clear.value = dut.reset.value = 1
    await bench.cycles(dut, 20)
    dut.clear.value = dut.reset.value = 0
    await until_idle(dut, 40)


@cocotb.test()
async def check_clear_at_any_time(dut):
    """Bursts whose address was given are completed with their own data; nothing else is written; then all works."""
    rng = random.Random(5)
    dram = await start(dut, DramTiming(latency=10, jitter=5, stall=0.3))
    for delay in (*range(0, 60, 3), *(rng.randint(60, 300) for _ in range(10))):
        dram.allow(BASE, SIZE, write=True)
        values = [rng.getrandbits(64) for _ in range(160)]
        before = dram.dump(BASE, 8 * 160)
        first = len(dram.writes[0].bursts)
        tasks = [
            cocotb.start_soon(bench.Source(dut, "data", bench.pauses(rng, 0.2)).send(values)),
            cocotb.start_soon(
                bench.Source(dut, "runs").send(runs_to_items([(BASE, 100), (BASE + 800, 30), (BASE + 1040, 30)]))
            ),
        ]
        await bench.cycles(dut, delay)
        for task in tasks:
            task.cancel()
        dut.data_valid.value = dut.runs_valid.value = 0
        dut.clear.value = 1
        await bench.cycles(dut, rng.choice([1, 2, 100]))
        dut.clear.value = 0
        await until_idle(dut)
        assert dram.outstanding == 0
        bursts = dram.writes[0].bursts[first:]
        await bench.cycles(dut, 40)
        assert len(dram.writes[0].bursts) == first + len(bursts) and dut.idle.value
        beats = sum(burst.beats for burst in bursts)
        expected = np.concatenate([np.array(values[:beats], dtype="<u8"), before.view("<u8")[beats:]])
        assert np.array_equal(dram.dump(BASE, 8 * 160).view("<u8"), expected)
        await write(dut, dram, [(BASE + 8 * rng.randint(0, 500), rng.randint(1, 40))], rng)
