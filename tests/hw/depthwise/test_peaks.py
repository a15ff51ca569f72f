# SPDX-License-Identifier: Apache-2.0
"""Peaks against ``codenet.golden.peaks``: records, order, capacity, count and the end marker."""

import random
from dataclasses import dataclass

import cocotb
import numpy as np
from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from codenet.config import AcceleratorConfig
from codenet.golden import operators as golden
from codenet.isa import DepthwiseOp
from hw.depthwise.peaks import LANES, Peaks
from hw.interfaces import SAMPLES, STEP, STORE_ITEM, TAP_LEAD, StepControl
from hw.lib import connect_bundle, delay, taken
from sim import testbench as bench
from sim.testbench.stimulus import issue

CONFIG = AcceleratorConfig.small()

LATENCY = 12
"""From an issued beat to its arrival; any will do."""


def test_peaks():
    bench.run(LedPeaks(), __file__)


class LedPeaks(wiring.Component):
    """The unit with its samples :data:`TAP_LEAD` cycles late, as the taps of a beat come before them."""

    def __init__(self) -> None:
        super().__init__(
            {
                **taken(StepControl()),
                "issue": In(1),
                "space": Out(1),
                "i_valid": In(1),
                "i_payload": In(SAMPLES),
                "o": Out(stream.Signature(STORE_ITEM)),
                "count": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.peaks = peaks = Peaks(CONFIG)
        connect_bundle(m, StepControl(), self, peaks)
        wiring.connect(m, peaks.o, wiring.flipped(self.o))
        m.d.comb += [
            peaks.issue.eq(self.issue),
            self.space.eq(peaks.space),
            self.count.eq(peaks.count),
            *(peaks.i_taps[name].eq(self.i_payload[name]) for name in ("row_tap", "column_tap")),
            peaks.i.valid.eq(delay(m, self.i_valid, TAP_LEAD, "valid", reset=True)),
            peaks.i.payload.eq(delay(m, self.i_payload, TAP_LEAD, "beat")),
        ]
        return m


@dataclass(frozen=True)
class Case:
    """``levels``: how many different values there are (few: many ties, many peaks)."""

    height: int
    width: int
    planes: int = 1
    levels: int = 1000
    threshold: int = -32768
    capacity: int = 1000


CASES = [
    Case(1, 1),
    Case(1, 1, threshold=32767),
    Case(1, 1, capacity=0),
    Case(1, 7, 2),
    Case(7, 1, 2),
    Case(5, 6, 3),
    Case(6, 5, 2, levels=1),  # all equal: every value is a peak
    Case(6, 5, 2, levels=1, capacity=17),
    Case(6, 5, 2, levels=2),
    Case(9, 9, 1, threshold=20000),
    Case(4, 4, 1, threshold=32767),  # none
    Case(8, 8, 2, levels=3, capacity=5),
    Case(12, 12, 2, levels=5, threshold=0),
]


def heatmap_of(case: Case, rng: np.random.Generator) -> np.ndarray:
    shape = (case.height, case.width, LANES * case.planes)
    if case.levels >= 1000:
        x = rng.integers(-32768, 32767, shape)
    else:
        x = rng.choice(np.array([-32768, 0, 1, -1, 32767])[: case.levels], shape)
    return x.astype(np.int16)


def beats_of(heatmap: np.ndarray, rng: random.Random) -> list[int]:
    """What the window sends: dilation 1, banks by row and column modulo 3, junk outside the image."""
    height, width, channels = heatmap.shape
    beats = []
    for y in range(height):
        for x in range(width):
            row_tap = [next(t for t in range(3) if (y + t - 1) % 3 == bank) for bank in range(3)]
            column_tap = [next(t for t in range(3) if (x + t - 1) % 3 == bank) for bank in range(3)]
            for plane in range(channels // LANES):
                vectors, inside = 0, 0
                for bank in range(9):
                    r, c = y + row_tap[bank // 3] - 1, x + column_tap[bank % 3] - 1
                    if 0 <= r < height and 0 <= c < width:
                        inside |= 1 << bank
                        vector = bench.to_int(heatmap[r, c, LANES * plane : LANES * (plane + 1)])
                    else:
                        vector = rng.getrandbits(128)
                    vectors |= vector << (128 * bank)
                fields = bench.pack(
                    SAMPLES,
                    row_tap=row_tap,
                    column_tap=column_tap,
                    inside=inside,
                    plane=plane,
                    first=1,
                    last=1,
                    x=x,
                    y=y,
                )
                beats.append(fields | vectors)
    return beats


async def check_case(dut, sink: bench.Sink, case: Case, stall: float, seed: int) -> None:
    rng = random.Random(seed)
    heatmap = heatmap_of(case, np.random.default_rng(seed))
    dut.step.value = bench.pack(
        STEP,
        depthwise_op=int(DepthwiseOp.PEAKS),
        input_planes=case.planes,
        output_height=case.height,
        output_width=case.width,
        peak_capacity=case.capacity,
        peak_threshold=case.threshold,
    )
    dut.start.value = 1
    await bench.cycles(dut)
    dut.start.value = 0
    sink.items.clear()
    await issue(dut, beats_of(heatmap, rng), LATENCY, bench.pauses(rng, stall))
    records = golden.peaks(heatmap, case.threshold)
    stored = records[: case.capacity]
    items = await sink.expect(len(stored) + 1)
    for n, (item, record) in enumerate(zip(items, stored.view("<u8"), strict=False)):
        beat = data.Const(STORE_ITEM, item)
        assert (beat.data, beat.end) == (int(record), 0), f"{case}: record {n}: {beat.data:#x}, {stored[n]}"
    assert data.Const(STORE_ITEM, items[-1]).end == 1, f"{case}: no end"
    assert int(dut.count.value) == min(len(records), 65535), f"{case}: count {int(dut.count.value)} of {len(records)}"


@cocotb.test()
@cocotb.parametrize(stalls=[(0.0, 0.0), (0.3, 0.3), (0.0, 0.7)])
async def check_cases(dut, stalls):
    await bench.reset(dut, step=0, start=0, issue=0, i_valid=0, i_payload=0)
    sink = bench.Sink(dut, "o", bench.pauses(random.Random(1), stalls[1]))
    for seed, case in enumerate(CASES):
        await check_case(dut, sink, case, stalls[0], seed)


@cocotb.test()
async def check_most_peaks(dut):
    """More than 65,535: the count stays there."""
    await bench.reset(dut, step=0, start=0, issue=0, i_valid=0, i_payload=0)
    await check_case(dut, bench.Sink(dut, "o"), Case(30, 31, 9, levels=1, capacity=3), 0.0, 1)


@cocotb.test()
async def check_other_steps(dut):
    """Samples of other steps leave no trace."""
    await bench.reset(dut, step=0, start=0, issue=0, i_valid=0, i_payload=0)
    sink = bench.Sink(dut, "o")
    rng = random.Random(2)
    dut.step.value = bench.pack(
        STEP, depthwise_op=int(DepthwiseOp.MAC), input_planes=1, output_height=4, output_width=4, peak_capacity=9
    )
    for beat in beats_of(np.zeros((4, 4, LANES), np.int16), rng):
        dut.issue.value, dut.i_valid.value, dut.i_payload.value = 1, 1, beat
        await RisingEdge(dut.clk)
        await bench.cycles(dut)
    dut.issue.value, dut.i_valid.value = 0, 0
    await sink.expect(0)
    assert int(dut.space.value) and not int(dut.count.value)
