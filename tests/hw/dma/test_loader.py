# SPDX-License-Identifier: Apache-2.0
"""Loader against the memory layout of :mod:`codenet.isa`: rows, planes, packing, upsampling, dilation plane, stalls,
clearing.
"""

import random
from dataclasses import dataclass, field

import cocotb
import numpy as np

from codenet.config import AcceleratorConfig
from codenet.isa import Section
from hw.dma import Loader
from sim import testbench as bench
from sim.testbench.dram import Dram
from sim.testbench.stimulus import send_parameters, start_step
from sim.timing import DramTiming

BASE, MEMORY, SIZE = 0x1234_5000, 0x1230_0000, 1 << 20
SPACE = SIZE - (BASE - MEMORY)
IDEAL = DramTiming(latency=20, bytes_per_cycle=16, refresh_interval=0, refresh_cycles=0)


def test_loader():
    bench.run(Loader(AcceleratorConfig.small()), __file__)


@dataclass
class Case:
    """Input of one step; offsets are drawn at random."""

    height: int
    width: int
    planes: int = 1
    dilated: int = 0
    upsample: int = 0
    repeat: int = 0
    packed: int = 0
    expand: int = 0
    """Columns of a piece that are loaded together; 0: no expansion."""
    gap: int = 0
    """Bytes between rows."""
    offsets: list[int] = field(default_factory=list)

    @property
    def stored(self) -> tuple[int, int]:
        return self.height >> self.upsample, self.width >> self.upsample

    @property
    def row_bytes(self) -> int:
        return 8 * (self.stored[1] + 1) if self.packed else 16 * self.stored[1]

    @property
    def row_pitch(self) -> int:
        return self.row_bytes + self.gap

    @property
    def beats(self) -> int:
        return (self.stored[0] << self.repeat) * (self.planes + self.dilated) * self.row_bytes // 8

    def place(self, rng: random.Random, alignment: int = 8) -> None:
        room = (SPACE - self.stored[0] * self.row_pitch) // alignment
        self.offsets = [alignment * rng.randrange(room) for _ in range(self.planes + self.dilated)]

    def expected(self, dram: Dram) -> list[int]:
        """Vectors in order, from the memory; allows just these reads."""
        vectors = []
        pitch = 8 if self.packed else 16
        for row in np.arange(self.stored[0]).repeat(1 + self.repeat).tolist():
            columns = self.expand or self.stored[1]
            for first in range(0, self.stored[1], columns):
                for offset in self.offsets:
                    address = BASE + offset + row * self.row_pitch
                    dram.allow(address, self.row_bytes, read=True)
                    data = dram.dump(address, self.row_bytes)
                    vectors += [bench.to_int(data[pitch * x : pitch * x + 16]) for x in range(first, first + columns)]
        return vectors

    async def start(self, dut, half: int) -> None:
        await start_step(
            dut,
            half,
            expand=self.expand > 0,
            expand_columns=self.expand,
            expand_planes=self.planes if self.expand else 0,
            input_planes=17 if self.expand else self.planes,
            input_height=self.height,
            input_width=self.width,
            dilated=self.dilated,
            upsample=self.upsample,
            repeat=self.repeat,
            packed=self.packed,
            row_pitch=self.row_pitch,
        )


async def begin(dut, timing: DramTiming) -> Dram:
    dram = Dram(dut, SIZE, MEMORY, timing)
    dram.add_read_port("port")
    await bench.reset(
        dut, start=0, step=0, half=0, base=BASE, clear=0, parameters_valid=0, parameters_payload=0, o_ready=0
    )
    return dram


async def send_table(dut, half: int, case: Case) -> None:
    # High bits are no part of an offset.
    await send_parameters(dut, half, Section.INPUT_TABLE, [[offset | 0xABCD_EF01 << 32] for offset in case.offsets])
    await send_parameters(dut, half, Section.OUTPUT_TABLE, [[0xFFFF_FFFF]] * 32)


async def until_free(dut, timeout: int = 50_000) -> None:
    for _ in range(timeout):
        if not dut.busy.value:
            return
        await bench.cycles(dut)
    raise AssertionError(f"busy after {timeout} cycles")


async def load(dut, dram: Dram, cases: list[Case], rng: random.Random, stall: float) -> None:
    """Run steps back to back, the table of the next one filled while one runs."""
    for case in cases:
        case.place(rng)
    await send_table(dut, 0, cases[0])
    for n, case in enumerate(cases):
        dram.forbid_all()
        expected = case.expected(dram)
        before = dram.reads[0].beats
        sink = bench.Sink(dut, "o", bench.pauses(rng, stall))
        await case.start(dut, n % 2)
        assert dut.busy.value
        if n + 1 < len(cases):
            await send_table(dut, 1 - n % 2, cases[n + 1])
        await until_free(dut)
        assert sink.items == expected, f"{case}: {len(sink.items)} vectors of {len(expected)}, or different ones"
        sink.task.cancel()
        dut.o_ready.value = 0
        assert dram.reads[0].beats - before == case.beats and dram.outstanding == 0 and not dut.error.value


@cocotb.test()
async def check_shapes(dut):
    rng = random.Random(1)
    dram = await begin(dut, DramTiming(latency=10, jitter=10, stall=0.1))
    cases = [
        Case(1, 1),
        Case(1, 1, packed=1),
        Case(2, 2, upsample=1),
        Case(2, 2, dilated=1, upsample=1),
        Case(2, 2, upsample=1, repeat=1),
        Case(6, 4, planes=2, dilated=1, upsample=1, repeat=1, gap=8),
        Case(3, 5, planes=3, gap=8),
        Case(4, 8, planes=2, dilated=1),
        Case(6, 4, planes=3, dilated=1, upsample=1, gap=24),
        Case(5, 7, planes=3, packed=1),
        Case(4, 16, packed=1, gap=40),
        Case(1, 3, planes=31, dilated=1),
        Case(4, 6, planes=3, expand=6, gap=16),
        Case(6, 6, planes=3, expand=2),
        Case(3, 7, planes=1, expand=1, gap=8),
        Case(6, 24, planes=2, expand=4, upsample=1),
        Case(4, 32, planes=3, expand=8, upsample=1, repeat=1),
        Case(2, 2, planes=32, expand=1, upsample=1, repeat=1),
        Case(1, 1, planes=32),
        Case(2, 300, planes=2),
        Case(64, 1, planes=1),
    ]
    for stall in (0.0, 0.5):
        await load(dut, dram, cases, rng, stall)


@cocotb.test()
async def check_random_shapes(dut):
    rng = random.Random(2)
    dram = await begin(dut, DramTiming(jitter=30, stall=0.2))
    for _ in range(12):
        cases = []
        for _ in range(4):
            kind = rng.choice(["plain", "packed", "upsample"])
            height, width = rng.randint(1, 6), rng.randint(1, 40)
            cases.append(
                Case(
                    2 * height if kind == "upsample" else height,
                    2 * width if kind == "upsample" else width,
                    planes=rng.randint(1, 5),
                    dilated=int(kind != "packed" and rng.random() < 0.4),
                    upsample=int(kind == "upsample"),
                    repeat=int(kind == "upsample" and rng.random() < 0.5),
                    packed=int(kind == "packed"),
                    gap=8 * rng.choice([0, 0, 1, 7]),
                )
            )
        await load(dut, dram, cases, rng, rng.choice([0.0, 0.2, 0.7]))


@cocotb.test()
async def check_one_beat_a_cycle(dut):
    """Rows of one aligned burst stream without a gap; so do packed rows, a vector a cycle."""
    rng = random.Random(3)
    dram = await begin(dut, IDEAL)
    for case in (Case(20, 8, planes=4), Case(10, 24, planes=2, dilated=1), Case(20, 127, packed=1)):
        case.place(rng, alignment=128)
        await send_table(dut, 0, case)
        expected = case.expected(dram)
        sink = bench.Sink(dut, "o")
        began = dram.now
        await case.start(dut, 0)
        await until_free(dut)
        assert sink.items == expected
        assert dram.now - began <= case.beats + IDEAL.latency + 20
        sink.task.cancel()


@cocotb.test()
async def check_error(dut):
    rng = random.Random(4)
    dram = await begin(dut, IDEAL)
    case = Case(4, 8, planes=2)
    case.place(rng, alignment=128)
    case.expected(dram)
    dram.fault(BASE + case.offsets[1] + 128, 8, "read")
    await send_table(dut, 0, case)
    dut.o_ready.value = 1
    await case.start(dut, 0)
    await until_free(dut)
    assert dut.error.value
    dram.repair()
    await clear(dut, dram, 1)
    await load(dut, dram, [case], rng, 0.0)


async def clear(dut, dram: Dram, cycles: int) -> None:
    dut.clear.value = 1
    await bench.cycles(dut, cycles)
    dut.clear.value = 0
    await until_free(dut)
    assert dram.outstanding == 0 and not dut.error.value and not dut.o_valid.value


@cocotb.test()
async def check_clear_at_any_time(dut):
    """Also between the two beats of a vector; the next step starts afresh."""
    rng = random.Random(5)
    dram = await begin(dut, DramTiming(latency=8, jitter=5, stall=0.2))
    for delay in (*range(0, 60, 2), *(rng.randint(60, 300) for _ in range(10))):
        case = Case(6, 9, planes=3, dilated=1, packed=delay // 2 % 2)
        case.place(rng)
        await send_table(dut, 0, case)
        case.expected(dram)
        dut.o_ready.value = rng.randint(0, 1)
        await case.start(dut, 0)
        await bench.cycles(dut, delay)
        await clear(dut, dram, rng.choice([1, 2, 50]))
        asked = len(dram.reads[0].bursts)
        await bench.cycles(dut, 40)
        assert len(dram.reads[0].bursts) == asked and not dut.o_valid.value and not dut.busy.value
        await load(dut, dram, [Case(2, 3, planes=2)], rng, 0.2)


def test_expected_layout():
    """The oracle of this file on a case worked out by hand: packed vectors overlap by half."""

    class Memory:
        def allow(self, *_, **__):
            pass

        def dump(self, address, size):
            return (np.arange(size) + address - BASE).astype(np.uint8)

    case = Case(2, 2, packed=1, gap=8, offsets=[64])
    starts = [int(vector & 0xFF) for vector in case.expected(Memory())]
    assert starts == [64, 72, 96, 104]
    case = Case(4, 4, upsample=1, offsets=[0, 128])
    assert [vector & 0xFF for vector in case.expected(Memory())] == [0, 16, 128, 144, 32, 48, 160, 176]
