# SPDX-License-Identifier: Apache-2.0
"""Window against ``codenet.golden.window``: every beat of every pixel."""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from codenet.config import CONFLICT_FREE, LANES
from codenet.isa import DepthwiseOp
from hw.interfaces import SAMPLES
from hw.window import Window
from sim import testbench as bench
from tests.hw.window.cases import CONFIG, CORNERS, Case, Stimulus, random_case

NO_TAP = 3


def test_window():
    bench.run(Window(CONFIG), __file__)


class Beat:
    """A beat's fields, as integers; ``samples`` int8 ``[9, 16]``, taps as lists of three."""

    SAMPLE_BITS = 8 * 9 * LANES

    def __init__(self, value: int):
        self.samples = bench.from_int(value & ((1 << self.SAMPLE_BITS) - 1), np.int8, 9 * LANES).reshape(9, LANES)
        for name in ("inside", "plane", "first", "last", "x", "y"):
            field = SAMPLES[name]
            setattr(self, name, (value >> field.offset) & ((1 << field.width) - 1))
        self.row_tap, self.column_tap = (
            [(value >> (SAMPLES[name].offset + 2 * n)) & 3 for n in range(3)] for name in ("row_tap", "column_tap")
        )


class Beats:
    """Collects what leaves the window, and counts ``issue``."""

    def __init__(self, dut):
        self.dut = dut
        self.items: list[int] = []
        self.issued = 0
        cocotb.start_soon(self._run())

    async def _run(self):
        while True:
            await RisingEdge(self.dut.clk)
            if int(self.dut.o_valid.value):
                self.items.append(int(self.dut.o_payload.value))
            self.issued += int(self.dut.issue.value)


async def drive_space(dut, pause):
    while True:
        dut.space.value = int(not next(pause))
        await bench.cycles(dut)


async def run_case(dut, case: Case, beats: Beats, source: bench.Source, seed: int) -> int:
    """One step; returns its cycles."""
    stimulus = Stimulus(case, np.random.default_rng(seed))
    beats.items, beats.issued = [], 0
    pad = stimulus.pad & 0xFF
    dut.step.value = case.step(pad | pad << 8)
    dut.start.value = 1
    await bench.cycles(dut)
    dut.start.value = 0
    sending = cocotb.start_soon(source.send(stimulus.vectors))
    count = 0
    while int(dut.busy.value):
        await bench.cycles(dut)
        count += 1
        assert count < 200_000, f"{case}: stuck after {len(beats.items)} beats"
    # The source sees only now that its last vector was taken.
    await bench.cycles(dut)
    assert sending.done(), f"{case}: idle before all input was taken"
    await bench.cycles(dut, 20)
    check(case, stimulus, beats)
    return count


def check(case: Case, stimulus: Stimulus, beats: Beats) -> None:
    samples, inside, dilation = stimulus.taps()
    items = iter(beats.items)
    issued = 0
    for y in range(case.output_size[0]):
        for x in range(case.output_size[1]):
            for plane in range(case.planes):
                where = f"{case}: y {y} x {x} plane {plane} d {dilation[y, x]}"
                taps = samples[y, x, :, 16 * plane : 16 * plane + 16]
                if case.op == DepthwiseOp.OFF:
                    for tap in range(9) if case.full else (4,):
                        beat = Beat(next(items))
                        assert (beat.first, beat.last, beat.plane) == (1, 1, plane), where
                        assert (beat.samples[0] == taps[tap]).all(), f"{where} tap {tap}"
                        issued += 1
                    continue
                issued += 1
                count = 1 if dilation[y, x] in CONFLICT_FREE else 9
                seen: list[int] = []
                for n in range(count):
                    beat = Beat(next(items))
                    assert (beat.first, beat.last) == (n == 0, n == count - 1), where
                    assert (beat.x, beat.y, beat.plane) == (x, y, plane), where
                    seen += check_banks(beat, taps, inside[y, x], where)
                    assert len(seen) == (n + 1 if count == 9 else 9), f"{where}: taps {seen}"
                assert sorted(seen) == list(range(9)), f"{where}: taps {seen}"
    assert next(items, None) is None, f"{case}: surplus beats"
    assert issued == beats.issued, f"{case}: {beats.issued} issued, {issued} vectors"


def check_banks(beat, taps: np.ndarray, inside: np.ndarray, where: str) -> list[int]:
    """Compare the banks that have a part in a beat; returns their taps."""
    seen = []
    for bank in range(9):
        i, j = beat.row_tap[bank // 3], beat.column_tap[bank % 3]
        if NO_TAP not in (i, j):
            tap = 3 * i + j
            assert (beat.samples[bank] == taps[tap]).all(), f"{where} tap {tap}"
            assert (beat.inside >> bank) & 1 == inside[tap], f"{where} tap {tap}: inside"
            seen.append(tap)
    return seen


async def begin(dut, seed: int, input_pause: float, space_pause: float) -> tuple[Beats, bench.Source]:
    rng = random.Random(seed)
    await bench.reset(dut, start=0, space=1, step=0)
    cocotb.start_soon(drive_space(dut, bench.pauses(rng, space_pause)))
    return Beats(dut), bench.Source(dut, "i", bench.pauses(rng, input_pause))


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3])
async def check_corners(dut, stalls):
    beats, source = await begin(dut, 1, stalls, stalls)
    for seed, case in enumerate(CORNERS):
        assert case.fits, case
        await run_case(dut, case, beats, source, seed)


@cocotb.test()
async def check_random(dut):
    rng = random.Random(2)
    beats, source = await begin(dut, 3, 0.2, 0.2)
    for seed in range(25):
        await run_case(dut, random_case(rng), beats, source, 100 + seed)


@cocotb.test()
async def check_rate(dut):
    """With rows in time and room for vectors, nearly a beat a cycle: what is lost is the start and a few cycles a
    row.
    """
    beats, source = await begin(dut, 4, 0.0, 0.0)
    case = Case(18, 12, 4, DepthwiseOp.MAC, spare=3)
    count = await run_case(dut, case, beats, source, 7)
    loading, rows = case.height * case.width * case.planes, case.height
    # The last output row, and the first two input rows, do not overlap.
    assert count < loading + 12 * 4 + 10 * rows + 60, count


@cocotb.test()
async def check_reset_within_a_step(dut):
    """However far a step has come, a reset makes the next one right: in mid-row of input, in mid-row of output, in the
    pauses.
    """
    rng = random.Random(5)
    beats, source = await begin(dut, 6, 0.0, 0.1)
    case = Case(20, 9, 2, dilated=1)
    for seed in range(12):
        stimulus = Stimulus(case, np.random.default_rng(seed))
        dut.step.value = case.step(0)
        dut.start.value = 1
        await bench.cycles(dut)
        dut.start.value = 0
        sending = cocotb.start_soon(source.send(stimulus.vectors))
        await bench.cycles(dut, rng.randint(1, 900))
        assert int(dut.busy.value) and not sending.done()
        sending.cancel()
        dut.i_valid.value = 0
        dut.rst.value = 1
        await bench.cycles(dut)
        dut.rst.value = 0
        await bench.cycles(dut, rng.choice((1, 2, 30)))
        assert not int(dut.busy.value) and not int(dut.i_ready.value)
        await run_case(dut, rng.choice((case, random_case(rng))), beats, source, 50 + seed)
