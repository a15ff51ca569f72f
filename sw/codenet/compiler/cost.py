# SPDX-License-Identifier: Apache-2.0
"""What a step costs, before it exists: window rows that fit, and cycles of array and memory."""

from __future__ import annotations

from codenet.compiler.ir import Kind, Node
from codenet.config import CHUNK, LANES, MAX_DILATION, AcceleratorConfig

BURST_PIXELS = 8
"""Pixels of a plane in the longest burst: 16 beats."""


def reach_of(node: Node) -> int:
    """Rows below its own that an output row needs: 0, 1, or 7 with dilations."""
    if node.dilation is not None:
        return MAX_DILATION
    centre_only = node.kind in (Kind.STEM, Kind.COPY) or (node.kind is Kind.POINTWISE and not node.has_depthwise)
    return 0 if centre_only else 1


def rows_needed(reach: int, pairs: bool, height: int) -> int:
    """Rows that the window must hold at once, as a multiple of 3.

    ``pairs``: upsampled rows come two at a time, so that the later one must have room while the earlier one is still
    awaited.
    """
    rows = min(2 * reach + 1 + (1 if pairs and reach else 0), height)
    return -(-rows // 3) * 3


def repeats(node: Node, rows: int) -> bool:
    """Whether a window of ``rows`` rows is too small for pairs, so that stored rows must be loaded once for each of
    their two.
    """
    return bool(node.upsample) and rows < rows_needed(reach_of(node), True, node.source[0])


def window_row_stride(width: int, planes: int) -> int:
    """Vectors of one row in one bank."""
    return -(-width // 3) * planes


def window_rows(config: AcceleratorConfig, source: tuple[int, int], planes: int, dilated: bool) -> int:
    """The most rows, a multiple of 3, that the window holds of ``planes`` planes; not more than the image has."""
    height, width = source
    rows = 3 * (config.window_depth // window_row_stride(width, planes))
    if dilated:
        rows = min(rows, config.dilation_depth // width // 3 * 3)
    return min(rows, -(-height // 3) * 3)


def expand_columns(config: AcceleratorConfig, node: Node, planes: int) -> int | None:
    """Columns that an expansion of ``planes`` stored planes takes at a time; None if there is no good number.

    The most that let the next piece of the row be loaded meanwhile. Less than a burst only if the row is no longer.
    """
    width = node.source[1] >> node.upsample
    pieces = [n for n in range(1, width + 1) if width % n == 0 and (n >= BURST_PIXELS or n == width)]
    fitting = [n for n in pieces if planes * n <= config.expand_depth]
    doubled = [n for n in fitting if 2 * planes * n <= config.expand_depth]
    return max(doubled or fitting, default=None)


def groups(config: AcceleratorConfig, planes: int, wide_output: bool) -> int:
    """Groups of output channels that the array computes for ``planes`` output planes."""
    return -(-planes * (CHUNK if wide_output else LANES) // config.outputs)


def stored_pixels(node: Node) -> int:
    """Pixels of an input plane in memory."""
    return (node.source[0] * node.source[1]) >> (2 * node.upsample)


def estimate(
    config: AcceleratorConfig, node: Node, inputs: int, outputs: int, wide_weights: bool, expanded: int = 0
) -> int:
    """Cycles of a node of ``inputs`` and ``outputs`` planes, were it one step. ``expanded``: planes that its expansion
    reads, if it has one.

    Array and memory work side by side if the window has room for more rows than it needs, otherwise one after the
    other. The memory moves one beat a cycle and direction.
    """
    height = node.source[0]
    pixels = node.output[0] * node.output[1]
    array = pixels * inputs * max(groups(config, outputs, node.wide), 1) * (1 + wide_weights)
    rows = window_rows(config, node.source, inputs, node.dilation is not None)
    loaded_pixels = stored_pixels(node) * (1 + repeats(node, rows))
    array += loaded_pixels * expanded * groups(config, inputs, False)
    load = 2 * (expanded or inputs) * loaded_pixels
    store = 2 * outputs * pixels
    overlapped = rows > rows_needed(reach_of(node), bool(node.upsample), height) or rows >= height
    return max(array, load, store) if overlapped else max(array + load, store)
