# SPDX-License-Identifier: Apache-2.0
"""Window writer alone: what the banks and the dilation ring hold after each row, and the rows that it may not write
yet.
"""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from codenet.config import LANES
from codenet.golden import operators as golden
from hw.interfaces import VECTOR
from hw.window.writer import WindowWriter, bank_write, dilation_write
from sim import testbench as bench
from tests.hw.window.cases import CONFIG, CORNERS, Case, Stimulus, random_case, start

START = 6
"""Cycles from ``start`` to the first row's first vector."""

BANKS, DILATIONS = bank_write(CONFIG), dilation_write(CONFIG)


def test_writer():
    bench.run(WindowWriter(CONFIG), __file__)


def fields(layout, value: int) -> dict[str, int]:
    return {name: value >> field.offset & (1 << field.width) - 1 for name, field in layout}


class Memories:
    """Nine banks and the ring, as the writes make them."""

    def __init__(self, dut):
        self.dut = dut
        self.clear()
        self.bits = (CONFIG.window_depth - 1).bit_length()
        cocotb.start_soon(self._run())

    def clear(self) -> None:
        self.banks: list[dict[int, int]] = [{} for _ in range(9)]
        self.ring: dict[int, int] = {}

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            write = fields(BANKS, int(self.dut.banks.value))
            for bank in range(9):
                if write["enable"] >> bank & 1:
                    address = write["address"] >> self.bits * bank & (1 << self.bits) - 1
                    self.banks[bank][address] = write["data"] >> VECTOR.size * (bank // 3) & (1 << VECTOR.size) - 1
            write = fields(DILATIONS, int(self.dut.dilations.value))
            if write["enable"]:
                self.ring[write["address"]] = write["data"]


def check_row(case: Case, stimulus: Stimulus, memories: Memories, row: int) -> None:
    """Of one row of the (upsampled) input: each pixel's vectors, and the stored row's dilations."""
    x = golden.upsample(stimulus.x) if case.upsample else stimulus.x
    stride, slot = -(-case.width // 3) * case.planes, row % case.window_rows
    for column in range(case.width):
        bank = memories.banks[3 * (row % 3) + column % 3]
        for plane in range(case.planes):
            address = slot // 3 * stride + column // 3 * case.planes + plane
            expected = bench.to_int(x[row, column, LANES * plane : LANES * plane + LANES])
            assert bank.get(address) == expected, f"{case}: row {row} column {column} plane {plane}"
    if case.dilated:
        # With ``repeat`` every stored row comes twice, and is kept twice.
        stored = row if case.repeat or not case.upsample else row // 2
        values = stimulus.d[row >> case.upsample]
        base = stored % case.window_rows * len(values)
        assert [memories.ring.get(base + n) for n in range(len(values))] == values.tolist(), f"{case}: row {row}"


async def run_case(dut, case: Case, memories: Memories, source: bench.Source, rng: random.Random, seed: int) -> None:
    stimulus = Stimulus(case, np.random.default_rng(seed))
    memories.clear()
    limit = case.window_rows
    dut.row_limit.value = limit
    await start(dut, case)
    sending = cocotb.start_soon(source.send(stimulus.vectors))
    checked = 0
    for _ in range(100_000):
        await bench.cycles(dut)
        rows = int(dut.rows.value)
        assert rows <= limit, f"{case}: row {rows - 1} written where rows below {limit} may be"
        if rows > checked:
            await bench.cycles(dut, 2)  # the last write
            for row in range(checked, rows):
                check_row(case, stimulus, memories, row)
            checked = rows
        if limit < case.height and rng.random() < 0.02:
            limit += 1
            dut.row_limit.value = limit
        if int(dut.idle.value) and checked == case.height:
            break
    assert checked == case.height, f"{case}: {checked} rows"
    await bench.cycles(dut)
    assert sending.done(), f"{case}: idle before all input was taken"


@cocotb.test()
@cocotb.parametrize(pause=[0.0, 0.3])
async def check_rows(dut, pause):
    rng = random.Random(1)
    await bench.reset(dut, start=0, row_limit=0, step=0)
    memories, source = Memories(dut), bench.Source(dut, "i", bench.pauses(rng, pause))
    cases = CORNERS if pause == 0 else [random_case(rng) for _ in range(15)]
    for seed, case in enumerate(cases):
        await run_case(dut, case, memories, source, rng, seed)


@cocotb.test()
async def check_first_vector(dut):
    """What is static in a step settles in so many cycles, whatever the step before."""
    await bench.reset(dut, start=0, row_limit=3, step=0)
    source = bench.Source(dut, "i")
    for case in (Case(3, 4), Case(3, 2), Case(3, 6)):
        stimulus = Stimulus(case, np.random.default_rng(1))
        await start(dut, case)
        cycles = 0
        while not int(dut.i_ready.value):
            await bench.cycles(dut)
            cycles += 1
        assert cycles == START, case
        await source.send(stimulus.vectors)
        await bench.cycles(dut, 5)
        assert int(dut.idle.value)


@cocotb.test()
async def check_waits_for_room(dut):
    """Nothing is taken of a row that may not be written."""
    await bench.reset(dut, start=0, row_limit=3, step=0)
    case = Case(9, 4)
    memories, source = Memories(dut), bench.Source(dut, "i")
    await start(dut, case)
    stimulus = Stimulus(case, np.random.default_rng(1))
    cocotb.start_soon(source.send(stimulus.vectors))
    for limit in (3, 4, 9):
        dut.row_limit.value = limit
        await bench.cycles(dut, 200)
        assert int(dut.rows.value) == limit
        assert int(dut.idle.value) == (limit == 9) and not int(dut.i_ready.value)
        for row in range(limit - 3, limit):
            check_row(case, stimulus, memories, row)
