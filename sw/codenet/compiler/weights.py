# SPDX-License-Identifier: Apache-2.0
"""Weights and requantize parameters into lanes: what lies where of the channels that a node reads and makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codenet.compiler.ir import Expansion, Kind, Lanes, Node, Placement, Plane
from codenet.config import LANES
from codenet.graph import Convolution


@dataclass(frozen=True)
class Inputs:
    """Planes that a node reads and, for each branch, where its channels are: ``16 * plane + lane``.

    With ``expansion`` the node reads ``planes`` through it, and positions are those of the expansion's results.
    """

    planes: list[Plane]
    positions: list[np.ndarray]
    expansion: Expansion | None = None
    macs: int = 0
    """Of the expansion."""
    name: str = ""
    """Of the expansion."""

    @property
    def count(self) -> int:
        """Planes that the window takes."""
        return len(self.planes) if self.expansion is None else self.expansion.planes

    @property
    def lanes(self) -> int:
        """Channels of those planes."""
        return LANES * self.count


def depthwise_lanes(node: Node, inputs: Inputs) -> tuple[np.ndarray, Lanes | None]:
    """Filters int8 ``[16 * planes, 3, 3]`` and requantize parameters of the window's lanes; ``None`` if ``node`` has
    no filters.
    """
    weights = np.zeros((inputs.lanes, 3, 3), dtype=np.int8)
    first = node.branches[0].depthwise
    if first is None:
        return weights, None
    lanes = Lanes.unused(inputs.lanes, first.requantize)
    for branch, where in zip(node.branches, inputs.positions, strict=True):
        assert branch.depthwise is not None
        weights[where] = branch.depthwise.weights
        lanes.fill(where, branch.depthwise.requantize)
    return weights, lanes


def pointwise_lanes(node: Node, inputs: Inputs, placement: Placement) -> tuple[np.ndarray, Lanes]:
    """Weights int8 ``[output lanes, 16 * vectors]`` and requantize parameters of the output lanes of all planes."""
    count = node.lanes * len(placement.planes)
    taps = 9 if node.kind is Kind.FULL else 1
    weights = np.zeros((count, taps * inputs.lanes), dtype=np.int8)
    first = node.branches[0].convolution
    assert first is not None
    lanes = Lanes.unused(count, first.requantize)
    start = 0
    for branch, where in zip(node.branches, inputs.positions, strict=True):
        assert branch.convolution is not None
        channels = slice(start, start + branch.channels)
        rows = node.lanes * placement.plane[channels] + placement.lane[channels]
        weights[np.ix_(rows, _columns(node, branch.convolution, where))] = branch.convolution.weights.reshape(
            branch.channels, -1
        )
        lanes.fill(rows, branch.convolution.requantize)
        start += branch.channels
    return weights, lanes


def pointwise_macs(node: Node, placement: Placement, planes: slice) -> int:
    """Multiply-accumulates for the channels that lie in ``planes``."""
    start = macs = 0
    for branch in node.branches:
        assert branch.convolution is not None
        plane = placement.plane[start : start + branch.channels]
        chosen = int(((plane >= planes.start) & (plane < planes.stop)).sum())
        macs += chosen * int(branch.convolution.weights[0].size)
        start += branch.channels
    return macs * node.output[0] * node.output[1]


def used_lanes(inputs: Inputs, chosen: slice) -> np.ndarray:
    """Whether each lane of ``chosen`` carries a channel that some branch wants."""
    used = np.zeros(inputs.lanes, dtype=bool)
    for where in inputs.positions:
        used[where] = True
    return used[chosen]


def in_order(node: Node) -> Placement:
    """All output channels of ``node`` one after the other, in planes that are not in memory."""
    plane, lane = np.divmod(np.arange(node.channels), node.lanes)
    return Placement([Plane(0) for _ in range(-(-node.channels // node.lanes))], plane, lane)


def branch_names(node: Node, channels: np.ndarray) -> str:
    """Names of the convolutions of ``node`` that have some of the output channels ``channels``."""
    ends = np.cumsum([branch.channels for branch in node.branches])
    used = np.unique(np.searchsorted(ends, channels, side="right")).tolist()
    return ",".join(name for number in used for name in node.branches[number].names)


def _columns(node: Node, convolution: Convolution, positions: np.ndarray) -> np.ndarray:
    """Where the weights of one output channel, flattened from ``[K, K, I]``, go among the lanes of all vectors."""
    if node.kind is not Kind.FULL:
        return positions
    plane, lane = np.divmod(positions, LANES)
    columns: np.ndarray = (9 * plane + np.arange(9)[:, None]) * LANES + lane
    return columns.reshape(-1)
