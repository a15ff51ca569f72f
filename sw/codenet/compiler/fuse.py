# SPDX-License-Identifier: Apache-2.0
"""Fusing a 1x1 convolution with the depthwise convolutions that read it, so that what lies between them never visits
memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from codenet.compiler.cost import estimate
from codenet.compiler.ir import Kind, Lowered, Node
from codenet.config import LANES, AcceleratorConfig


def fuse_expansions(lowered: Lowered, kept: Iterable[str], config: AcceleratorConfig) -> Lowered:
    """Make 1x1 convolutions the expansion of the nodes that read them, where that is possible and not slower.

    ``kept``: tensors that must be in memory. Whether a step has room for its expansion turns out in
    :mod:`codenet.compiler.tile`, which computes the convolution in a step of its own if not.
    """
    outputs = {int(producer) for name in kept for producer in np.unique(lowered.views[name].producer)}
    nodes = {node.id: node for node in lowered.nodes}
    for node in lowered.nodes:
        readers = [other for other in nodes.values() if any((view.producer == node.id).any() for view in other.views())]
        if node.id in outputs or not readers or not _can_expand(node):
            continue
        if not all(_can_be_expanded(reader, node) for reader in readers):
            continue
        fused = [replace(reader, expansion=node) for reader in readers]
        if sum(_cycles(other, config) for other in fused) <= sum(_cycles(other, config) for other in [node, *readers]):
            del nodes[node.id]
            nodes |= {other.id: other for other in fused}
    return Lowered(tuple(nodes.values()), lowered.views, lowered.tensors)


def _can_expand(node: Node) -> bool:
    """Whether ``node`` is nothing but a 1x1 convolution with int8 results."""
    convolution = node.branches[0].convolution
    return (
        node.kind is Kind.POINTWISE
        and not node.has_depthwise
        and node.expansion is None
        and node.stride == 1
        and node.upsample == 0
        and not node.wide
        and convolution is not None
        and convolution.weight_bits == 4
    )


def _can_be_expanded(reader: Node, node: Node) -> bool:
    """Whether ``reader`` filters channels of ``node`` and nothing else, each once."""
    if not reader.has_depthwise or reader.dilation is not None:
        return False
    convolution = reader.branches[0].convolution
    if convolution is not None and convolution.weight_bits != 4:
        return False
    if not all((branch.view.producer == node.id).all() for branch in reader.branches):
        return False
    return all(np.unique(branch.view.channel).size == len(branch.view) for branch in reader.branches)


def _planes(channels: int, lanes: int = LANES) -> int:
    return -(-channels // lanes)


def _cycles(node: Node, config: AcceleratorConfig) -> int:
    """Cycles of ``node`` if channels lie in as few planes as possible."""
    views = {branch.view.channel.tobytes(): len(branch.view) for branch in node.branches}
    inputs = _planes(sum(views.values()))
    expanded = 0 if node.expansion is None else _planes(len(node.expansion.branches[0].view))
    outputs = _planes(node.channels, node.lanes)
    return estimate(config, node, inputs, outputs, wide_weights=False, expanded=expanded)
