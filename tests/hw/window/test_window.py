"""Window against ``codenet.golden.window``: every beat of every pixel."""

import random
from dataclasses import dataclass, replace

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from codenet.config import LANES, AcceleratorConfig
from codenet.golden import operators as golden
from codenet.isa import DepthwiseOp
from hw.interfaces import SAMPLES, STEP
from hw.window import Window
from sim import testbench as bench

CONFIG = AcceleratorConfig.small()
NO_TAP = 3


def test_window():
    bench.run(Window(CONFIG), __file__)


@dataclass(frozen=True)
class Case:
    """Shape and mode of one step; ``spare``: rows (a multiple of 3) beyond the least that the step needs."""

    height: int
    width: int
    planes: int = 1
    op: DepthwiseOp = DepthwiseOp.MAC
    full: int = 0
    stride: int = 1
    upsample: int = 0
    repeat: int = 0
    dilated: int = 0
    expand: int = 0
    spare: int = 0
    dilations: tuple[int, ...] = tuple(range(8))

    @property
    def reach(self) -> int:
        return 7 if self.dilated else 0 if self.op == DepthwiseOp.OFF and not self.full else 1

    @property
    def window_rows(self) -> int:
        least = min(2 * self.reach + 1 + (self.upsample & ~self.repeat), self.height)
        return -(-least // 3) * 3 + self.spare

    @property
    def fits(self) -> bool:
        words = self.window_rows // 3 * -(-self.width // 3) * self.planes
        ring = self.window_rows * self.width if self.dilated else 0
        even = not self.upsample or (self.height % 2 == 0 and self.width % 2 == 0)
        return words <= CONFIG.window_depth and ring <= CONFIG.dilation_depth and even

    @property
    def output_size(self) -> tuple[int, int]:
        return -(-self.height // self.stride), -(-self.width // self.stride)

    def step(self, pad: int) -> int:
        height, width = self.output_size
        return bench.pack(
            STEP,
            depthwise_op=int(self.op),
            full=self.full,
            upsample=self.upsample,
            repeat=self.repeat,
            dilated=self.dilated,
            expand=self.expand,
            stride2=self.stride - 1,
            reach=self.reach,
            window_rows=self.window_rows,
            input_planes=self.planes,
            input_height=self.height,
            input_width=self.width,
            output_height=height,
            output_width=width,
            output_pixels=height * width,
            window_row_stride=-(-self.width // 3) * self.planes,
            pad=pad & 0xFFFF,
        )


CORNERS = [
    Case(1, 1),
    Case(1, 1, 3, DepthwiseOp.OFF),
    Case(1, 1, 2, DepthwiseOp.OFF, full=1),
    Case(1, 1, dilated=1, dilations=(0,)),
    Case(1, 1, dilated=1, dilations=(7,)),
    Case(2, 2, 2, upsample=1),
    Case(2, 2, 2, stride=2),
    Case(1, 9, 2),
    Case(9, 1, 2),
    Case(12, 5),  # many times around the ring of three rows
    Case(12, 7, 2, stride=2),
    Case(13, 6, 1, DepthwiseOp.MAX, stride=2),
    Case(7, 5, 2, DepthwiseOp.OFF),
    Case(8, 5, 2, DepthwiseOp.OFF, stride=2),
    Case(12, 12, 1, DepthwiseOp.OFF, upsample=1),
    Case(5, 4, 2, DepthwiseOp.OFF, full=1),
    Case(6, 8, 1, DepthwiseOp.OFF, full=1, stride=2),
    Case(9, 10, 1, DepthwiseOp.PEAKS),
    Case(40, 6, dilated=1),  # around the ring of 15 rows, all dilations
    Case(34, 7, 2, dilated=1, spare=3),
    Case(33, 9, dilated=1, stride=2),
    Case(36, 10, 2, dilated=1, upsample=1),
    Case(18, 18, 1, dilated=1, upsample=1, dilations=(1, 2, 4, 5, 7)),
    Case(2, 2, 2, upsample=1, repeat=1),
    Case(12, 6, 2, upsample=1, repeat=1),
    Case(36, 10, 2, dilated=1, upsample=1, repeat=1),  # 15 rows: too few for pairs
    Case(34, 6, 2, dilated=1, upsample=1, repeat=1, stride=2),
    Case(20, 5, dilated=1, dilations=(7,)),
    Case(20, 5, dilated=1, dilations=(3, 6, 0)),
    Case(1, 1, 3, expand=1),
    Case(12, 7, 1, expand=1),
    Case(13, 8, 4, expand=1, stride=2),
    Case(1, 9, 2, expand=1),
    Case(9, 1, 2, expand=1),
    Case(12, 10, 3, expand=1, upsample=1),
    Case(2, 2, 2, expand=1, upsample=1),
    Case(10, 12, 2, expand=1, upsample=1, repeat=1),
    Case(7, 5, 2, DepthwiseOp.OFF, expand=1),
    Case(8, 11, 2, DepthwiseOp.MAX, expand=1, stride=2, spare=3),
]


def random_case(rng: random.Random) -> Case:
    while True:
        upsample = int(rng.random() < 0.3)
        op = rng.choice(list(DepthwiseOp))
        expand = int(op != DepthwiseOp.PEAKS and rng.random() < 0.3)
        case = Case(
            rng.randint(1, 24),
            rng.randint(1, 16),
            rng.randint(1, 5),
            op,
            full=int(op == DepthwiseOp.OFF and not expand and rng.random() < 0.5),
            stride=rng.choice((1, 2)),
            upsample=upsample,
            repeat=int(upsample and rng.random() < 0.5),
            dilated=int(op == DepthwiseOp.MAC and not expand and rng.random() < 0.7),
            expand=expand,
            spare=rng.choice((0, 0, 3, 6)),
        )
        if upsample:
            case = replace(case, height=2 * -(-case.height // 2), width=2 * -(-case.width // 2))
        if case.fits:
            return case


class Stimulus:
    """Random tensors of a case, the vectors that the window is given, and the taps that it must return."""

    def __init__(self, case: Case, rng: np.random.Generator):
        up = 1 + case.upsample
        stored = case.height // up, case.width // up
        self.case = case
        self.x = rng.integers(-128, 128, (*stored, 16 * case.planes), dtype=np.int8)
        self.d = rng.choice(case.dilations, stored).astype(np.int8)
        self.pad = int(rng.integers(-128, 128))
        planes = [self.x[..., 16 * p : 16 * p + 16] for p in range(case.planes)]
        if case.dilated:
            junk = rng.integers(-128, 128, (*stored, 16), dtype=np.int8)
            junk[..., 0] = self.d
            planes.append(junk)
        self.vectors = []
        for r in np.arange(stored[0]).repeat(1 + case.repeat):
            row = np.stack([plane[r] for plane in planes])
            # By plane, then column; by column, then plane, from an expansion.
            order = row.swapaxes(0, 1) if case.expand else row
            self.vectors += [bench.to_int(vector) for vector in order.reshape(-1, LANES)]

    def taps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples int8 ``[H', W', 9, C]``, inside ``[H', W', 9]``, dilation ``[H', W']``."""
        case = self.case
        x, d = self.x, self.d
        if case.upsample:
            x, d = golden.upsample(x), golden.upsample(d[..., None])[..., 0]
        d = d[:: case.stride, :: case.stride] if case.dilated else np.ones(case.output_size, np.int8)
        samples = golden.window(x, d, case.stride, self.pad)
        inside = golden.window(np.ones_like(x[..., :1]), d, case.stride, 0)[..., 0]
        return samples, inside, d


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
                count = 9 if dilation[y, x] % 3 == 0 else 1
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
    await bench.reset(dut, start=0, half=0, space=1, step=0)
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
    """With rows in time and room for vectors, nearly a beat a cycle: what is lost is the start and a few cycles a row."""
    beats, source = await begin(dut, 4, 0.0, 0.0)
    case = Case(18, 12, 4, DepthwiseOp.MAC, spare=3)
    count = await run_case(dut, case, beats, source, 7)
    loading, rows = case.height * case.width * case.planes, case.height
    # The last output row, and the first two input rows, do not overlap.
    assert count < loading + 12 * 4 + 10 * rows + 60, count
