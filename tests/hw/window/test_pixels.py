# SPDX-License-Identifier: Apache-2.0
"""Window pixels alone: order, dilation and places of the taps of every output pixel, and that none comes before its
rows.
"""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from codenet.config import CONFLICT_FREE
from codenet.golden import operators as golden
from codenet.isa import DepthwiseOp
from hw.window.pixels import WindowPixels, pixel_layout
from hw.window.writer import dilation_write
from sim import testbench as bench
from tests.hw.window.cases import CONFIG, CORNERS, Case, Stimulus, random_case, start

LAYOUT, DILATION = pixel_layout(CONFIG), dilation_write(CONFIG)
BITS = (CONFIG.window_depth - 1).bit_length()


def test_pixels():
    bench.run(WindowPixels(CONFIG), __file__)


def fields(layout, value: int) -> dict[str, int]:
    return {name: value >> field.offset & (1 << field.width) - 1 for name, field in layout}


def check_pixel(case: Case, d: int, y: int, x: int, value: int) -> None:
    pixel = fields(LAYOUT, value)
    where = f"{case}: y {y} x {x} d {d}"
    assert (pixel["y"], pixel["x"]) == (y, x), where
    assert pixel["row_end"] == (x == case.output_size[1] - 1), where
    assert pixel["residue"] == d % 3, where
    assert pixel["nine"] == (case.full if case.op == DepthwiseOp.OFF else d not in CONFLICT_FREE), where
    row_stride = -(-case.width // 3) * case.planes
    axes = (
        ("row", y, case.height, case.window_rows, row_stride),
        ("column", x, case.width, 3 * -(-case.width // 3), case.planes),
    )
    for name, output, size, slots, unit in axes:
        centre = case.stride * output
        axis = fields(LAYOUT[name].shape, pixel[name])
        assert axis["phase"] == centre % 3, f"{where} {name}"
        for tap, position in enumerate((centre - d, centre, centre + d)):
            assert axis["inside"] >> tap & 1 == (0 <= position < size), f"{where} {name} tap {tap}"
            if 0 <= position < size:
                address = axis["address"] >> BITS * tap & (1 << BITS) - 1
                assert address == position % slots // 3 * unit, f"{where} {name} tap {tap}"


async def write_dilations(dut, case: Case, stimulus: Stimulus, stored_row: int, slot: int) -> None:
    values = stimulus.d[stored_row]
    base = slot % case.window_rows * len(values)
    for n, value in enumerate(values):
        dut.dilations.value = bench.pack(DILATION, enable=1, address=base + n, data=int(value))
        await bench.cycles(dut)
    dut.dilations.value = 0


async def run_case(dut, case: Case, rng: random.Random, seed: int, pause: float) -> None:
    stimulus = Stimulus(case, np.random.default_rng(seed))
    d = golden.upsample(stimulus.d[..., None])[..., 0] if case.upsample else stimulus.d
    height, width = case.output_size
    expected = [(y, x) for y in range(height) for x in range(width)]
    dut.rows.value = 0
    await start(dut, case)
    rows = taken = 0
    pauses = bench.pauses(rng, pause)
    for _ in range(100_000):
        y, x = expected[taken]
        # The ring keeps what the current row needs; the next input row comes when it may overwrite.
        if rows < case.height and rows < max(0, case.stride * y - case.reach) + case.window_rows and rng.random() < 0.2:
            pairs = case.upsample and not case.repeat
            if case.dilated:
                await write_dilations(dut, case, stimulus, rows >> case.upsample, rows // 2 if pairs else rows)
            rows = min(rows + 1 + pairs, case.height)
            await bench.cycles(dut, 2)
            dut.rows.value = rows
        take = int(dut.o_valid.value) and not next(pauses)
        dut.o_ready.value = int(take)
        if take:
            assert rows >= min(case.stride * y + case.reach + 1, case.height), (
                f"{case}: pixel of row {y} with {rows} rows"
            )
            dilation = int(d[case.stride * y, case.stride * x]) if case.dilated else 1
            check_pixel(case, dilation, y, x, int(dut.o_payload.value))
            taken += 1
        await bench.cycles(dut)
        dut.o_ready.value = 0
        if taken == len(expected):
            break
    assert taken == len(expected), f"{case}: {taken} of {len(expected)} pixels"
    await bench.cycles(dut, 30)
    assert not int(dut.o_valid.value), f"{case}: surplus pixels"
    assert int(dut.idle.value), f"{case}: not idle"


@cocotb.test()
@cocotb.parametrize(pause=[0.0, 0.4])
async def check_pixels(dut, pause):
    rng = random.Random(1)
    await bench.reset(dut, start=0, rows=0, dilations=0, o_ready=0, step=0)
    cases = CORNERS if pause == 0 else [random_case(rng) for _ in range(15)]
    for seed, case in enumerate(cases):
        await run_case(dut, case, rng, seed, pause)


async def begin(dut, case: Case) -> None:
    """Reset, and start a step of which no row is there."""
    await bench.reset(dut, start=0, rows=0, dilations=0, o_ready=0, step=0)
    await start(dut, case)


@cocotb.test()
async def check_rate_and_waiting(dut):
    """A pixel a cycle while rows are there; ``waiting`` while they are not."""
    case = Case(6, 40)
    await begin(dut, case)
    await bench.cycles(dut, 100)
    assert int(dut.waiting.value) and not int(dut.idle.value) and not int(dut.o_valid.value)
    dut.rows.value = case.height
    dut.o_ready.value = 0
    taken = cycles = 0
    while taken < 240:
        dut.o_ready.value = int(dut.o_valid.value)
        taken += int(dut.o_valid.value)
        await RisingEdge(dut.clk)
        await bench.cycles(dut)
        cycles += 1
        assert cycles < 1000, f"{taken} pixels"
    assert cycles <= 240 + 7 * case.height + 30, cycles
    dut.o_ready.value = 0
    await bench.cycles(dut, 5)
    assert not int(dut.waiting.value) and int(dut.idle.value)


@cocotb.test()
async def check_nothing_is_lost_while_nothing_is_taken(dut):
    """The queue is full again and again, with all rows there."""
    case = Case(6, 40)
    await begin(dut, case)
    dut.rows.value = case.height
    for n in range(case.height * case.width):
        # After 0, 1, 3, 6, 10, ... pixels.
        if (8 * n + 1) ** 0.5 % 1 == 0:
            await bench.cycles(dut, 60)
        for _ in range(20):
            if int(dut.o_valid.value):
                break
            await bench.cycles(dut)
        check_pixel(case, 1, *divmod(n, case.width), int(dut.o_payload.value))
        dut.o_ready.value = 1
        await bench.cycles(dut)
        dut.o_ready.value = 0
    await bench.cycles(dut, 30)
    assert not int(dut.o_valid.value) and int(dut.idle.value)
