# SPDX-License-Identifier: Apache-2.0
"""Steps for the window and its parts, with random tensors."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from codenet.config import CONFLICT_FREE, LANES, AcceleratorConfig
from codenet.golden import operators as golden
from codenet.isa import DepthwiseOp
from hw.interfaces import STEP
from sim import testbench as bench

CONFIG = AcceleratorConfig.small()


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
    Case(18, 18, 1, dilated=1, upsample=1, dilations=CONFLICT_FREE),
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


async def start(dut, case: Case) -> None:
    """Give a step and pulse ``start``."""
    dut.step.value = case.step(0)
    dut.start.value = 1
    await bench.cycles(dut)
    dut.start.value = 0
