# SPDX-License-Identifier: Apache-2.0
"""Merging the last depthwise and 1x1 convolutions of the heads into one block-diagonal step where that is not
slower.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codenet.compiler.cost import estimate
from codenet.compiler.ir import Kind, Lowered, Node, View
from codenet.config import LANES, AcceleratorConfig


def merge_heads(lowered: Lowered, config: AcceleratorConfig) -> Lowered:
    """Join nodes whose results no other node (but the peaks) reads, if all their settings agree."""
    read = {
        int(producer)
        for node in lowered.nodes
        if node.kind is not Kind.PEAKS
        for view in node.views()
        for producer in np.unique(view.producer)
    }
    families: dict[tuple[object, ...], list[Node]] = {}
    for node in lowered.nodes:
        if node.kind is Kind.POINTWISE and node.has_depthwise and node.dilation is None and node.id not in read:
            families.setdefault(_settings(node), []).append(node)
    for family in families.values():
        if len(family) > 1:
            merged = replace(family[-1], branches=tuple(branch for node in family for branch in node.branches))
            if _cycles(merged, config) <= sum(_cycles(node, config) for node in family):
                lowered = _substitute(lowered, family, merged)
    return lowered


def _settings(node: Node) -> tuple[object, ...]:
    """Everything that is one setting of a step."""
    depthwise, convolution = node.branches[0].depthwise, node.branches[0].convolution
    assert depthwise is not None and convolution is not None
    a, b = depthwise.requantize, convolution.requantize
    return (
        node.source,
        node.output,
        node.stride,
        node.upsample,
        node.wide,
        node.pad,
        convolution.weight_bits,
        (a.s, a.lo, a.hi),
        (b.s, b.lo, b.hi),
    )


def _cycles(node: Node, config: AcceleratorConfig) -> int:
    inputs = sum(-(-len(branch.view) // LANES) for branch in node.branches)
    channels = [branch.channels for branch in node.branches]
    # The heatmap keeps planes of its own; the others share theirs.
    outputs = -(-max(channels) // node.lanes) + -(-(sum(channels) - max(channels)) // node.lanes)
    convolution = node.branches[0].convolution
    assert convolution is not None
    return estimate(config, node, inputs, outputs, convolution.weight_bits == 8)


def _substitute(lowered: Lowered, family: list[Node], merged: Node) -> Lowered:
    """``merged`` takes the place and the number of the last of ``family``; views follow their channels there."""
    first, start = {}, 0
    for node in family:
        first[node.id] = start
        start += node.channels

    def moved(view: View) -> View:
        producer, channel = view.producer.copy(), view.channel.copy()
        for number, offset in first.items():
            mine = view.producer == number
            channel[mine] += offset
            producer[mine] = merged.id
        return View(producer, channel, view.level)

    nodes = []
    for node in lowered.nodes:
        if node.id == merged.id:
            node = merged
        elif node.id in first:
            continue
        branches = tuple(replace(branch, view=moved(branch.view)) for branch in node.branches)
        nodes.append(replace(node, branches=branches))
    return Lowered(tuple(nodes), {name: moved(view) for name, view in lowered.views.items()}, lowered.tensors)
