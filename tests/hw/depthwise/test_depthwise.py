# SPDX-License-Identifier: Apache-2.0
"""Depthwise unit against ``codenet.golden``: filter, maximum and bypass."""

import random
from dataclasses import dataclass, replace

import cocotb
import numpy as np
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from codenet.config import LANES, AcceleratorConfig
from codenet.golden import operators as golden
from codenet.isa import DEPTHWISE_BEATS, DepthwiseOp
from hw.depthwise import Depthwise
from hw.interfaces import PARAMETER, SAMPLES, STEP, TAP_LEAD, VECTOR, ParameterBus, ParameterSection, StepControl
from hw.lib import connect_bundle, delay, taken
from sim import testbench as bench
from sim.testbench.stimulus import send_beats

CONFIG = replace(AcceleratorConfig.small(), depthwise_depth=8)
NO_TAP = 3


def test_depthwise():
    bench.run(LedDepthwise(), __file__)


class LedDepthwise(wiring.Component):
    """The unit with beats all of which comes at once; their plane and taps reach it :data:`TAP_LEAD` cycles before the
    samples.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                **taken(StepControl(half=True)),
                "parameters": In(ParameterBus()),
                "i_valid": In(1),
                "i_payload": In(SAMPLES),
                "o_valid": Out(1),
                "o_payload": Out(VECTOR),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.depthwise = depthwise = Depthwise(CONFIG)
        connect_bundle(m, StepControl(half=True), self, depthwise)
        m.d.comb += [depthwise.i_taps[name].eq(self.i_payload[name]) for name in ("plane", "row_tap", "column_tap")]
        m.d.comb += [
            depthwise.i.valid.eq(delay(m, self.i_valid, TAP_LEAD, "valid", reset=True)),
            depthwise.i.payload.eq(delay(m, self.i_payload, TAP_LEAD, "beat")),
            self.o_valid.eq(depthwise.o.valid),
            self.o_payload.eq(depthwise.o.payload),
        ]
        wiring.connect(m, depthwise.parameters, wiring.flipped(self.parameters))
        return m


@dataclass(frozen=True)
class Parameters:
    """Entries of all planes: weights ``[P, 16, 3, 3]``, ``m`` and ``b`` ``[P, 16]``, and the step's ``s``, ``lo``,
    ``hi``.
    """

    weights: np.ndarray
    m: np.ndarray
    b: np.ndarray
    s: int
    lo: int
    hi: int

    @classmethod
    def random(cls, rng: np.random.Generator, corner: bool) -> "Parameters":
        shape = (CONFIG.depthwise_depth, LANES)
        weights = rng.integers(-7, 8, (*shape, 3, 3), dtype=np.int8)
        m, b = rng.integers(-(2**15), 2**15, shape), rng.integers(-(2**24), 2**24, shape)
        lo, hi = sorted(int(v) for v in rng.integers(-128, 128, 2))
        if corner:
            # Sums of +-9216: the accumulator must not wrap; and no clamp hides it.
            weights[:] = np.where(np.arange(LANES)[:, None, None] % 2, -8, 7)
            m, b, lo, hi = np.full(shape, 2**14), np.zeros(shape, int), -128, 127
        return cls(weights, m, b, 21, lo, hi)

    def beats(self, half: int) -> list[int]:
        beats = []
        for plane in range(CONFIG.depthwise_depth):
            words = []
            for tap in range(9):
                w = self.weights[plane, :, tap // 3, tap % 3].astype(int)
                words.append(sum((int(v) & 15) << (4 * lane) for lane, v in enumerate(w)))
            for lane in range(LANES):
                words.append((int(self.m[plane, lane]) & 0xFFFF) | (int(self.b[plane, lane]) & (2**48 - 1)) << 16)
            assert len(words) == DEPTHWISE_BEATS
            for beat, data in enumerate(words):
                fields = {"half": half, "index": plane, "beat": beat, "data": data}
                beats.append(bench.pack(PARAMETER, section=ParameterSection.DEPTHWISE, **fields))
        return beats

    def expected(self, op: DepthwiseOp, windows: np.ndarray, planes: list[int]) -> np.ndarray:
        """Vectors int8 ``[N, 16]`` of windows ``[N, 3, 3, 16]``."""
        if op == DepthwiseOp.OFF:
            return windows[:, 1, 1]
        if op == DepthwiseOp.MAX:
            return np.stack([golden.maximum(window)[1, 1] for window in windows])
        vectors = []
        for window, plane in zip(windows, planes, strict=True):
            acc = golden.depthwise(window, self.weights[plane])[1, 1]
            vectors.append(golden.requantize(acc, self.m[plane], self.b[plane], self.s, self.lo, self.hi))
        return np.stack(vectors)


def samples(window: np.ndarray, plane: int, op: DepthwiseOp, residue: int, rng: random.Random) -> list[int]:
    """Beats of one window ``[3, 3, 16]`` as the window unit sends them, for a dilation of the given residue modulo
    3.
    """
    phases = rng.randrange(3), rng.randrange(3)
    common = {"plane": plane, "inside": rng.randrange(512), "x": rng.randrange(4096), "y": rng.randrange(4096)}

    def beat(taps: list[list[int]], first: bool, last: bool) -> int:
        """``taps``: by axis, the tap of each of three banks. Banks without a part hold junk."""
        vectors = []
        for bank in range(9):
            i, j = taps[0][bank // 3], taps[1][bank % 3]
            part = NO_TAP not in (i, j)
            vectors.append(window[i, j].tolist() if part else [rng.randint(-128, 127) for _ in range(LANES)])
        if op == DepthwiseOp.OFF:
            vectors[0] = window[1, 1].tolist()
        return bench.pack(
            SAMPLES, samples=vectors, row_tap=taps[0], column_tap=taps[1], first=int(first), last=int(last), **common
        )

    def alone(phase: int, tap: int) -> list[int]:
        return [tap if bank == (phase + (tap - 1) * residue) % 3 else NO_TAP for bank in range(3)]

    if op == DepthwiseOp.OFF:
        return [beat([alone(phases[0], 1), alone(phases[1], 1)], True, True)]
    if residue:
        taps = [
            [next(t for t in range(3) if (phase + (t - 1) * residue) % 3 == bank) for bank in range(3)]
            for phase in phases
        ]
        return [beat(taps, True, True)]
    return [beat([alone(phases[0], n // 3), alone(phases[1], n % 3)], n == 0, n == 8) for n in range(9)]


class Vectors:
    """Collects vectors, with the cycle of each."""

    def __init__(self, dut):
        self.items: list[int] = []
        self.times: list[int] = []
        self.cycle = 0
        cocotb.start_soon(self._run(dut))

    async def _run(self, dut):
        while True:
            await RisingEdge(dut.clk)
            if int(dut.o_valid.value):
                self.items.append(int(dut.o_payload.value))
                self.times.append(self.cycle)
            self.cycle += 1


async def run_step(
    dut, vectors: Vectors, op: DepthwiseOp, parameters: Parameters, half: int, count: int, seed: int, pause: float
) -> None:
    rng, arrays = random.Random(seed), np.random.default_rng(seed)
    windows = arrays.integers(-128, 128, (count, 3, 3, LANES), dtype=np.int8)
    windows[: count // 4] = arrays.choice(np.array([-128, 127], np.int8), (count // 4, 1, 1, 1))
    planes = [rng.randrange(CONFIG.depthwise_depth) for _ in range(count)]
    dut.step.value = bench.pack(
        STEP,
        depthwise_op=int(op),
        depthwise_s=parameters.s,
        depthwise_lo=parameters.lo,
        depthwise_hi=parameters.hi,
    )
    dut.half.value, dut.start.value = half, 1
    await bench.cycles(dut)
    dut.start.value = 0
    vectors.items, vectors.times = [], []
    last_beats = []
    pausing = bench.pauses(rng, pause)
    for window, plane in zip(windows, planes, strict=True):
        for beat in samples(window, plane, op, rng.choice((0, 1, 2)), rng):
            while next(pausing):
                dut.i_valid.value = 0
                await bench.cycles(dut)
            dut.i_valid.value, dut.i_payload.value = 1, beat
            cycle = vectors.cycle
            await bench.cycles(dut)
        last_beats.append(cycle)
    dut.i_valid.value = 0
    latency = Depthwise(CONFIG).latency + TAP_LEAD
    await bench.cycles(dut, latency + 20)
    if op == DepthwiseOp.PEAKS:
        assert not vectors.items, "vectors in a peak step"
        return
    expected = [bench.to_int(v) for v in parameters.expected(op, windows, planes)]
    assert len(vectors.items) == len(expected), f"{op.name}: {len(vectors.items)} vectors of {len(expected)}"
    for n, (item, value) in enumerate(zip(vectors.items, expected, strict=True)):
        assert item == value, f"{op.name}: vector {n} plane {planes[n]}: {item:#x}, expected {value:#x}"
    assert [t - latency for t in vectors.times] == last_beats, f"{op.name}: latency is not {latency}"


@cocotb.test()
@cocotb.parametrize(pause=[0.0, 0.4])
async def check_steps(dut, pause):
    """All operations, both halves, each step's parameters written before the step ahead of it ends."""
    names = ("step", "half", "start", "i_valid", "i_payload", "parameters_valid", "parameters_payload")
    await bench.reset(dut, **{name: 0 for name in names})
    vectors = Vectors(dut)
    rng = np.random.default_rng(5)
    order = (DepthwiseOp.MAC, DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.OFF, DepthwiseOp.PEAKS, DepthwiseOp.MAC)
    steps = [(op, Parameters.random(rng, corner=n == 1)) for n, op in enumerate(order)]
    await send_beats(dut, steps[0][1].beats(0))
    await bench.cycles(dut, 4)
    for n, (op, parameters) in enumerate(steps):
        following = steps[(n + 1) % len(steps)][1].beats((n + 1) % 2)
        loading = cocotb.start_soon(send_beats(dut, following))
        await run_step(dut, vectors, op, parameters, n % 2, 40, n, pause)
        await loading
        await bench.cycles(dut, 4)
