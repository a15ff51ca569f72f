# SPDX-License-Identifier: Apache-2.0
"""Storer against the memory layout of :mod:`codenet.isa`: planes in blocks, peak lists, stalls, errors, clearing."""

import random
from dataclasses import dataclass, field, replace

import cocotb
import numpy as np

from codenet.config import AcceleratorConfig
from codenet.isa import PEAK_BYTES, DepthwiseOp, Section
from hw.dma import Storer
from hw.interfaces import STORE_ITEM
from sim import testbench as bench
from sim.testbench.dram import SLAVE_ERROR, Dram
from sim.testbench.stimulus import send_parameters, start_step
from sim.timing import DramTiming

BASE, MEMORY, SIZE = 0x3456_7000, 0x3450_0000, 1 << 20
SPACE = SIZE - (BASE - MEMORY)
IDEAL = DramTiming(latency=20, bytes_per_cycle=16, refresh_interval=0, refresh_cycles=0)
END = bench.pack(STORE_ITEM, end=1, data=0xDEAD)


SMALL = AcceleratorConfig.small()


def test_storer():
    bench.run(Storer(SMALL), __file__, only=r"check_(?!blocks_of_all)")


def test_smallest_storer():
    bench.run(Storer(replace(SMALL, store_depth=64)), __file__, only="check_blocks_of_all_places")


@dataclass
class Planes:
    """Results of a step that stores planes."""

    planes: int
    pixels: int
    block_log2: int
    offsets: list[int] = field(default_factory=list)

    def place(self, rng: random.Random, alignment: int = 8) -> None:
        """Planes that do not overlap, in random order."""
        size = 16 * self.pixels + 8 * rng.randint(0, 20)
        size += -size % alignment
        order = rng.sample(range(self.planes), self.planes)
        start = alignment * rng.randrange((SPACE - size * self.planes) // alignment)
        self.offsets = [start + size * n for n in order]

    def items(self, values: np.ndarray) -> list[int]:
        """Store items of ``values`` [planes, pixels, 2] uint64."""
        return [bench.pack(STORE_ITEM, data=int(beat)) for beat in values.transpose(1, 0, 2).reshape(-1)]

    def apply(self, dram: Dram, memory: np.ndarray, rng: random.Random) -> list[int]:
        """Draw results, put them where they belong in ``memory``, allow these writes; returns the items."""
        values = np.frombuffer(rng.randbytes(16 * self.planes * self.pixels), dtype="<u8")
        values = values.reshape(self.planes, self.pixels, 2)
        for offset, plane in zip(self.offsets, values, strict=True):
            dram.allow(BASE + offset, 16 * self.pixels, write=True)
            memory[BASE - MEMORY + offset :][: 16 * self.pixels] = plane.reshape(-1).view(np.uint8)
        return self.items(values)

    @property
    def beats(self) -> int:
        return 2 * self.planes * self.pixels

    @property
    def fields(self) -> dict[str, int]:
        return {"output_planes": self.planes, "output_pixels": self.pixels, "block_log2": self.block_log2}


@dataclass
class Peaks:
    """Results of a peak step."""

    count: int
    offset: int = 0
    offsets: tuple[int, ...] = ()
    decoys: int = 0
    """Output planes that the descriptor wrongly names; a peak step has none."""

    def place(self, rng: random.Random, alignment: int = 8) -> None:
        self.offset = alignment * rng.randrange((SPACE - PEAK_BYTES * max(1, self.count)) // alignment)

    def apply(self, dram: Dram, memory: np.ndarray, rng: random.Random) -> list[int]:
        values = np.frombuffer(rng.randbytes(8 * self.count), dtype="<u8")
        dram.allow(BASE + self.offset, 8 * self.count, write=True)
        memory[BASE - MEMORY + self.offset :][: 8 * self.count] = values.view(np.uint8)
        return [*(bench.pack(STORE_ITEM, data=int(value)) for value in values), END]

    @property
    def beats(self) -> int:
        return self.count

    @property
    def fields(self) -> dict[str, int]:
        return {
            "depthwise_op": int(DepthwiseOp.PEAKS),
            "output_planes": self.decoys,
            "output_pixels": 5,
            "block_log2": 1,
            "peak_address": self.offset,
        }


Case = Planes | Peaks


async def begin(dut, timing: DramTiming) -> Dram:
    dram = Dram(dut, SIZE, MEMORY, timing)
    dram.add_write_port("port")
    await bench.reset(
        dut,
        start=0,
        step=0,
        half=0,
        base=BASE,
        clear=0,
        parameters_valid=0,
        parameters_payload=0,
        i_valid=0,
        i_payload=0,
    )
    assert not dut.done.value and not dut.busy.value
    return dram


async def send_table(dut, half: int, case: Case) -> None:
    await send_parameters(dut, half, Section.OUTPUT_TABLE, [[offset | 0xABCD_EF01 << 32] for offset in case.offsets])
    await send_parameters(dut, half, Section.INPUT_TABLE, [[0xFFFF_FFFF]] * 32)


async def until_done(dut, timeout: int = 50_000) -> None:
    for _ in range(timeout):
        if dut.done.value:
            return
        await bench.cycles(dut)
    raise AssertionError(f"not done after {timeout} cycles")


async def store(dut, dram: Dram, cases: list[Case], rng: random.Random, stall: float) -> None:
    """Run steps back to back, the table of the next one filled while one runs; compare all of memory after each."""
    for case in cases:
        case.place(rng)
    await send_table(dut, 0, cases[0])
    for n, case in enumerate(cases):
        dram.forbid_all()
        expected = dram.dump(MEMORY, SIZE)
        items = case.apply(dram, expected, rng)
        before = dram.writes[0].beats
        sending = cocotb.start_soon(bench.Source(dut, "i", bench.pauses(rng, stall)).send(items))
        await start_step(dut, n % 2, **case.fields)
        assert not dut.done.value and dut.busy.value
        if n + 1 < len(cases):
            await send_table(dut, 1 - n % 2, cases[n + 1])
        await until_done(dut)
        assert sending.done() and not dut.busy.value and dram.outstanding == 0 and not dut.error.value
        assert np.array_equal(dram.dump(MEMORY, SIZE), expected), f"{case}: memory differs"
        assert dram.writes[0].beats - before == case.beats


@cocotb.test()
async def check_shapes(dut):
    rng = random.Random(1)
    dram = await begin(dut, DramTiming(latency=10, jitter=10, stall=0.1))
    cases: list[Case] = [
        Planes(1, 1, 0),
        Planes(1, 1, 4),
        Planes(1, 16, 4),
        Planes(1, 17, 4),
        Planes(3, 40, 2),
        Peaks(0),
        Planes(4, 33, 4),
        Peaks(1),
        Peaks(16),
        Peaks(17),
        Planes(32, 5, 1),
        Planes(32, 3, 0),
        Peaks(200, decoys=9),
        Planes(5, 10, 3),
        Peaks(0, decoys=32),
        Peaks(0),
        Planes(2, 100, 1),
    ]
    for stall in (0.0, 0.4):
        await store(dut, dram, cases, rng, stall)


@cocotb.test()
async def check_blocks_of_all_places(dut):
    """32 beats in half of the block memory."""
    rng = random.Random(7)
    dram = await begin(dut, IDEAL)
    await store(
        dut, dram, [Planes(1, 50, 4), Planes(2, 20, 3), Planes(16, 3, 0), Planes(1, 16, 4), Peaks(70)], rng, 0.1
    )


@cocotb.test()
async def check_random_shapes(dut):
    rng = random.Random(2)
    dram = await begin(dut, DramTiming(jitter=30, stall=0.2))
    for _ in range(8):
        cases: list[Case] = []
        for _ in range(4):
            if rng.random() < 0.25:
                cases.append(Peaks(rng.choice([0, 1, 15, 16, rng.randint(0, 100)])))
                continue
            block_log2 = rng.randint(0, 4)
            cases.append(Planes(rng.randint(1, min(32, 64 >> block_log2)), rng.randint(1, 70), block_log2))
        await store(dut, dram, cases, rng, rng.choice([0.0, 0.1, 0.3]))


@cocotb.test()
async def check_one_beat_a_cycle(dut):
    """But for two cycles a block."""
    rng = random.Random(3)
    dram = await begin(dut, IDEAL)
    for case in (Planes(4, 128, 3), Planes(4, 64, 4), Planes(8, 64, 3), Peaks(512)):
        case.place(rng, alignment=128)
        await send_table(dut, 0, case)
        expected = dram.dump(MEMORY, SIZE)
        items = case.apply(dram, expected, rng)
        cocotb.start_soon(bench.Source(dut, "i").send(items))
        began = dram.now
        await start_step(dut, 0, **case.fields)
        await until_done(dut)
        assert np.array_equal(dram.dump(MEMORY, SIZE), expected)
        # The first block is collected before anything is written, the last one is written after all is collected.
        block = 16 if isinstance(case, Peaks) else 2 * case.planes << case.block_log2
        pauses = 2 * (case.beats // block)
        taken = dram.now - began
        assert taken <= case.beats + pauses + block + 2 * IDEAL.latency + 20, f"{case}: {taken} cycles"


@cocotb.test()
async def check_nothing_is_taken_between_steps(dut):
    """What follows a step's last result stays outside: before start, and after the last pixel."""
    rng = random.Random(4)
    dram = await begin(dut, IDEAL)
    case = Planes(2, 5, 1)
    case.place(rng)
    await send_table(dut, 0, case)
    dut.i_valid.value = 1
    for _ in range(20):
        await bench.cycles(dut)
        assert not dut.i_ready.value
    expected = dram.dump(MEMORY, SIZE)
    items = case.apply(dram, expected, rng)
    sending = cocotb.start_soon(bench.Source(dut, "i").send([*items, 0]))
    await start_step(dut, 0, **case.fields)
    await until_done(dut)
    await bench.cycles(dut, 50)
    assert not sending.done() and np.array_equal(dram.dump(MEMORY, SIZE), expected)


@cocotb.test()
async def check_done_waits_for_the_last_response(dut):
    rng = random.Random(5)
    dram = await begin(dut, DramTiming(latency=500, refresh_interval=0, refresh_cycles=0))
    for case in (Planes(1, 1, 0), Peaks(1)):
        case.place(rng)
        await send_table(dut, 0, case)
        cocotb.start_soon(bench.Source(dut, "i").send(case.apply(dram, dram.dump(MEMORY, SIZE), rng)))
        before = dram.writes[0].beats
        await start_step(dut, 0, **case.fields)
        while dram.writes[0].beats == before:
            await bench.cycles(dut)
        written = dram.now
        await until_done(dut)
        assert dram.now - written >= 500


@cocotb.test()
async def check_error(dut):
    rng = random.Random(6)
    dram = await begin(dut, IDEAL)
    case = Planes(2, 20, 2)
    case.place(rng)
    dram.fault(BASE + case.offsets[1] + 160, 8, "write", SLAVE_ERROR)
    await send_table(dut, 0, case)
    cocotb.start_soon(bench.Source(dut, "i").send(case.apply(dram, dram.dump(MEMORY, SIZE), rng)))
    await start_step(dut, 0, **case.fields)
    await until_done(dut)
    assert dut.error.value
    dram.repair()
    await clear(dut, dram, 1)
    await store(dut, dram, [case], rng, 0.0)


async def clear(dut, dram: Dram, cycles: int) -> None:
    dut.clear.value = 1
    await bench.cycles(dut, cycles)
    dut.clear.value = 0
    for _ in range(2000):
        if not dut.busy.value:
            break
        await bench.cycles(dut)
    assert not dut.busy.value and dram.outstanding == 0 and not dut.error.value and not dut.done.value


@cocotb.test()
async def check_clear_at_any_time(dut):
    rng = random.Random(7)
    dram = await begin(dut, DramTiming(latency=10, jitter=5, stall=0.2))
    for delay in (*range(0, 100, 3), *(rng.randint(100, 500) for _ in range(15))):
        case: Case = Peaks(60) if delay % 2 else Planes(3, 30, 2)
        case.place(rng)
        await send_table(dut, 0, case)
        before = dram.dump(MEMORY, SIZE)
        after = before.copy()
        sending = cocotb.start_soon(bench.Source(dut, "i", bench.pauses(rng, 0.2)).send(case.apply(dram, after, rng)))
        await start_step(dut, 0, **case.fields)
        await bench.cycles(dut, delay)
        sending.cancel()
        dut.i_valid.value = 0
        await clear(dut, dram, rng.choice([1, 2, 100]))
        asked = len(dram.writes[0].bursts)
        await bench.cycles(dut, 40)
        assert len(dram.writes[0].bursts) == asked and not dut.busy.value and not dut.done.value
        # Whatever was written is right and in its place.
        memory = dram.dump(MEMORY, SIZE)
        assert ((memory == before) | (memory == after)).all()
        follow: list[Case] = [Planes(2, 7, 1), Peaks(3)]
        await store(dut, dram, follow, rng, 0.2)
