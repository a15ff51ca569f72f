# SPDX-License-Identifier: Apache-2.0
"""What the functional model refuses: descriptors that contradict themselves, sizes, addresses, sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.golden import executor
from codenet.isa import DepthwiseOp, ErrorCause
from codenet.isa.rules import StepError, worst_case
from tests.steps import random_step

SMALL = AcceleratorConfig.small()
MAC, MAX, OFF, PEAKS = DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.OFF, DepthwiseOp.PEAKS


REFUSED = {
    "full with depthwise": (dict(op=MAC), dict(full=1), "full = 1: expected 0"),
    "dilated maximum": (dict(op=MAX), dict(dilated=1), "dilated = 1: expected 0"),
    "dilated with stride": (dict(op=MAC, dilated=True), dict(stride2=1), "stride2 = 1: expected 0"),
    "peaks with stride": (dict(op=PEAKS), dict(stride2=1), "stride2 = 1: expected 0"),
    "peaks with pointwise": (dict(op=PEAKS), dict(pointwise=1), "pointwise = 1: expected 0"),
    "chunks without pointwise": ({}, dict(chunks=2), "chunks = 2: expected 0"),
    "two zero points": (dict(op=MAC), dict(pad=0x0102), "pad = 0x0102: expected the same zero point in both bytes"),
    "no planes": ({}, dict(input_planes=0), "input_planes = 0: expected at least 1"),
    "no rows": ({}, dict(input_height=0), "input_height = 0: expected at least 1"),
    "height": ({}, dict(output_height=7), "output_height = 7: expected 5"),
    "width after stride": (dict(stride2=True), dict(output_width=4), "output_width = 4: expected 3"),
    "pixels": ({}, dict(output_pixels=3), "output_pixels = 3: expected 30"),
    "odd upsample": ({}, dict(upsample=1), "input of 5x6: expected even sizes"),
    "repeat alone": ({}, dict(repeat=1), "repeat = 1: expected 0 without upsample"),
    "row pitch": ({}, dict(row_pitch=100), "row_pitch = 100: expected a multiple of 8"),
    "reach": (dict(op=MAC), dict(reach=0), "reach = 0: expected 1"),
    "row stride": ({}, dict(window_row_stride=3), "window_row_stride = 3: expected 4"),
    "window rows not by 3": ({}, dict(window_rows=4), "window_rows = 4: expected a multiple of 3"),
    "window rows too few": (
        dict(op=MAC, dilated=True, height=20),
        dict(window_rows=12),
        "window_rows = 12: expected at least 15",
    ),
    "window rows of pairs": (dict(op=MAC, height=6, upsample=True), dict(window_rows=3), "= 3: expected at least 4"),
    "window rows too many": ({}, dict(window_rows=99), "window_rows = 99 of 4 .* window_depth = 128"),
    "dilation ring": (
        dict(op=MAC, dilated=True, width=90, planes=1),
        dict(window_rows=6),
        "540 pixels: expected at most",
    ),
    "vectors": (dict(chunks=2), dict(vectors=1), "vectors = 1: expected 2"),
    "shift": (dict(op=MAC), dict(depthwise_s=48), "depthwise_s = 48: expected 0 to 47"),
    "depthwise range": (dict(op=MAC), dict(depthwise_lo=126), "depthwise_lo = 126: expected -128 to 125"),
    "groups": (dict(chunks=2), dict(groups=1), "groups = 1: expected 2"),
    "pointwise range": (dict(chunks=2), dict(pointwise_hi=128), "pointwise_hi = 128: expected -100 to 127"),
    "pointwise low": (dict(chunks=2), dict(pointwise_lo=-129), "pointwise_lo = -129: expected -128 to 126"),
    "output planes": (dict(chunks=2), dict(output_planes=2), "chunks = 2: expected 4"),
    "output planes without pointwise": ({}, dict(output_planes=1), "output_planes = 1: expected 2"),
    "block": (dict(planes=9), dict(block_log2=3), "block_log2 = 3: expected 144 beats of 9 planes"),
    "window rows for the whole image": (dict(op=MAC), dict(window_rows=0), "window_rows = 0: expected at least 3"),
    "block too long": ({}, dict(block_log2=5), "block_log2 = 5: expected 0 to 4"),
    "peak address": (dict(op=PEAKS), dict(peak_address=4), "peak_address = 4: expected a multiple of 8"),
    "expansion without expand": ({}, dict(expand_planes=2), "expand_planes = 2: expected 0 .expand is 0"),
    "expanded full": (dict(expand=2, full=True), {}, "full = 1: expected 0 .expand"),
    "expanded packed": (dict(expand=2), dict(packed=1), "packed = 1: expected 0 .expand"),
    "expanded deformable": (dict(expand=2, op=MAC, dilated=True), {}, "dilated = 1: expected 0 .expand"),
    "expanded 8-bit weights": (dict(expand=2, chunks=2, wide_weights=True), {}, "wide_weights = 1: expected 0 .expand"),
    "expanded peaks": (dict(expand=2, op=PEAKS), {}, "expand = 1: expected 0 .peaks"),
    "expanded planes": (dict(expand=2), dict(expand_planes=0), "expand_planes = 0: expected 1 to 32"),
    "expanded chunks": (dict(expand=2), dict(expand_chunks=2), "expand_chunks = 2: expected 4"),
    "expanded groups": (dict(expand=2), dict(expand_groups=3), "expand_groups = 3: expected 4"),
    "expanded words": (dict(expand=2), dict(expand_words=9), "expand_words = 9: expected 8"),
    "expanded piece": (
        dict(expand=11, expand_columns=6),
        {},
        "66 vectors to expand at a time: expected at most expand_depth = 64",
    ),
    "expanded columns": (dict(expand=2), dict(expand_columns=4), "expand_columns = 4: expected a divisor of the .* 6"),
    "no expanded columns": (dict(expand=2), dict(expand_columns=0), "expand_columns = 0: expected 1 to 6"),
    "expanded shift": (dict(expand=2), dict(expand_s=48), "expand_s = 48: expected 0 to 47"),
    "expanded range": (dict(expand=2), dict(expand_lo=121), "expand_lo = 121: expected -128 to 120"),
    "parameter address": ({}, dict(parameter_address=260), "parameter_address = 260: expected a multiple of 8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_descriptors(name: str) -> None:
    shape, fields, message = REFUSED[name]
    step = random_step(SMALL, **{"height": 5, "width": 6, "planes": 2, **shape}).replace(**fields)
    before = step.memory.copy()
    with pytest.raises(StepError, match=message):
        executor.execute_step(step.memory, step.descriptor, SMALL)
    assert np.array_equal(step.memory, before)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (dict(planes=33), "33 planes to read: expected at most plane_depth = 32"),
        (dict(planes=4, chunks=34), "chunks = 34: expected 1 to 32"),
        (dict(planes=4, full=True), "vectors = 36: expected 0 to 32"),
        (dict(planes=8, chunks=18), "144 words of weights: expected at most half of weight_depth = 128"),
        (dict(width=300, planes=2), "expected 200 to be at most window_depth = 128"),
        (
            dict(planes=6, expand=3, chunks=22),
            "34 chunks with those of the expansion: expected at most chunk_depth = 32",
        ),
        (dict(planes=7, expand=5, chunks=10), "140 words of weights: expected at most half of weight_depth = 128"),
    ],
)
def test_refused_sizes(shape: dict, message: str) -> None:
    arguments = {"height": 1, "width": 2, "window_rows": 3, **shape}
    step = random_step(SMALL, **arguments)
    with pytest.raises(StepError, match=message):
        executor.execute_step(step.memory, step.descriptor, SMALL)


@pytest.mark.parametrize(
    ("cut", "cause", "message"),
    [
        ("parameters", ErrorCause.PARAMETER_READ, "parameter block of .* within the memory of"),
        ("input", ErrorCause.INPUT_READ, "input plane 1 at .* bytes within"),
        ("output", ErrorCause.OUTPUT_WRITE, "output plane 1 at .* bytes within"),
    ],
)
def test_addresses_outside_the_memory(cut: str, cause: ErrorCause, message: str) -> None:
    step = random_step(SMALL, 4, 4, 2, op=MAC)
    table = step.memory[step.descriptor.parameter_address :].view("<u8")
    if cut == "parameters":
        step = step.replace(parameter_address=step.memory.size // 8 * 8)
    elif cut == "input":
        table[1] = step.memory.size // 128 * 128
    else:
        table[3] = step.memory.size // 128 * 128
    if cut != "parameters":
        step = step.replace()
    with pytest.raises(StepError, match=message) as caught:
        executor.execute_step(step.memory, step.descriptor, SMALL)
    assert caught.value.cause == cause


def test_outputs_over_inputs_parameters_and_each_other() -> None:
    step = random_step(SMALL, 4, 4, 2)
    parameters = step.descriptor.parameter_address
    table = step.memory[parameters : parameters + 32].view("<u8")
    good = table.copy()
    for number, value, message in (
        (3, good[0], "output plane 1 .* apart from what is read"),
        (3, good[2] + 128, "output plane 1 .* apart from the planes before"),
        (2, parameters, "output plane 0 .* apart from what is read"),
        (2, good[2] + 8, "output plane 0 at .*: expected a multiple of 128"),
        (0, good[0] + 4, "input plane 0 at .*: expected a multiple of 8"),
    ):
        table[:] = good
        table[number] = value
        changed = step.replace()
        with pytest.raises(StepError, match=message):
            executor.execute_step(changed.memory, changed.descriptor, SMALL)


def test_planes_that_touch_do_not_overlap() -> None:
    assert executor._overlaps([(0, 128), (256, 128)], (128, 128)) == []
    assert executor._overlaps([(0, 129), (255, 128)], (128, 128)) == [(0, 129), (255, 128)]


def test_dilations_beyond_7() -> None:
    step = random_step(SMALL, 4, 4, op=MAC, dilated=True, dilations=(1, 8))
    with pytest.raises(StepError, match=r"dilations in \[1, 8\]: expected 0 to 7"):
        executor.execute_step(step.memory, step.descriptor, SMALL)


def test_arithmetic_that_could_overflow() -> None:
    wide = AcceleratorConfig(outputs=8)
    step = random_step(wide, 2, 2, 40, chunks=2, wide_weights=True, fill=0)
    weights = step.descriptor.parameter_address + 8 * (step.descriptor.parameter_beats - 2 * 40 * 2 * 8)
    end = step.descriptor.parameter_address + 8 * step.descriptor.parameter_beats
    step.memory[weights:end] = 0x77
    step = step.replace()
    with pytest.raises(StepError, match="output channel 0: accumulator in .*: expected at most 24 bits"):
        executor.execute_step(step.memory, step.descriptor, wide)
    step = random_step(SMALL, 2, 2, 2, expand=1)
    entry = step.descriptor.parameter_address + 8 * (1 + 2 + 17)
    step.memory[entry : entry + 8].view("<i8")[0] = (2**47 - 1) << 16 | 0x7FFF
    step = step.replace()
    with pytest.raises(StepError, match=r"expanded channel 17: acc \* m \+ b in .*: expected at most 48 bits"):
        executor.execute_step(step.memory, step.descriptor, SMALL)
    step = random_step(SMALL, 2, 2, 1, op=MAC)
    entry = step.descriptor.parameter_address + 16 + 8 * (9 + 5)
    step.memory[entry : entry + 8].view("<i8")[0] = (2**47 - 1) << 16 | 0x7FFF
    step = step.replace()
    with pytest.raises(StepError, match=r"depthwise lane 5: acc \* m \+ b in .*: expected at most 48 bits"):
        executor.execute_step(step.memory, step.descriptor, SMALL)


@pytest.mark.parametrize("limits", [(-128, 127), (0, 50), (-128, -3), (-7, 127)])
def test_worst_case_of_accumulators_is_reached(limits: tuple[int, int]) -> None:
    """The smallest and largest sums over all inputs within limits, by trying both limits for each weight."""
    weights = np.random.default_rng(5).integers(-128, 128, (6, 7)).astype(np.int8)
    inputs = np.array(list(itertools.product(limits, repeat=7)))
    sums = inputs @ weights.T.astype(np.int64)
    low, high = worst_case(weights, *limits)
    assert np.array_equal(low, sums.min(axis=0)) and np.array_equal(high, sums.max(axis=0))


# Programs
