# SPDX-License-Identifier: Apache-2.0
"""What one step has room for: the memories of an accelerator against what a node needs of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import lcm

from codenet.compiler import cost
from codenet.compiler.ir import Kind, Node
from codenet.config import CHUNK, AcceleratorConfig


def front_limit(config: AcceleratorConfig, node: Node, planes: int, *, depthwise: bool, lanewise: bool) -> str | None:
    """Why ``planes`` input planes are too many for one step of ``node``; None if they are not.

    ``depthwise``: the step filters them too; ``lanewise``: its results stay in their lanes.
    """
    windowed = depthwise or node.kind is not Kind.POINTWISE
    reach = cost.reach_of(node) if windowed else 0
    dilated = windowed and node.dilation is not None
    rows = cost.rows_needed(reach, False, node.source[0])
    vectors = planes * (9 if node.kind is Kind.FULL else 1)
    bank = rows // 3 * cost.window_row_stride(node.source[1], planes)
    needs = [
        (planes + dilated, config.plane_depth, "input planes", "plane_depth"),
        (vectors, config.vector_depth // 2, "vectors a pixel", "half of vector_depth"),
        (bank, config.window_depth, f"vectors in a window bank ({rows} rows of {planes} planes)", "window_depth"),
    ]
    if depthwise and node.has_depthwise:
        needs.append((planes, config.depthwise_depth, "planes to filter", "depthwise_depth"))
    if dilated:
        needs.append((rows * node.source[1], config.dilation_depth, f"dilations ({rows} rows)", "dilation_depth"))
    if lanewise:
        needs.append((2 * planes, config.store_depth // 2, "beats of results a pixel", "half of store_depth"))
    return _first_too_many(needs)


def back_limit(config: AcceleratorConfig, node: Node, planes: int, vectors: int, wide_weights: bool) -> str | None:
    """Why ``planes`` output planes of ``vectors`` vectors a pixel are too many for one step of ``node``; None if they
    are not.
    """
    words = cost.groups(config, planes, node.wide) * vectors * (1 + wide_weights)
    what = f"for {planes} output planes"
    return _first_too_many(
        [
            (words, config.weight_depth // 2, f"words of weights {what}", "half of weight_depth"),
            (planes * node.lanes // CHUNK, config.chunk_depth, f"chunks of 8 channels {what}", "chunk_depth"),
            (planes, config.plane_depth, f"output planes {what}", "plane_depth"),
            (2 * planes, config.store_depth // 2, f"beats of results a pixel {what}", "half of store_depth"),
        ]
    )


def planes_per_step(config: AcceleratorConfig, node: Node, total: int, vectors: int, wide_weights: bool) -> int:
    """Output planes that one step can produce, if it can one: all, or the most that fit, evenly and in whole groups if
    possible.
    """
    most = max(n for n in range(1, total + 1) if n == 1 or not back_limit(config, node, n, vectors, wide_weights))
    whole = lcm(node.lanes, config.outputs) // node.lanes
    if most in (total, *range(1, whole)):
        return most
    most -= most % whole
    even = -(-total // -(-total // most))
    return min(-(-even // whole) * whole, most)


def expansion_fits(config: AcceleratorConfig, node: Node, read: int, planes: int, outputs: int) -> bool:
    """Whether one step has room for ``node`` and its expansion of ``read`` stored planes to ``planes``, with
    ``outputs`` planes of results.
    """
    lanewise = node.kind is Kind.DEPTHWISE
    chunks, words = 2 * planes, cost.groups(config, planes, False) * read
    if not lanewise:
        chunks += outputs * node.lanes // CHUNK
        words += cost.groups(config, outputs, node.wide) * planes
    return not (
        front_limit(config, node, planes, depthwise=True, lanewise=lanewise)
        or read > config.plane_depth
        or outputs > config.plane_depth
        or chunks > config.chunk_depth
        or words > config.weight_depth // 2
        or 2 * outputs > config.store_depth // 2
    )


def _first_too_many(needs: Iterable[tuple[int, int, str, str]]) -> str | None:
    for need, limit, what, name in needs:
        if need > limit:
            return f"needs {need} {what}: expected at most {limit} ({name})"
    return None
