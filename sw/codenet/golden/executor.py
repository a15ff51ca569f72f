# SPDX-License-Identifier: Apache-2.0
"""Functional model of the accelerator: executes the descriptors in a memory, byte for byte what the hardware writes.

It follows the text of :mod:`codenet.isa` and computes with :mod:`codenet.golden`. It is also the checker of programs:
whatever a descriptor can get wrong (limits of the configuration, sizes that disagree, addresses outside the memory,
outputs over inputs, arithmetic that could leave the hardware's widths) is an error here, although hardware would notice
little of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codenet.config import BEAT_BYTES, LANES, MAX_DILATION, VECTOR_BYTES, AcceleratorConfig
from codenet.errors import DamagedError, FormatError
from codenet.golden import operators as golden
from codenet.isa import DESCRIPTOR_BYTES, PEAK_BYTES, PLANE_ALIGNMENT, DepthwiseOp, Descriptor, ErrorCause
from codenet.isa.parameters import Parameters, unpack_parameters
from codenet.isa.rules import StepError, check_arithmetic, check_descriptor, require

MAX_STEPS = 2**16
"""Steps that the STATUS register can count."""

MAX_PEAKS = 65535
"""Where the peak counter stops."""

Range = tuple[int, int]
"""First byte and number of bytes."""


@dataclass(frozen=True)
class Counts:
    """What one step did. Beats are those of the 64-bit ports: of the input planes read, of the planes or records
    written.

    ``peaks`` are those found, also beyond the capacity; 65535 stands for more. ``None``: not a peak step.
    """

    read_beats: int
    write_beats: int
    peaks: int | None = None


def execute(
    memory: np.ndarray,
    program_offset: int,
    config: AcceleratorConfig,
    on_step: Callable[[int, Descriptor, Counts], None] | None = None,
) -> list[Counts]:
    """Run the program whose first descriptor lies at ``program_offset``, to the step marked ``last``.

    Parameters
    ----------
    memory:
        uint8, from the base address on; changed in place.
    on_step:
        Called with index, descriptor and counts after each step, when its outputs are in memory.

    Raises
    ------
    StepError
        Names step, field, value and what was expected. The steps before have been executed.
    """
    program = _read_program(memory, program_offset)
    fetched = [(program_offset, DESCRIPTOR_BYTES * len(program))]
    fetched += [_parameter_range(step) for step in program if isinstance(step, Descriptor)]
    counts: list[Counts] = []
    for index, step in enumerate(program):
        try:
            if isinstance(step, StepError):
                raise step
            counts.append(_execute(memory, step, config, fetched))
        except StepError as error:
            raise StepError(f"step {index}: {error}", error.cause, index) from error
        if on_step is not None:
            on_step(index, step, counts[-1])
    return counts


def execute_step(memory: np.ndarray, descriptor: Descriptor, config: AcceleratorConfig) -> Counts:
    """Execute one step on ``memory`` (uint8, from the base address on; changed in place).

    Raises
    ------
    StepError
        Names field, value and what was expected; nothing has been written.
    """
    return _execute(memory, descriptor, config, [_parameter_range(descriptor)])


def _read_program(memory: np.ndarray, offset: int) -> list[Descriptor | StepError]:
    """Descriptors from ``offset`` to the last one, or to what cannot be a descriptor: then the error is the last
    entry.
    """
    program: list[Descriptor | StepError] = []
    require(offset % PLANE_ALIGNMENT == 0, f"program offset {offset}: expected a multiple of {PLANE_ALIGNMENT}")
    while len(program) < MAX_STEPS:
        data = memory[offset : offset + DESCRIPTOR_BYTES]
        if offset < 0 or len(data) < DESCRIPTOR_BYTES:
            message = f"descriptor at {offset}: expected it within the memory of {memory.size} bytes"
            return [*program, StepError(message, ErrorCause.PARAMETER_READ)]
        try:
            step = Descriptor.decode(data.tobytes())
        except FormatError as error:
            return [*program, StepError(f"descriptor at {offset}: {error}", _cause(error))]
        program.append(step)
        if step.last:
            return program
        offset += DESCRIPTOR_BYTES
    return [*program, StepError(f"no step is marked last: expected one among {MAX_STEPS}")]


def _cause(error: FormatError) -> ErrorCause:
    return ErrorCause.DAMAGED if isinstance(error, DamagedError) else ErrorCause.BAD_DESCRIPTOR


def _parameter_range(step: Descriptor) -> Range:
    return step.parameter_address, 8 * step.parameter_beats


def _execute(memory: np.ndarray, step: Descriptor, config: AcceleratorConfig, fetched: list[Range]) -> Counts:
    """``fetched``: what the accelerator fetches as descriptors and parameters, so that no step may write there."""
    if memory.dtype != np.uint8 or memory.ndim != 1 or not memory.flags.c_contiguous:
        raise StepError(f"memory is {memory.dtype} {list(memory.shape)}: expected contiguous uint8 [size]")
    check_descriptor(step, config)
    parameters = _read_parameters(memory, step, config)
    writes = _writes(step, parameters)
    _check_access(memory, step, _reads(step, parameters), writes, fetched)

    x = _input(memory, step, parameters)
    rows = _stored_size(step)[0] << step.repeat
    read_beats = _row_bytes(step) // BEAT_BYTES * rows * len(parameters.input_table)
    if step.depthwise_op == DepthwiseOp.PEAKS:
        records = golden.peaks(x.view("<i2"), step.peak_threshold)
        kept = records[: step.peak_capacity].view(np.uint8)
        memory[step.peak_address : step.peak_address + kept.size] = kept
        return Counts(read_beats, kept.size // BEAT_BYTES, min(len(records), MAX_PEAKS))
    dilation: int | np.ndarray = 1
    if step.dilated:
        dilation = _load_dilation(memory, step, parameters.input_table[-1:])
    for (offset, size), plane in zip(writes, _compute(x, dilation, step, parameters), strict=True):
        memory[offset : offset + size] = plane.reshape(-1)
    return Counts(read_beats, sum(size for _, size in writes) // BEAT_BYTES)


def _read_parameters(memory: np.ndarray, step: Descriptor, config: AcceleratorConfig) -> Parameters:
    start, size = _parameter_range(step)
    require(start % BEAT_BYTES == 0, f"parameter_address = {start}: expected a multiple of {BEAT_BYTES}")
    require(
        start + size <= memory.size,
        f"parameter block of {size} bytes at {start}: expected it within the memory of {memory.size} bytes",
        ErrorCause.PARAMETER_READ,
    )
    return _unpack_parameters(memory[start : start + size].tobytes(), step, config.outputs)


# Frame after frame has the same parameters.
@lru_cache(maxsize=256)
def _unpack_parameters(block: bytes, step: Descriptor, outputs: int) -> Parameters:
    try:
        parameters = unpack_parameters(block, step, outputs)
    except FormatError as error:
        raise StepError(str(error), _cause(error)) from error
    check_arithmetic(step, parameters)
    return parameters


# Memory access


def _stored_size(step: Descriptor) -> tuple[int, int]:
    """Height and width of the input planes in memory."""
    return step.input_height >> step.upsample, step.input_width >> step.upsample


def _row_bytes(step: Descriptor) -> int:
    """Bytes of a row of an input plane; vectors of packed rows overlap by half."""
    width = _stored_size(step)[1]
    return BEAT_BYTES * (width + 1) if step.packed else VECTOR_BYTES * width


def _reads(step: Descriptor, parameters: Parameters) -> list[Range]:
    """Memory from the first to the last byte that the step reads of each plane."""
    size = (_stored_size(step)[0] - 1) * step.row_pitch + _row_bytes(step)
    return [(offset, size) for offset in parameters.input_table.tolist()]


def _writes(step: Descriptor, parameters: Parameters) -> list[Range]:
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return [(step.peak_address, PEAK_BYTES * step.peak_capacity)]
    return [(offset, VECTOR_BYTES * step.output_pixels) for offset in parameters.output_table.tolist()]


def _check_access(
    memory: np.ndarray, step: Descriptor, reads: list[Range], writes: list[Range], fetched: list[Range]
) -> None:
    alignment = BEAT_BYTES if step.depthwise_op == DepthwiseOp.PEAKS else PLANE_ALIGNMENT
    for what, ranges, multiple, cause in (
        ("input plane", reads, BEAT_BYTES, ErrorCause.INPUT_READ),
        ("output plane", writes, alignment, ErrorCause.OUTPUT_WRITE),
    ):
        for number, (start, size) in enumerate(ranges):
            name = f"{what} {number} at {start}"
            require(start % multiple == 0, f"{name}: expected a multiple of {multiple}")
            require(start + size <= memory.size, f"{name}: expected its {size} bytes within {memory.size}", cause)
    others = reads + fetched
    for number, write in enumerate(writes):
        for what, ranges in (("what is read", others), ("the planes before", writes[:number])):
            for start, size in _overlaps(ranges, write):
                raise StepError(
                    f"output plane {number} of {write[1]} bytes at {write[0]}: expected it apart from {what}, "
                    f"{size} bytes at {start}"
                )


def _overlaps(ranges: list[Range], other: Range) -> list[Range]:
    return [(start, size) for start, size in ranges if start < other[0] + other[1] and other[0] < start + size]


def _input(memory: np.ndarray, step: Descriptor, parameters: Parameters) -> np.ndarray:
    """What the window takes, int8 ``[input_height, input_width, 16 * input_planes]``."""
    if step.expand:
        x = _stored(memory, step, parameters.input_table)
        acc = golden.pointwise(x, parameters.expand_weights[: len(parameters.expand_m)])
        limits = step.expand_lo, step.expand_hi
        x = golden.requantize(acc, parameters.expand_m, parameters.expand_b, step.expand_s, *limits)
    else:
        x = _stored(memory, step, parameters.input_table[: step.input_planes])
    return golden.upsample(x) if step.upsample else x


def _stored(memory: np.ndarray, step: Descriptor, table: np.ndarray) -> np.ndarray:
    """Planes as they are in memory, int8 ``[stored height, stored width, 16 * planes]``."""
    height, width = _stored_size(step)
    x = np.empty((height, width, len(table), LANES), np.int8)
    strides = (step.row_pitch, BEAT_BYTES if step.packed else VECTOR_BYTES, 1)
    data = memory.view(np.int8)
    for number, offset in enumerate(table.tolist()):
        x[:, :, number] = np.lib.stride_tricks.as_strided(
            data[offset:], (height, width, LANES), strides, writeable=False
        )
    return x.reshape(height, width, len(table) * LANES)


def _load_dilation(memory: np.ndarray, step: Descriptor, table: np.ndarray) -> np.ndarray:
    """Channel 0 of the dilation plane, ``[input_height, input_width]``."""
    stored = _stored(memory, step, table)[:, :, :1]
    dilation: np.ndarray = (golden.upsample(stored) if step.upsample else stored)[:, :, 0]
    low, high = int(dilation.min()), int(dilation.max())
    require(0 <= low and high <= MAX_DILATION, f"dilations in [{low}, {high}]: expected 0 to {MAX_DILATION}")
    return dilation


# Datapath


def _compute(x: np.ndarray, dilation: int | np.ndarray, step: Descriptor, parameters: Parameters) -> np.ndarray:
    """The bytes of the output planes, uint8 ``[output_planes, output_pixels, 16]``."""
    vectors = _filter(x, dilation, step, parameters)
    if step.pointwise:
        acc = golden.pointwise(vectors, parameters.weights[: len(parameters.m)])
        kind = np.int16 if step.wide_output else np.int8
        limits = step.pointwise_lo, step.pointwise_hi
        vectors = golden.requantize(acc, parameters.m, parameters.b, step.pointwise_s, *limits, kind)
        vectors = vectors.astype(vectors.dtype.newbyteorder("<"), copy=False)
    planes = np.ascontiguousarray(vectors).view(np.uint8).reshape(step.output_pixels, -1, VECTOR_BYTES)
    return planes.transpose(1, 0, 2)


def _filter(x: np.ndarray, dilation: int | np.ndarray, step: Descriptor, parameters: Parameters) -> np.ndarray:
    """The vectors of each pixel, int8 ``[output_height, output_width, 16 * vectors]``."""
    stride = 1 + step.stride2
    zero_point = (step.pad & 255) - ((step.pad & 128) << 1)
    if step.depthwise_op == DepthwiseOp.MAC:
        acc = golden.depthwise(x, parameters.depthwise_weights, dilation, stride, zero_point)
        limits = step.depthwise_lo, step.depthwise_hi
        return golden.requantize(acc, parameters.depthwise_m, parameters.depthwise_b, step.depthwise_s, *limits)
    if step.depthwise_op == DepthwiseOp.MAX:
        return golden.maximum(x, stride, zero_point)
    if not step.full:
        return x[::stride, ::stride]
    taps = golden.window(x, 1, stride, zero_point)
    # A plane's nine taps follow each other.
    planes = taps.reshape(step.output_height, step.output_width, 9, step.input_planes, LANES).swapaxes(2, 3)
    return planes.reshape(step.output_height, step.output_width, LANES * step.vectors)
