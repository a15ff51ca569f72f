# SPDX-License-Identifier: Apache-2.0
"""Every kind of step through the whole accelerator, byte for byte against the functional model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from codenet.registers import BY_NAME, PROFILE_WORDS, ProfileCounter
from sim.timing import DramTiming
from sim.verilator.board import RtlDevice
from tests.rtl import run_step
from tests.steps import random_step

SMALL = AcceleratorConfig.small()
NERVOUS = DramTiming(
    latency=5, outstanding=3, bytes_per_cycle=12, refresh_interval=211, refresh_cycles=17, jitter=70, stall=0.3, seed=5
)
"""Memory that answers late, early and hardly ever at the same pace."""

MAC, MAX, PEAKS = DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.PEAKS

STEPS = {
    "pointwise": dict(height=7, width=9, planes=3, chunks=4),
    "pointwise, one pixel": dict(height=1, width=1, planes=1, chunks=2),
    "pointwise, one row": dict(height=1, width=37, planes=2, chunks=6),
    "pointwise, one column": dict(height=23, width=1, planes=2, chunks=2),
    "pointwise, many planes": dict(height=4, width=5, planes=15, chunks=8),
    "pointwise, stride 2": dict(height=9, width=11, planes=2, chunks=2, stride2=True),
    "pointwise, gaps between rows": dict(height=6, width=5, planes=2, chunks=4, pitch_extra=40),
    "pointwise, upsampled": dict(height=8, width=12, planes=2, chunks=4, upsample=True),
    "stem, stride 4": dict(height=16, width=16, planes=3, chunks=4, wide_weights=True, pitch_extra=16),
    "stem, stride 2": dict(height=16, width=17, planes=3, chunks=4, wide_weights=True, packed=True, pitch_extra=8),
    "wide weights": dict(height=5, width=6, planes=4, chunks=2, wide_weights=True),
    "wide output": dict(height=5, width=7, planes=3, chunks=3, wide_output=True),
    "wide weights and output": dict(height=5, width=7, planes=2, chunks=5, wide_weights=True, wide_output=True),
    "depthwise only": dict(height=7, width=8, planes=3, op=MAC),
    "depthwise, one pixel": dict(height=1, width=1, planes=2, op=MAC),
    "depthwise and pointwise": dict(height=10, width=9, planes=3, op=MAC, chunks=4),
    "depthwise and pointwise, stride 2": dict(height=11, width=13, planes=2, op=MAC, chunks=4, stride2=True),
    "depthwise and pointwise, upsampled": dict(height=12, width=10, planes=2, op=MAC, chunks=4, upsample=True),
    "depthwise, wide output": dict(height=6, width=9, planes=4, op=MAC, chunks=2, wide_output=True),
    "depthwise, few rows": dict(height=20, width=8, planes=2, op=MAC, chunks=2, window_rows=3),
    "deformable": dict(height=16, width=11, planes=2, op=MAC, dilated=True, chunks=4),
    "deformable, narrow window": dict(height=40, width=5, planes=1, op=MAC, dilated=True, chunks=2, window_rows=15),
    "deformable, without conflicts": dict(
        height=9, width=9, planes=2, op=MAC, dilated=True, chunks=2, dilations=(1, 2, 4, 5, 7)
    ),
    "deformable, only conflicts": dict(
        height=9, width=9, planes=2, op=MAC, dilated=True, chunks=2, dilations=(0, 3, 6)
    ),
    "deformable, upsampled": dict(height=10, width=8, planes=2, op=MAC, dilated=True, chunks=2, upsample=True),
    "deformable, upsampled, rows loaded twice": dict(
        height=40, width=6, op=MAC, dilated=True, chunks=2, upsample=True, repeat=True, window_rows=15
    ),
    "depthwise, upsampled, rows loaded twice": dict(
        height=10, width=6, planes=2, op=MAC, upsample=True, repeat=True, window_rows=3
    ),
    "full 3x3": dict(height=7, width=6, planes=2, full=True, chunks=4),
    "full 3x3, stride 2": dict(height=9, width=8, planes=1, full=True, chunks=2, stride2=True),
    "full 3x3, window only": dict(height=4, width=5, planes=2, full=True),
    "maximum": dict(height=8, width=9, planes=2, op=MAX),
    "maximum, stride 2": dict(height=17, width=16, planes=2, op=MAX, stride2=True),
    "maximum and pointwise": dict(height=6, width=7, planes=2, op=MAX, chunks=2, stride2=True),
    "copy": dict(height=5, width=6, planes=4),
    "copy, upsampled": dict(height=6, width=8, planes=2, upsample=True),
    "peaks": dict(height=11, width=9, planes=2, op=PEAKS, peak_threshold=9000, peak_capacity=300),
    "peaks, none": dict(height=6, width=5, planes=1, op=PEAKS, peak_threshold=32767),
    "peaks, too many": dict(height=12, width=12, planes=2, op=PEAKS, peak_threshold=-32768, peak_capacity=7),
    "peaks, all equal": dict(height=5, width=5, planes=1, op=PEAKS, peak_threshold=-32768, peak_capacity=300, fill=3),
    "peaks, one pixel": dict(height=1, width=1, planes=1, op=PEAKS, peak_threshold=-32768),
    "smallest inputs": dict(height=5, width=5, planes=2, op=MAC, chunks=2, fill=-128),
    "largest inputs": dict(height=5, width=5, planes=2, op=MAC, chunks=2, fill=127),
    "block of one pixel": dict(height=4, width=5, planes=2, chunks=4, block_log2=0),
    "part of a block": dict(height=3, width=7, planes=2, chunks=4, block_log2=4),
    "expanded": dict(height=10, width=9, planes=3, op=MAC, chunks=4, expand=2),
    "expanded, one pixel": dict(height=1, width=1, planes=1, op=MAC, chunks=2, expand=1),
    "expanded, one row": dict(height=1, width=21, planes=2, op=MAC, chunks=2, expand=3),
    "expanded, one column": dict(height=19, width=1, planes=2, op=MAC, chunks=2, expand=3),
    "expanded, stride 2": dict(height=11, width=8, planes=2, op=MAC, chunks=4, expand=2, stride2=True),
    "expanded, stride 2, odd": dict(height=9, width=13, planes=2, op=MAC, chunks=4, expand=1, stride2=True),
    "expanded, upsampled": dict(height=12, width=10, planes=2, op=MAC, chunks=4, expand=3, upsample=True),
    "expanded, upsampled, rows twice": dict(
        height=10, width=12, planes=2, op=MAC, chunks=2, expand=3, upsample=True, repeat=True, window_rows=3
    ),
    "expanded, few window rows": dict(height=20, width=8, planes=2, op=MAC, chunks=2, expand=2, window_rows=3),
    "expanded, few rows, upsampled": dict(
        height=20, width=8, planes=2, op=MAC, chunks=2, expand=2, upsample=True, window_rows=6
    ),
    "expanded, piece by piece": dict(height=6, width=12, planes=2, op=MAC, chunks=2, expand=3, expand_columns=4),
    "expanded, column by column": dict(
        height=7, width=10, planes=2, op=MAC, chunks=2, expand=2, expand_columns=1, stride2=True
    ),
    "expanded, piece by piece, rows twice": dict(
        height=6, width=12, planes=2, op=MAC, chunks=2, expand=5, expand_columns=2, upsample=True, repeat=True
    ),
    "expanded, many planes": dict(height=4, width=8, planes=1, op=MAC, chunks=2, expand=30, expand_columns=2),
    "expanded, rows of the whole buffer": dict(height=7, width=16, planes=1, op=MAC, chunks=2, expand=4),
    "expanded, rows of nearly the buffer": dict(height=7, width=9, planes=1, op=MAC, chunks=2, expand=7),
    "expanded, wide output": dict(height=6, width=9, planes=3, op=MAC, chunks=3, expand=2, wide_output=True),
    "expanded, filter only": dict(height=7, width=8, planes=3, op=MAC, expand=2),
    "expanded, maximum": dict(height=9, width=8, planes=2, op=MAX, stride2=True, chunks=2, expand=2),
    "expanded, no filter": dict(height=5, width=7, planes=4, chunks=4, expand=2, pitch_extra=24),
    "expanded, nothing else": dict(height=5, width=7, planes=3, expand=2),
    "expanded, many vectors": dict(height=4, width=4, planes=7, op=MAC, chunks=4, expand=6),
    "expanded, smallest inputs": dict(height=5, width=5, planes=2, op=MAC, chunks=2, expand=2, fill=-128),
}


@pytest.fixture
def device(request) -> Iterator[RtlDevice]:
    with RtlDevice(SMALL, request.param) as opened:
        yield opened


@pytest.mark.parametrize("device", [DramTiming(), NERVOUS], ids=["calm", "nervous"], indirect=True)
@pytest.mark.parametrize("kind", STEPS)
def test_step(device, kind):
    run_step(device, random_step(SMALL, seed=len(kind), **STEPS[kind]), SMALL)


@pytest.mark.parametrize("device", [DramTiming()], ids=["calm"], indirect=True)
def test_a_step_is_not_over_because_the_one_before_is(device):
    # The storer still shows the end of the last step when the next one is on its way to it.
    for seed in range(3):
        run_step(device, random_step(SMALL, 7, 9, 3, chunks=4, seed=seed), SMALL)
        assert device.board.steps == seed + 1


def read_profile(device):
    device.write(BY_NAME["PROFILE_INDEX"].offset, 0)
    return [device.read(BY_NAME["PROFILE_DATA"].offset) for _ in range(PROFILE_WORDS)]


@pytest.mark.parametrize("device", [DramTiming()], ids=["calm"], indirect=True)
def test_profile_agrees_with_the_model(device):
    counts = run_step(device, random_step(SMALL, 9, 10, 3, op=MAC, chunks=4), SMALL)
    words = read_profile(device)
    assert sum(words[: ProfileCounter.READ_BEATS]) == device.read(BY_NAME["FRAME_CYCLES"].offset)
    assert words[ProfileCounter.WRITE_BEATS] == counts.write_beats
    # The descriptor and the parameters count too.
    assert words[ProfileCounter.READ_BEATS] > counts.read_beats
    assert all(words[: ProfileCounter.WAIT_INPUT])


@pytest.mark.parametrize("device", [DramTiming(bytes_per_cycle=1)], ids=["slow"], indirect=True)
def test_profile_says_that_peaks_wait_for_room(device):
    """Every value is a peak, of 8 bytes, in a memory that takes one a cycle."""
    step = random_step(SMALL, 12, 12, 1, op=PEAKS, peak_threshold=-32768, peak_capacity=2000, fill=3)
    assert run_step(device, step, SMALL).peaks > 1000
    words = read_profile(device)
    assert sum(words[: ProfileCounter.READ_BEATS]) == device.read(BY_NAME["FRAME_CYCLES"].offset)
    assert words[ProfileCounter.ACTIVE] == 12 * 12
    assert words[ProfileCounter.WAIT_OUTPUT] > 4000
