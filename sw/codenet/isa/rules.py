# SPDX-License-Identifier: Apache-2.0
"""Rules that a step must keep: the text of :mod:`codenet.isa` and the sizes of one accelerator, as checks.

The hardware looks at CRC, magic, version and the length of the parameter block only, and computes something else
when another rule is broken; so what makes programs, and what executes them in software, checks them here.
"""

from __future__ import annotations

import numpy as np

from codenet.config import CHUNK, MAX_DILATION, AcceleratorConfig
from codenet.errors import DeviceError
from codenet.isa.descriptor import (
    ACCUMULATOR_BITS,
    FIELDS,
    ISA_VERSION,
    MAGIC,
    PRODUCT_BITS,
    DepthwiseOp,
    Descriptor,
    ErrorCause,
)
from codenet.isa.parameters import Parameters, main_words

MAX_SHIFT = 47


class StepError(DeviceError):
    """A step that the accelerator cannot execute as described.

    Attributes
    ----------
    cause:
        What the STATUS register of hardware would say; ``NONE`` where hardware would go on and compute something else.
    step:
        Index in the program, if known.
    """

    def __init__(self, message: str, cause: ErrorCause = ErrorCause.NONE, step: int | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.step = step


def require(condition: bool, message: str, cause: ErrorCause = ErrorCause.NONE) -> None:
    """Raise :class:`StepError` unless ``condition``."""
    if not condition:
        raise StepError(message, cause)


def check_descriptor(step: Descriptor, config: AcceleratorConfig) -> None:
    """Check all that can be told from the descriptor alone.

    Raises
    ------
    StepError
        Names the field, its value and what was expected.
    """
    require(
        (step.magic, step.version) == (MAGIC, ISA_VERSION),
        f"magic {step.magic:#x} version {step.version}: expected {MAGIC:#x} version {ISA_VERSION}",
        ErrorCause.BAD_DESCRIPTOR,
    )
    _check_modes(step)
    _check_sizes(step)
    _check_expansion(step, config)
    _check_window(step, config)
    _check_pointwise(step, config)
    _check_output(step, config)


def vectors(step: Descriptor) -> int:
    """Vectors of a pixel: what ``step.vectors`` must be."""
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return 0
    return 9 * step.input_planes if step.full else step.input_planes


def reach(step: Descriptor) -> int:
    """Rows below the centre that the window needs: what ``step.reach`` must be."""
    if step.dilated:
        return MAX_DILATION
    return 0 if step.depthwise_op == DepthwiseOp.OFF and not step.full else 1


def _is(step: Descriptor, name: str, expected: int, reason: str) -> None:
    value = getattr(step, name)
    require(value == expected, f"{name} = {value}: expected {expected} ({reason})")


def _between(step: Descriptor, name: str, low: int, high: int, reason: str = "") -> None:
    value = getattr(step, name)
    require(low <= value <= high, f"{name} = {value}: expected {low} to {high}" + (f" ({reason})" if reason else ""))


def _check_modes(step: Descriptor) -> None:
    op = DepthwiseOp(step.depthwise_op)
    if op != DepthwiseOp.OFF:
        _is(step, "full", 0, f"depthwise_op is {op.name}")
    if op != DepthwiseOp.MAC:
        _is(step, "dilated", 0, f"depthwise_op is {op.name}")
    if step.dilated:
        _is(step, "stride2", 0, "dilated")
    if op == DepthwiseOp.PEAKS:
        _is(step, "stride2", 0, "peaks")
        _is(step, "pointwise", 0, "peaks")
    if not step.pointwise:
        for name in ("wide_weights", "wide_output", "groups", "chunks"):
            _is(step, name, 0, "pointwise is off")
    if op in (DepthwiseOp.MAC, DepthwiseOp.MAX) or step.full:
        low, high = step.pad & 255, step.pad >> 8
        require(low == high, f"pad = {step.pad:#06x}: expected the same zero point in both bytes")


def _check_sizes(step: Descriptor) -> None:
    for name in ("input_planes", "input_height", "input_width"):
        require(getattr(step, name) > 0, f"{name} = 0: expected at least 1")
    stride = 1 + step.stride2
    _is(step, "output_height", -(-step.input_height // stride), f"input_height {step.input_height}, stride {stride}")
    _is(step, "output_width", -(-step.input_width // stride), f"input_width {step.input_width}, stride {stride}")
    _is(step, "output_pixels", step.output_height * step.output_width, "output_height * output_width")
    if step.upsample:
        size = f"{step.input_height}x{step.input_width}"
        require(
            step.input_height % 2 == step.input_width % 2 == 0, f"input of {size}: expected even sizes with upsample"
        )
    require(bool(step.upsample) or not step.repeat, f"repeat = {step.repeat}: expected 0 without upsample")
    require(step.row_pitch % 8 == 0, f"row_pitch = {step.row_pitch}: expected a multiple of 8")


def _check_expansion(step: Descriptor, config: AcceleratorConfig) -> None:
    if not step.expand:
        for field in FIELDS:
            if field.name.startswith("expand"):
                _is(step, field.name, 0, "expand is 0")
        return
    for name in ("full", "packed", "dilated", "wide_weights"):
        _is(step, name, 0, "expand")
    require(step.depthwise_op != DepthwiseOp.PEAKS, "expand = 1: expected 0 (peaks)")
    _between(step, "expand_planes", 1, config.plane_depth, "plane_depth")
    _is(step, "expand_chunks", 2 * step.input_planes, f"{step.input_planes} input planes")
    groups = -(-CHUNK * step.expand_chunks // config.outputs)
    _is(step, "expand_groups", groups, f"{step.expand_chunks} chunks on {config.outputs} outputs")
    _is(step, "expand_words", step.expand_groups * step.expand_planes, "expand_groups * expand_planes")
    width = step.input_width >> step.upsample
    _between(step, "expand_columns", 1, width, "stored width")
    require(
        width % step.expand_columns == 0,
        f"expand_columns = {step.expand_columns}: expected a divisor of the stored width {width}",
    )
    piece = step.expand_planes * step.expand_columns
    require(
        piece <= config.expand_depth,
        f"{piece} vectors to expand at a time: expected at most expand_depth = {config.expand_depth}",
    )
    chunks = step.expand_chunks + step.chunks
    require(
        chunks <= config.chunk_depth,
        f"{chunks} chunks with those of the expansion: expected at most chunk_depth = {config.chunk_depth}",
    )
    _between(step, "expand_s", 0, MAX_SHIFT)
    _between(step, "expand_lo", -128, step.expand_hi, "expand_hi")


def _check_window(step: Descriptor, config: AcceleratorConfig) -> None:
    _is(step, "reach", reach(step), "what the operation needs")
    _is(
        step, "window_row_stride", -(-step.input_width // 3) * step.input_planes, "ceil(input_width / 3) * input_planes"
    )
    require(step.window_rows % 3 == 0, f"window_rows = {step.window_rows}: expected a multiple of 3")
    pairs = 1 if step.upsample and not step.repeat and step.reach else 0
    needed = min(2 * step.reach + 1 + pairs, step.input_height)
    require(step.window_rows >= needed, f"window_rows = {step.window_rows}: expected at least {needed}")
    used = step.window_rows // 3 * step.window_row_stride
    require(
        used <= config.window_depth,
        f"window_rows = {step.window_rows} of {step.window_row_stride} vectors a bank: "
        f"expected {used} to be at most window_depth = {config.window_depth}",
    )
    tables = step.expand_planes if step.expand else step.input_planes + step.dilated
    require(
        tables <= config.plane_depth, f"{tables} planes to read: expected at most plane_depth = {config.plane_depth}"
    )
    if step.dilated:
        pixels = step.window_rows * step.input_width
        limit = f"dilation_depth = {config.dilation_depth}"
        require(pixels <= config.dilation_depth, f"dilation ring of {pixels} pixels: expected at most {limit}")
    if step.depthwise_op == DepthwiseOp.MAC:
        _between(step, "input_planes", 1, config.depthwise_depth, "depthwise_depth")
        _between(step, "depthwise_s", 0, MAX_SHIFT)
        _between(step, "depthwise_lo", -128, step.depthwise_hi, "depthwise_hi")


def _check_pointwise(step: Descriptor, config: AcceleratorConfig) -> None:
    _is(step, "vectors", vectors(step), f"{DepthwiseOp(step.depthwise_op).name}, full {step.full}")
    _between(step, "vectors", 0, config.vector_depth // 2, "half of vector_depth")
    if step.pointwise:
        _between(step, "chunks", 1, config.chunk_depth, "chunk_depth")
        groups = -(-CHUNK * step.chunks // config.outputs)
        _is(step, "groups", groups, f"{step.chunks} chunks on {config.outputs} outputs")
    words = step.expand_words + (main_words(step) if step.pointwise else 0)
    limit = config.weight_depth // 2
    require(words <= limit, f"{words} words of weights: expected at most half of weight_depth = {limit}")
    if not step.pointwise:
        return
    _between(step, "pointwise_s", 0, MAX_SHIFT)
    low, high = output_limits(step)
    _between(step, "pointwise_lo", low, step.pointwise_hi, "pointwise_hi")
    _between(step, "pointwise_hi", step.pointwise_lo, high)


def output_limits(step: Descriptor) -> tuple[int, int]:
    """Smallest and largest value of the step's output type."""
    return (-32768, 32767) if step.wide_output else (-128, 127)


def _check_output(step: Descriptor, config: AcceleratorConfig) -> None:
    if step.depthwise_op == DepthwiseOp.PEAKS:
        _is(step, "output_planes", 0, "peaks")
        require(step.peak_address % 8 == 0, f"peak_address = {step.peak_address}: expected a multiple of 8")
        return
    if not step.pointwise:
        _is(step, "output_planes", step.vectors, "the vectors, as pointwise is off")
    else:
        expected = 2 * step.output_planes if not step.wide_output else step.output_planes
        _is(step, "chunks", expected, f"{step.output_planes} output planes of int{16 if step.wide_output else 8}")
    _between(step, "output_planes", 1, config.plane_depth, "plane_depth")
    _between(step, "block_log2", 0, 4)
    block = 2 * step.output_planes << step.block_log2
    limit = config.store_depth // 2
    require(
        block <= limit,
        f"block_log2 = {step.block_log2}: expected {block} beats of {step.output_planes} planes to be at most half of "
        f"store_depth = {limit}",
    )


def check_arithmetic(step: Descriptor, parameters: Parameters) -> None:
    """Check that no input whatever can leave the hardware's accumulators and products.

    Raises
    ------
    StepError
        Names the channel, its worst case and the limit.
    """
    limits = (-128, 127)
    if step.expand:
        _check_pointwise_sums(
            "expanded channel", parameters.expand_weights, parameters.expand_m, parameters.expand_b, limits
        )
    if step.depthwise_op == DepthwiseOp.MAC:
        # Padding may be any int8 value, also with an expansion.
        weights = parameters.depthwise_weights.reshape(-1, 9)
        low, high = worst_case(weights, *limits)
        _check_products("depthwise lane", low, high, parameters.depthwise_m, parameters.depthwise_b)
        limits = (step.depthwise_lo, step.depthwise_hi)
    if step.pointwise:
        _check_pointwise_sums("output channel", parameters.weights, parameters.m, parameters.b, limits)


def _check_pointwise_sums(
    what: str, weights: np.ndarray, m: np.ndarray, b: np.ndarray, limits: tuple[int, int]
) -> None:
    low, high = worst_case(weights, *limits)
    limit = 2 ** (ACCUMULATOR_BITS - 1)
    for channel in np.flatnonzero((low < -limit) | (high >= limit))[:1]:
        raise StepError(
            f"{what} {channel}: accumulator in [{low[channel]}, {high[channel]}]: "
            f"expected at most {ACCUMULATOR_BITS} bits"
        )
    used = len(m)
    _check_products(what, low[:used], high[:used], m, b)


def worst_case(weights: np.ndarray, lowest: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of ``weights[c] * x`` for each ``c``, over all ``x`` in [lowest, highest]."""
    positive = np.maximum(weights, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(weights, 0).sum(axis=1, dtype=np.int64)
    return positive * lowest + negative * highest, positive * highest + negative * lowest


def _check_products(what: str, low: np.ndarray, high: np.ndarray, m: np.ndarray, b: np.ndarray) -> None:
    products = np.stack([low * m.astype(np.int64), high * m.astype(np.int64)]) + b
    limit = 2 ** (PRODUCT_BITS - 1)
    for channel in np.flatnonzero((products.min(axis=0) < -limit) | (products.max(axis=0) >= limit))[:1]:
        bounds = [int(products[:, channel].min()), int(products[:, channel].max())]
        raise StepError(f"{what} {channel}: acc * m + b in {bounds}: expected at most {PRODUCT_BITS} bits")
