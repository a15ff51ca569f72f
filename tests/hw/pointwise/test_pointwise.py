# SPDX-License-Identifier: Apache-2.0
"""Vector buffer and pointwise unit against ``codenet.golden``: order, arithmetic, and no surplus or missing beat."""

import random
from dataclasses import dataclass, field

import cocotb
import numpy as np
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from codenet.config import AcceleratorConfig
from codenet.golden import operators as golden
from codenet.isa import DepthwiseOp
from hw.interfaces import PARAMETER, STEP, STORE_ITEM, VECTOR, ParameterBus, ParameterSection, StepControl, VectorReader
from hw.lib import connect_bundle, taken
from hw.pointwise import Pointwise, RowBuffer, VectorBuffer
from sim import testbench as bench
from sim.testbench.stimulus import issue, send_beats

CONFIG = AcceleratorConfig(
    outputs=16,
    window_depth=64,
    weight_depth=128,
    vector_depth=32,
    store_depth=64,
    plane_depth=8,
    depthwise_depth=8,
    chunk_depth=16,
    dilation_depth=64,
    expand_depth=32,
    profile_depth=16,
)


class BufferedPointwise(wiring.Component):
    """What stands behind the depthwise unit and, for expansions, behind the loader."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl(half=True)),
                "parameters": In(ParameterBus()),
                "issue": In(1),
                "space": Out(1),
                "i_valid": In(1),
                "i_payload": In(VECTOR),
                "e": In(stream.Signature(VECTOR)),
                "o": Out(stream.Signature(STORE_ITEM)),
                "expanded": Out(stream.Signature(VECTOR)),
                "active": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.buffer = buffer = VectorBuffer(self.config)
        m.submodules.pointwise = pointwise = Pointwise(self.config)
        m.submodules.rows = rows = RowBuffer(self.config)
        for unit in (buffer, rows):
            connect_bundle(m, StepControl(), self, unit)
        connect_bundle(m, StepControl(half=True), self, pointwise)
        connect_bundle(m, VectorReader(), buffer, pointwise.vectors)
        connect_bundle(m, VectorReader(), rows, pointwise.rows)
        m.d.comb += [
            buffer.issue.eq(self.issue),
            self.space.eq(buffer.space),
            buffer.i.valid.eq(self.i_valid),
            buffer.i.payload.eq(self.i_payload),
        ]
        wiring.connect(m, wiring.flipped(self.e), rows.i)
        wiring.connect(m, wiring.flipped(self.expanded), pointwise.expanded)
        wiring.connect(m, pointwise.parameters, wiring.flipped(self.parameters))
        wiring.connect(m, wiring.flipped(self.o), pointwise.o)
        for name in ("active", "starved", "blocked", "finished"):
            m.d.comb += getattr(self, name).eq(getattr(pointwise, name))
        return m


def test_pointwise():
    bench.run(BufferedPointwise(CONFIG), __file__)


@dataclass(frozen=True)
class Case:
    """One step. ``corner``: activations and weights at their limits. ``expand``: planes that an expansion reads, 0:
    none.
    """

    pixels: int
    vectors: int
    chunks: int = 0  # 0: no pointwise
    wide_weights: int = 0
    wide_output: int = 0
    corner: bool = False
    expand: int = 0
    expand_rows: int = 3
    expand_width: int = 2
    expand_chunks: int = 2
    latency: int = field(default=20)

    @property
    def groups(self) -> int:
        return -(-8 * self.chunks // CONFIG.outputs)

    @property
    def expand_groups(self) -> int:
        return -(-8 * self.expand_chunks // CONFIG.outputs) if self.expand else 0

    @property
    def expand_words(self) -> int:
        return self.expand_groups * self.expand

    @property
    def fits(self) -> bool:
        words = self.expand_words + self.groups * self.vectors * (1 + self.wide_weights)
        return (
            self.expand * self.expand_width <= CONFIG.expand_depth
            and words <= CONFIG.weight_depth // 2
            and self.vectors <= CONFIG.vector_depth // 2
            and self.chunks + (self.expand_chunks if self.expand else 0) <= CONFIG.chunk_depth
        )


CORNERS = [
    Case(1, 1),
    Case(5, 3),
    Case(40, 1),
    Case(1, 1, 1),
    Case(20, 1, 1),
    Case(20, 1, 2),
    Case(20, 1, 2, wide_output=1),  # a group every four cycles
    Case(12, 2, 3),
    Case(12, 2, 3, wide_output=1),
    Case(10, 16, 4),
    Case(6, 1, 16, wide_output=1),
    Case(10, 5, 5, wide_weights=1),
    Case(10, 5, 5, wide_weights=1, wide_output=1),
    Case(4, 16, 4, wide_weights=1, corner=True),
    Case(4, 16, 4, corner=True),
    Case(4, 1, 1, wide_weights=1, wide_output=1),
    Case(6, 2, 2, expand=2),
    Case(20, 1, 1, expand=1, expand_rows=10),
    Case(20, 1, 2, wide_output=1, expand=1, expand_rows=10, expand_chunks=2),
    Case(12, 3, 4, expand=4, expand_width=8, expand_chunks=6),  # a piece fills the buffer; the last groups are short
    Case(30, 5, 3, wide_output=1, expand=3, expand_rows=6, expand_chunks=10),
    Case(25, 3, expand=2, expand_rows=7, expand_chunks=6),  # without pointwise
    Case(4, 2, 2, expand=1, expand_rows=30, expand_width=3),  # the expansion lasts longer
    Case(60, 2, 2, expand=2, expand_rows=1, expand_width=1),  # the other one does
    Case(8, 4, 4, expand=4, corner=True),
]


def random_case(rng: random.Random) -> Case:
    while True:
        expand = rng.choice((0, rng.randint(1, 4)))
        case = Case(
            rng.randint(1, 20),
            rng.randint(1, 16),
            rng.choice((0, rng.randint(1, 16))),
            rng.randint(0, 1) if not expand else 0,
            rng.randint(0, 1),
            expand=expand,
            expand_rows=rng.randint(1, 8),
            expand_width=rng.randint(1, 8),
            expand_chunks=2 * rng.randint(1, 5),
            corner=rng.random() < 0.2,
            latency=rng.choice((3, 20, 40)),
        )
        if case.fits:
            return case


class Stimulus:
    """Random operands of a case: parameter beats, vectors, and the beats that must come out."""

    def __init__(self, case: Case, rng: np.random.Generator):
        self.case = case
        largest = 127 if case.wide_weights else 7
        outputs = CONFIG.outputs * max(case.groups, 1)
        self.x = rng.integers(-128, 128, (1, case.pixels, 16 * case.vectors), dtype=np.int8)
        self.w = rng.integers(-largest, largest + 1, (outputs, 16 * case.vectors), dtype=np.int8)
        if case.corner:
            self.x[:] = -128
            self.w[:] = np.where(np.arange(outputs)[:, None] % 2, largest, -largest)
        self.m = rng.integers(-(2**15), 2**15, outputs)
        self.b = rng.integers(-(2**36), 2**36, outputs)
        self.s = int(rng.integers(18, 30))
        bound = 2**15 if case.wide_output else 2**7
        self.lo, self.hi = sorted(int(v) for v in rng.integers(-bound, bound, 2))
        if case.corner:
            self.lo, self.hi = -bound, bound - 1
        self._draw_expansion(rng)

    def _draw_expansion(self, rng: np.random.Generator) -> None:
        case = self.case
        outputs = CONFIG.outputs * case.expand_groups
        self.e_x = rng.integers(-128, 128, (case.expand_rows, case.expand_width, 16 * case.expand), dtype=np.int8)
        self.e_w = rng.integers(-7, 8, (outputs, 16 * case.expand), dtype=np.int8)
        self.e_m = rng.integers(-(2**15), 2**15, outputs)
        self.e_b = rng.integers(-(2**36), 2**36, outputs)
        self.e_s = int(rng.integers(18, 30))
        self.e_lo, self.e_hi = sorted(int(v) for v in rng.integers(-128, 128, 2))
        if case.corner:
            self.e_x[:], self.e_w[:] = -128, -7
            self.e_lo, self.e_hi = -128, 127

    def step(self) -> int:
        case = self.case
        return bench.pack(
            STEP,
            depthwise_op=int(DepthwiseOp.MAC),
            pointwise=int(case.chunks > 0),
            wide_weights=case.wide_weights,
            wide_output=case.wide_output,
            vectors=case.vectors,
            groups=case.groups,
            chunks=case.chunks,
            output_pixels=case.pixels,
            pointwise_s=self.s,
            pointwise_lo=self.lo,
            pointwise_hi=self.hi,
            expand=int(case.expand > 0),
            expand_planes=case.expand,
            expand_groups=case.expand_groups,
            expand_chunks=case.expand_chunks if case.expand else 0,
            expand_words=case.expand_words,
            expand_s=self.e_s,
            expand_columns=case.expand_width,
            expand_lo=self.e_lo,
            expand_hi=self.e_hi,
        )

    def parameters(self, half: int) -> list[int]:
        case = self.case
        beats = []

        def beat(section: ParameterSection, index: int, beat: int, data: int) -> None:
            beats.append(bench.pack(PARAMETER, section=section, half=half, index=index, beat=beat, data=data))

        def chunks(first: int, count: int, m: np.ndarray, b: np.ndarray) -> None:
            for channel in range(8 * count):
                entry = (int(m[channel]) & 0xFFFF) | (int(b[channel]) & (2**48 - 1)) << 16
                beat(ParameterSection.CHUNKS, first + channel // 8, channel % 8, entry)

        def words(index: int, groups: int, weights: np.ndarray, nibbles: tuple[str, ...]) -> None:
            for group in range(groups):
                for vector in range(weights.shape[1] // 16):
                    for nibble in nibbles:
                        outputs = slice(group * CONFIG.outputs, (group + 1) * CONFIG.outputs)
                        w = weights[outputs, 16 * vector : 16 * vector + 16].astype(int)
                        # By lane, then output, sixteen a beat.
                        w = (w >> 4 if nibble == "high" else w).T.reshape(-1, 16)
                        for number, row in enumerate(w):
                            word = sum((int(v) & 15) << (4 * n) for n, v in enumerate(row))
                            beat(ParameterSection.WEIGHTS, index, number, word)
                        index += 1

        if case.expand:
            chunks(0, case.expand_chunks, self.e_m, self.e_b)
            words(0, case.expand_groups, self.e_w, ("only",))
        if case.chunks:
            chunks(case.expand_chunks if case.expand else 0, case.chunks, self.m, self.b)
            words(case.expand_words, case.groups, self.w, ("high", "low") if case.wide_weights else ("only",))
        return beats

    def vectors(self) -> list[int]:
        return [bench.to_int(v) for v in self.x.reshape(-1, 16)]

    def stored(self) -> list[int]:
        """What the loader brings to be expanded, by row, plane, column."""
        planes = self.e_x.reshape(*self.e_x.shape[:2], -1, 16).transpose(0, 2, 1, 3)
        return [bench.to_int(v) for v in planes.reshape(-1, 16)]

    def expanded(self) -> list[int]:
        if not self.case.expand:
            return []
        used = 8 * self.case.expand_chunks
        acc = golden.pointwise(self.e_x, self.e_w[:used])
        y = golden.requantize(acc, self.e_m[:used], self.e_b[:used], self.e_s, self.e_lo, self.e_hi)
        return [bench.to_int(v) for v in y.reshape(-1, 16)]

    def expected(self) -> list[int]:
        case = self.case
        if not case.chunks:
            return [int(v) for v in np.ascontiguousarray(self.x).reshape(-1).view("<u8")]
        used = 8 * case.chunks
        acc = golden.pointwise(self.x, self.w[:used])
        dtype = np.int16 if case.wide_output else np.int8
        y = golden.requantize(acc, self.m[:used], self.b[:used], self.s, self.lo, self.hi, dtype)
        return [int(v) for v in np.ascontiguousarray(y).reshape(-1).view("<u8")]


class Sequence:
    """Steps back to back, each with its parameters loaded into the other half while the one before runs."""

    def __init__(self, dut, seed: int, input_pause: float, output_pause: float):
        self.dut = dut
        self.rng = random.Random(seed)
        self.arrays = np.random.default_rng(seed)
        self.input_pause = bench.pauses(self.rng, input_pause)
        self.sink = bench.Sink(dut, "o", bench.pauses(self.rng, output_pause))
        self.source = bench.Source(dut, "e", bench.pauses(self.rng, input_pause))
        self.expanded = bench.Sink(dut, "expanded", bench.pauses(self.rng, output_pause))
        self.counts = {name: 0 for name in ("active", "starved", "blocked", "finished")}
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            flags = {name: int(getattr(self.dut, name).value) for name in self.counts}
            assert flags["active"] + flags["starved"] + flags["blocked"] <= 1, flags
            for name, flag in flags.items():
                self.counts[name] += flag

    async def run(self, cases: list[Case]) -> None:
        dut = self.dut
        steps = [Stimulus(case, self.arrays) for case in cases]
        await send_beats(dut, steps[0].parameters(0))
        await bench.cycles(dut, 8)
        for n, stimulus in enumerate(steps):
            case = stimulus.case
            dut.step.value, dut.half.value, dut.start.value = stimulus.step(), n % 2, 1
            self.sink.items.clear()
            self.expanded.items.clear()
            await bench.cycles(dut)
            dut.start.value = 0
            cocotb.start_soon(issue(dut, stimulus.vectors(), case.latency, self.input_pause))
            if case.expand:
                cocotb.start_soon(self._send(stimulus.stored()))
            following = steps[n + 1].parameters((n + 1) % 2) if n + 1 < len(steps) else []
            loading = cocotb.start_soon(send_beats(dut, following))
            expected = stimulus.expected()
            items = await self.sink.expect(len(expected))
            for index, (item, value) in enumerate(zip(items, expected, strict=True)):
                assert item == value, f"{case}: beat {index}: {item:#x}, expected {value:#x}"
            assert int(dut.finished.value), case
            wanted = stimulus.expanded()
            vectors = await self.expanded.expect(len(wanted))
            for index, (item, value) in enumerate(zip(vectors, wanted, strict=True)):
                assert item == value, f"{case}: expanded vector {index}: {item:#x}, expected {value:#x}"
            await loading
            await bench.cycles(dut, 8)

    async def _send(self, vectors: list[int]) -> None:
        await bench.cycles(self.dut, 2)
        await self.source.send(vectors)


async def begin(dut, seed: int, input_pause: float, output_pause: float) -> Sequence:
    inputs = (
        "step",
        "half",
        "start",
        "issue",
        "i_valid",
        "i_payload",
        "parameters_valid",
        "parameters_payload",
        "e_payload",
    )
    await bench.reset(dut, **{name: 0 for name in inputs})
    return Sequence(dut, seed, input_pause, output_pause)


@cocotb.test()
@cocotb.parametrize(stalls=[(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.2)])
async def check_corners(dut, stalls):
    sequence = await begin(dut, 1, *stalls)
    await sequence.run(CORNERS)


@cocotb.test()
async def check_random(dut):
    rng = random.Random(2)
    sequence = await begin(dut, 2, 0.1, 0.1)
    await sequence.run([random_case(rng) for _ in range(30)])


@cocotb.test()
async def check_rate(dut):
    """Without stalls the array takes a vector a cycle once they come, and every operation is counted once."""
    sequence = await begin(dut, 3, 0.0, 0.0)
    case = Case(20, 8, 8)
    await sequence.run([case])
    operations = case.pixels * case.vectors * case.groups
    assert sequence.counts["active"] == operations
    # Waiting for the first vectors is all that is lost.
    assert sequence.counts["starved"] <= case.latency + 30
    assert sequence.counts["blocked"] == 0


@cocotb.test()
async def check_rate_of_both(dut):
    """Two convolutions share the array: each operation is one cycle, and hardly any is lost while either has work."""
    sequence = await begin(dut, 4, 0.0, 0.0)
    case = Case(48, 4, 8, expand=4, expand_rows=12, expand_width=4, expand_chunks=8)
    began = get_sim_time("ns")
    await sequence.run([case])
    cycles = (get_sim_time("ns") - began) / 10
    operations = case.pixels * (case.vectors * case.groups + case.expand_words)
    assert sequence.counts["active"] == operations
    # Parameters, the first row, a cycle a row, the way through the array, and the waits of the bench for surplus items.
    beats = len(Stimulus(case, np.random.default_rng(0)).parameters(0))
    assert cycles - beats <= operations + 4 * 4 + 12 + 60 + 210, (cycles, beats, operations)


@cocotb.test()
async def check_expansion_waits_for_room_without_holding_the_array(dut):
    """Nobody takes what the expansion makes: the step's own convolution still runs to its end, then the rest
    follows.
    """
    sequence = await begin(dut, 5, 0.0, 0.0)
    case = Case(40, 4, 4, expand=2, expand_rows=30, expand_width=8, expand_chunks=4)
    sequence.expanded.pause = iter([True] * 1500)
    await sequence.run([case])


@cocotb.test()
async def check_result_queue_is_never_overfull(dut):
    """Results of two groups are on their way when the queue's last places are seen: whatever is free, they fit."""
    sequence = await begin(dut, 6, 0.0, 0.0)
    case = Case(20, 6, 4, wide_output=True)
    for beats in range(1, 13):
        sequence.sink.pause = iter([True] * 600 + [False] * beats + [True] * 100)
        await sequence.run([case])
