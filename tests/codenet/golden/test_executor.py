# SPDX-License-Identifier: Apache-2.0
"""The functional model of the accelerator against a byte-by-byte reading of the descriptor's text; whole programs."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.golden import executor
from codenet.isa import DepthwiseOp, ErrorCause, block_fields
from codenet.isa.rules import StepError
from codenet.registers import BY_NAME
from tests.codenet.golden.naive import Naive
from tests.steps import Step, random_step

SMALL = AcceleratorConfig.small()
MAC, MAX, OFF, PEAKS = DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.OFF, DepthwiseOp.PEAKS


STEPS = {
    "copy": dict(height=3, width=4),
    "pointwise": dict(height=4, width=5, planes=2, chunks=4),
    "pointwise over several groups, the last not full": dict(height=2, width=3, planes=3, chunks=6),
    "one pixel": dict(height=1, width=1, chunks=2),
    "one pixel, depthwise": dict(height=1, width=1, op=MAC, chunks=2),
    "8-bit weights": dict(height=3, width=3, planes=2, chunks=2, wide_weights=True),
    "int16 output": dict(height=3, width=2, planes=2, chunks=3, wide_output=True),
    "8-bit weights, int16 output, depthwise": dict(
        height=3, width=5, planes=2, op=MAC, chunks=2, wide_weights=True, wide_output=True
    ),
    "depthwise": dict(height=5, width=7, planes=2, op=MAC),
    "depthwise, pointwise": dict(height=5, width=4, planes=3, op=MAC, chunks=4),
    "stride 2, even": dict(height=6, width=8, planes=2, op=MAC, chunks=2, stride2=True),
    "stride 2, odd": dict(height=7, width=5, planes=2, op=MAC, stride2=True),
    "stride 2 without filter": dict(height=7, width=6, planes=2, stride2=True, chunks=2),
    "deformable": dict(height=9, width=8, planes=2, op=MAC, dilated=True, chunks=2),
    "deformable, one row": dict(height=1, width=9, op=MAC, dilated=True),
    "upsample": dict(height=6, width=4, planes=2, upsample=True, chunks=2),
    "upsample, depthwise": dict(height=6, width=4, planes=2, upsample=True, op=MAC),
    "upsample, deformable": dict(height=4, width=6, planes=2, upsample=True, op=MAC, dilated=True),
    "upsample, rows loaded twice": dict(
        height=20, width=6, upsample=True, repeat=True, op=MAC, dilated=True, window_rows=15
    ),
    "full": dict(height=4, width=5, planes=2, full=True, chunks=2),
    "full, stride 2": dict(height=5, width=5, planes=2, full=True, chunks=2, stride2=True),
    "full without pointwise": dict(height=3, width=2, full=True),
    "maximum": dict(height=5, width=6, planes=2, op=MAX),
    "maximum, stride 2, pointwise": dict(height=5, width=6, planes=2, op=MAX, stride2=True, chunks=2),
    "packed": dict(height=4, width=6, planes=3, packed=True, chunks=2, wide_weights=True, pitch_extra=16),
    "rows apart": dict(height=4, width=3, planes=2, op=MAC, pitch_extra=40),
    "smallest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, fill=-128),
    "largest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, fill=127),
    "expanded": dict(height=3, width=4, planes=2, op=MAC, chunks=2, expand=3),
    "expanded, stride 2": dict(height=5, width=4, planes=3, op=MAC, chunks=4, expand=1, stride2=True),
    "expanded, upsample": dict(height=4, width=6, planes=2, op=MAC, chunks=2, expand=2, upsample=True),
    "expanded, without pointwise": dict(height=3, width=3, planes=1, op=MAC, expand=2, pitch_extra=24),
    "expanded, without depthwise": dict(height=2, width=3, planes=2, chunks=3, expand=2, wide_output=True),
    "expanded, maximum": dict(height=3, width=5, planes=2, op=MAX, stride2=True, expand=2, chunks=2),
    "expanded only": dict(height=1, width=1, planes=2, expand=2),
    "expanded, smallest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, expand=2, fill=-128),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", STEPS)
def test_step_equals_the_text(name: str, seed: int) -> None:
    step = random_step(SMALL, **STEPS[name], seed=seed)
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    memory = step.memory.copy()
    counts = executor.execute_step(memory, step.descriptor, SMALL)
    assert np.array_equal(memory, expected)
    assert not np.array_equal(memory, step.memory)
    assert counts.write_beats == 2 * step.descriptor.output_pixels * step.descriptor.output_planes
    assert counts.peaks is None


def test_random_steps_reach_the_interesting_values() -> None:
    """Outputs neither vanish nor saturate, so that the comparisons above see arithmetic."""
    for name in ("depthwise, pointwise", "deformable", "8-bit weights", "int16 output"):
        step = random_step(SMALL, **STEPS[name])
        memory = step.memory.copy()
        executor.execute_step(memory, step.descriptor, SMALL)
        kind = np.int16 if step.descriptor.wide_output else np.int8
        size = 16 * step.descriptor.output_pixels
        values = np.concatenate([memory[offset : offset + size].view(kind) for offset in step.outputs])
        inner = (values > step.descriptor.pointwise_lo) & (values < step.descriptor.pointwise_hi)
        assert inner.mean() > 0.5 and len(np.unique(values)) > 30, name


def peak_step(**changes) -> Step:
    return random_step(SMALL, **{"height": 5, "width": 6, "planes": 2, "op": PEAKS, **changes})


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("capacity", [0, 3, 64])
def test_peaks(capacity: int, upsample: bool) -> None:
    step = peak_step(height=6, peak_capacity=capacity, peak_threshold=2000, upsample=upsample)
    naive = Naive(step.memory, step.descriptor, SMALL.outputs)
    records = []
    for y, x, p, n in itertools.product(range(6), range(6), range(2), range(8)):

        def value(r: int, c: int, plane: int = p, lane: int = n) -> int:
            data = naive.sample(plane, r, c)
            return -40000 if data is None else naive.signed(data[2 * lane] + 256 * data[2 * lane + 1], 16)

        near = [value(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        if near[4] == max(near) and near[4] >= 2000:
            records.append(b"".join(v.to_bytes(2, "little", signed=v < 0) for v in (x, y, 8 * p + n, near[4])))
    expected = step.memory.copy()
    data = np.frombuffer(b"".join(records[:capacity]), np.uint8)
    address = step.descriptor.peak_address
    expected[address : address + len(data)] = data
    counts = executor.execute_step(step.memory, step.descriptor, SMALL)
    assert np.array_equal(step.memory, expected)
    assert counts.peaks == len(records) > 3 and counts.write_beats == min(capacity, len(records))


def test_peaks_need_room_for_all_that_the_descriptor_allows() -> None:
    step = peak_step(peak_capacity=64)
    end = step.memory.size - 8 * 64
    executor.execute_step(step.replace(peak_address=end - end % 8).memory, step.descriptor, SMALL)
    beyond = step.replace(peak_address=end - end % 8 + 8)
    with pytest.raises(StepError, match=f"output plane 0 at .*: expected its 512 bytes within {step.memory.size}"):
        executor.execute_step(beyond.memory, beyond.descriptor, SMALL)


def test_read_beats_of_packed_rows_overlap() -> None:
    step = random_step(SMALL, 4, 6, 3, packed=True, chunks=2)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 4 * 3 * 7
    step = random_step(SMALL, 4, 6, 3, upsample=True, op=MAC, dilated=True)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 2 * 4 * 2 * 3
    step = random_step(SMALL, 8, 6, 2, upsample=True, repeat=True, expand=3)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 2 * 4 * 2 * 3 * 3


def two_steps() -> tuple[np.ndarray, Step]:
    """A program of twice the same step; its second descriptor follows the first."""
    step = random_step(SMALL, 3, 3, 1, op=MAC, chunks=2, seed=3)
    memory = np.concatenate([step.memory, np.zeros(-step.memory.size % 128, np.uint8), np.zeros(256, np.uint8)])
    offset = memory.size - 256
    memory[offset : offset + 128] = np.frombuffer(step.replace(last=0).descriptor.encode(), np.uint8)
    memory[offset + 128 :] = np.frombuffer(step.descriptor.encode(), np.uint8)
    return memory, step


def test_program_runs_to_the_last_step() -> None:
    memory, step = two_steps()
    seen = []
    counts = executor.execute(
        memory, memory.size - 256, SMALL, lambda n, descriptor, _: seen.append((n, descriptor.last))
    )
    assert seen == [(0, 0), (1, 1)] and len(counts) == 2
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    assert np.array_equal(memory[: len(expected)], expected)


def test_bad_second_descriptor_leaves_the_first_done() -> None:
    memory, step = two_steps()
    memory[memory.size - 128 :] = np.frombuffer(step.replace(magic=1).descriptor.encode(), np.uint8)
    with pytest.raises(StepError, match="step 1: descriptor at .* magic") as caught:
        executor.execute(memory, memory.size - 256, SMALL)
    assert (caught.value.cause, caught.value.step) == (ErrorCause.BAD_DESCRIPTOR, 1)
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    assert np.array_equal(memory[: len(expected)], expected)


@pytest.mark.parametrize("place", [0, 70, 124, 127])
def test_damaged_descriptor(place: int) -> None:
    memory, _ = two_steps()
    memory[memory.size - 128 + place] ^= 1
    with pytest.raises(StepError, match="step 1: descriptor at .* has CRC 0x.*: expected 0x") as caught:
        executor.execute(memory, memory.size - 256, SMALL)
    assert (caught.value.cause, caught.value.step) == (ErrorCause.DAMAGED, 1)


@pytest.mark.parametrize("beat", [0, 3, -1])
def test_damaged_parameters(beat: int) -> None:
    step = random_step(SMALL, 3, 3, 1, op=MAC, chunks=2)
    start, size = step.descriptor.parameter_address, 8 * step.descriptor.parameter_beats
    step.memory[start : start + size].view("<u8")[beat] ^= np.uint64(1 << 40)
    with pytest.raises(StepError, match="parameter block has CRC 0x.*: expected 0x") as caught:
        executor.execute(step.memory, 0, SMALL)
    assert caught.value.cause == ErrorCause.DAMAGED


def test_wrong_length_of_parameters_is_a_bad_descriptor() -> None:
    step = random_step(SMALL, 3, 3, 1, op=MAC, chunks=2)
    step = step.replace(parameter_beats=step.descriptor.parameter_beats + 1)
    with pytest.raises(StepError, match="its sections have") as caught:
        executor.execute(step.memory, 0, SMALL)
    assert caught.value.cause == ErrorCause.BAD_DESCRIPTOR


def test_program_without_end_and_outside_the_memory() -> None:
    memory, _ = two_steps()
    memory[memory.size - 128 :] = memory[memory.size - 256 : memory.size - 128]
    with pytest.raises(StepError, match="step 2: descriptor at .*: expected it within the memory") as caught:
        executor.execute(memory, memory.size - 256, SMALL)
    assert caught.value.cause == ErrorCause.PARAMETER_READ
    with pytest.raises(StepError, match="program offset 8: expected a multiple of 128"):
        executor.execute(memory, 8, SMALL)


def test_a_program_has_no_more_steps_than_the_status_register_counts() -> None:
    step = next(field for field in BY_NAME["STATUS"].fields if field.name == "step")
    assert executor.MAX_STEPS == 1 << step.width


def test_no_step_writes_over_another_steps_parameters() -> None:
    memory, step = two_steps()
    start, size = step.descriptor.parameter_address, 8 * step.descriptor.parameter_beats
    copy = memory.size
    memory = np.concatenate([memory, memory[start : start + size]])
    second = dataclasses.replace(step.descriptor, parameter_address=copy)
    memory[copy - 128 : copy] = np.frombuffer(second.encode(), np.uint8)
    executor.execute(memory, copy - 256, SMALL)
    # The first step's only output plane now lies over the parameters of the second.
    memory[start + 8 : start + 16].view("<u8")[0] = copy
    first = dataclasses.replace(step.descriptor, last=0, **block_fields(start, memory[start : start + size].tobytes()))
    memory[copy - 256 : copy - 128] = np.frombuffer(first.encode(), np.uint8)
    with pytest.raises(StepError, match="step 0: output plane 0 .* apart from what is read"):
        executor.execute(memory, copy - 256, SMALL)


def test_memory_of_another_kind() -> None:
    step = random_step(SMALL, 2, 2)
    with pytest.raises(StepError, match=r"memory is int8 .*: expected contiguous uint8"):
        executor.execute_step(step.memory.view(np.int8), step.descriptor, SMALL)
