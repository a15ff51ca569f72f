# SPDX-License-Identifier: Apache-2.0
"""Row buffer against lists: pixels in order, read once a group, never before their piece is there, and nothing
overwritten.
"""

import random
from dataclasses import dataclass

import cocotb
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP
from hw.pointwise import RowBuffer
from sim import testbench as bench

CONFIG = AcceleratorConfig.small()


def test_row_buffer():
    bench.run(RowBuffer(CONFIG), __file__)


@dataclass(frozen=True)
class Case:
    """One step: pieces of rows, their columns, planes, how often each pixel is read."""

    pieces: int
    columns: int
    planes: int
    groups: int = 1

    def step(self) -> int:
        return bench.pack(
            STEP,
            expand=1,
            expand_planes=self.planes,
            expand_columns=self.columns,
            # What the window takes does not matter here.
            input_planes=self.planes + 3,
            input_width=999,
        )


CASES = [
    Case(1, 1, 1),
    Case(9, 1, 1, groups=2),
    Case(3, 1, 32, groups=3),
    Case(4, 32, 1),
    Case(5, 16, 4, groups=2),  # a piece fills the buffer
    Case(6, 9, 7),  # a piece nearly does
    Case(7, 5, 3, groups=2),
    Case(20, 3, 2),
]
assert all(case.columns * case.planes <= CONFIG.expand_depth for case in CASES)


class Reader:
    """Reads as the pointwise unit does, with random pauses, and compares what it reads."""

    def __init__(self, dut, case: Case, vectors: dict[tuple[int, int, int], int], rng: random.Random, pause: float):
        self.dut, self.case, self.vectors = dut, case, vectors
        self.pause = bench.pauses(rng, pause)
        order = [
            (r, c, p, g)
            for r in range(case.pieces)
            for c in range(case.columns)
            for g in range(case.groups)
            for p in range(case.planes)
        ]
        self.order = iter(order)
        self.count, self.total = 0, len(order)
        self.written = 0
        self.expected: list[int | None] = [None] * RowBuffer(CONFIG).latency

    async def run(self) -> None:
        dut, case = self.dut, self.case
        following = next(self.order, None)
        for _ in range(20_000):
            ready = bool(int(dut.ready.value))
            if following is not None and ready:
                needed = (following[0] + 1) * case.columns * case.planes
                assert self.written >= needed, f"{case}: ready for piece {following[0]} after {self.written} vectors"
            takes = ready and following is not None and not next(self.pause)
            if takes:
                r, c, p, g = following
                dut.last.value, dut.free.value = int(p == case.planes - 1), int(g == case.groups - 1)
                self.expected.append(self.vectors[r, p, c])
                following = next(self.order, None)
                self.count += 1
            else:
                self.expected.append(None)
            dut.take.value = int(takes)
            await RisingEdge(dut.clk)
            self.written += int(dut.i_valid.value) & int(dut.i_ready.value)
            expected = self.expected.pop(0)
            if expected is not None:
                item = int(dut.payload.value)
                assert item == expected, f"{case}: read {self.count}: {item:#x}, expected {expected:#x}"
            await bench.cycles(dut)
            if following is None and all(value is None for value in self.expected):
                break
        assert self.count == self.total, f"{case}: {self.count} of {self.total} reads"
        await bench.cycles(dut, 5)
        assert not int(dut.ready.value), f"{case}: ready after the last piece"


@cocotb.test()
@cocotb.parametrize(stalls=[(0.0, 0.0), (0.4, 0.0), (0.0, 0.4), (0.2, 0.2)])
async def check_pieces(dut, stalls):
    rng = random.Random(int(10 * sum(stalls)))
    await bench.reset(dut, step=0, start=0, i_valid=0, i_payload=0, take=0, last=0, free=0)
    source = bench.Source(dut, "i", bench.pauses(rng, stalls[0]))
    for case in CASES:
        vectors = {
            (r, p, c): rng.getrandbits(128)
            for r in range(case.pieces)
            for p in range(case.planes)
            for c in range(case.columns)
        }
        dut.step.value, dut.start.value = case.step(), 1
        await bench.cycles(dut)
        dut.start.value = 0
        await bench.cycles(dut, 2)
        sending = cocotb.start_soon(source.send(list(vectors.values())))
        await Reader(dut, case, vectors, rng, stalls[1]).run()
        assert sending.done()


@cocotb.test()
async def check_loading_goes_on_while_a_piece_is_read(dut):
    """Two pieces fit: a piece that takes as long to read as to load costs nothing beyond the first."""
    rng = random.Random(7)
    await bench.reset(dut, step=0, start=0, i_valid=0, i_payload=0, take=0, last=0, free=0)
    source = bench.Source(dut, "i")
    case = Case(12, 8, 4)
    vectors = {(r, p, c): rng.getrandbits(128) for r in range(12) for p in range(4) for c in range(8)}
    dut.step.value, dut.start.value = case.step(), 1
    await bench.cycles(dut)
    dut.start.value = 0
    await bench.cycles(dut, 2)
    cocotb.start_soon(source.send(list(vectors.values())))
    reader = Reader(dut, case, vectors, rng, 0.0)
    began = get_sim_time("ns")
    await reader.run()
    cycles = (get_sim_time("ns") - began) / 10
    assert cycles <= len(vectors) + 32 + 3 * 12 + 20, cycles


@cocotb.test()
async def check_takes_nothing_in_other_steps(dut):
    await bench.reset(dut, step=0, start=0, i_valid=1, i_payload=0, take=0, last=0, free=0)
    dut.step.value = bench.pack(STEP, input_planes=2, input_height=2, input_width=2)
    dut.start.value = 1
    for _ in range(20):
        await bench.cycles(dut)
        dut.start.value = 0
        assert not int(dut.i_ready.value) and not int(dut.ready.value)


@cocotb.test()
async def check_start_forgets_what_was_there(dut):
    """A step that was stopped leaves pieces behind; the next one sees none of them."""
    await bench.reset(dut, step=0, start=0, i_valid=0, i_payload=0, take=0, last=0, free=0)
    case = Case(4, 2, 2)
    for _ in range(2):
        dut.step.value, dut.start.value = case.step(), 1
        await bench.cycles(dut)
        dut.start.value = 0
        for _ in range(6):
            assert not int(dut.ready.value), "ready for a piece of the step before"
            await bench.cycles(dut)
        dut.i_valid.value = 1
        await bench.cycles(dut, 16)
        dut.i_valid.value = 0
        await bench.cycles(dut, 3)
        assert int(dut.ready.value)
