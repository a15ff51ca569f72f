# SPDX-License-Identifier: Apache-2.0
"""Channels to planes: output channels are grouped by who reads them, so that readers take few planes that they do not
want.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from codenet.compiler.cost import groups, stored_pixels
from codenet.compiler.ir import IMAGE, Kind, Node, View
from codenet.config import LANES, VECTOR_BYTES, AcceleratorConfig

MAX_ATOMS = 9
"""Leftover atoms whose every partition is weighed; the work grows with ``3**MAX_ATOMS``."""

Signature = frozenset[int]
"""The nodes that read a channel."""


@dataclass(frozen=True)
class Readers:
    """Who reads each output channel of each node, what one plane costs each reader in cycles, and which channels are
    dilations.
    """

    signatures: Mapping[int, list[Signature]]
    weights: Mapping[int, int]
    dilations: Mapping[int, frozenset[int]]


def find_readers(nodes: Iterable[Node], config: AcceleratorConfig) -> Readers:
    """Readers of all output channels of ``nodes``."""
    nodes = list(nodes)
    # What an expansion makes is laid out too, should the step turn out not to fit.
    nodes += {node.expansion.id: node.expansion for node in nodes if node.expansion is not None}.values()
    sets: dict[int, list[set[int]]] = {node.id: [set() for _ in range(node.channels)] for node in nodes}
    dilations: dict[int, set[int]] = {node.id: set() for node in nodes}
    weights = {}
    for node in nodes:
        weights[node.id] = _plane_cost(node, config)
        views = list(node.views())
        if node.expansion is not None:
            views += node.expansion.views()
        for view in views:
            for producer, channel in zip(view.producer.tolist(), view.channel.tolist(), strict=True):
                if producer != IMAGE:
                    sets[producer][channel].add(node.id)
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        source = node.dilation
        while source is not None:
            producer, channel = int(source.producer[0]), int(source.channel[0])
            dilations[producer].add(channel)
            # A copy keeps lanes, so that what it copies must be in lane 0 already.
            copied = by_id[producer].kind is Kind.COPY
            source = by_id[producer].branches[0].view[channel : channel + 1] if copied else None
    return Readers(
        {number: [frozenset(readers) for readers in channels] for number, channels in sets.items()},
        weights,
        {number: frozenset(channels) for number, channels in dilations.items()},
    )


def _plane_cost(node: Node, config: AcceleratorConfig) -> int:
    """Cycles that one more plane to read costs."""
    loaded = stored_pixels(node)
    pixels, planes, wide = node.output[0] * node.output[1], -(-node.channels // node.lanes), node.wide
    if node.expansion is not None:
        pixels, planes, wide = loaded, -(-sum(len(branch.view) for branch in node.branches) // LANES), False
    return max(pixels * max(groups(config, planes, wide), 1), 2 * loaded)


def arrange(node: Node, readers: Readers, config: AcceleratorConfig) -> list[list[int]]:
    """The output channels of ``node``, a convolution, as planes: at most ``node.lanes`` channels each, lane by lane.

    Channels of an int16 result stay with channels of the same readers, so that peaks never meet other lanes than the
    heatmap's; a dilation gets lane 0 of a plane of its own.
    """
    alone = readers.dilations[node.id]
    atoms: dict[Signature, list[int]] = {}
    for channel, signature in enumerate(readers.signatures[node.id]):
        if channel not in alone:
            atoms.setdefault(signature, []).append(channel)
    planes = [[channel] for channel in sorted(alone)]
    if node.wide:
        for channels in atoms.values():
            planes += _cut(channels, node.lanes)
        return planes
    vectors = sum(-(-len(branch.view) // LANES) for branch in node.branches)
    base = max(node.output[0] * node.output[1] * max(vectors * LANES // config.outputs, 2), 1)

    def cost(candidate: list[list[int]]) -> int:
        total = 0
        for plane in candidate:
            union = frozenset().union(*(readers.signatures[node.id][channel] for channel in plane))
            total += base + sum(readers.weights[reader] for reader in union)
        return total

    ordered = sorted(atoms.items(), key=lambda item: (-len(item[1]), item[1]))
    candidates = [
        _cut(sorted(channel for _, channels in ordered for channel in channels), node.lanes),
        _cut([channel for _, channels in ordered for channel in channels], node.lanes),
        _aligned(ordered, node.lanes, base, readers.weights),
    ]
    best = min(candidates, key=cost)
    return planes + sorted((sorted(plane) for plane in best), key=lambda plane: plane[0])


def _cut(channels: list[int], lanes: int) -> list[list[int]]:
    return [channels[first : first + lanes] for first in range(0, len(channels), lanes)]


def _aligned(
    atoms: list[tuple[Signature, list[int]]], lanes: int, base: int, weights: Mapping[int, int]
) -> list[list[int]]:
    """Whole planes of each atom, then the cheapest way to pack what is left of them."""
    planes, rests = [], []
    for signature, channels in atoms:
        whole = len(channels) // lanes * lanes
        planes += _cut(channels[:whole], lanes)
        if channels[whole:]:
            rests.append((signature, channels[whole:]))
    rests.sort(key=lambda item: (len(item[1]), item[1]))
    while len(rests) > MAX_ATOMS and len(rests[0][1]) + len(rests[1][1]) <= lanes:
        joined = (rests[0][0] | rests[1][0], rests[0][1] + rests[1][1])
        rests = sorted([joined, *rests[2:]], key=lambda item: (len(item[1]), item[1]))
    while len(rests) > MAX_ATOMS:
        planes.append(rests.pop()[1])
    return planes + _partition(rests, lanes, base, weights)


def _partition(
    rests: list[tuple[Signature, list[int]]], lanes: int, base: int, weights: Mapping[int, int]
) -> list[list[int]]:
    """The partition of ``rests`` into planes of least cost: dynamic programming over subsets."""

    def members(subset: int) -> list[tuple[Signature, list[int]]]:
        return [rest for number, rest in enumerate(rests) if subset >> number & 1]

    @cache
    def plane_cost(subset: int) -> int | None:
        chosen = members(subset)
        if sum(len(channels) for _, channels in chosen) > lanes:
            return None
        return base + sum(weights[reader] for reader in frozenset().union(*(readers for readers, _ in chosen)))

    @cache
    def best(subset: int) -> tuple[int, tuple[int, ...]]:
        if not subset:
            return 0, ()
        lowest = subset & -subset
        rest = part = subset ^ lowest
        results = []
        while True:
            own = plane_cost(part | lowest)
            if own is not None:
                below, planes = best(rest ^ part)
                results.append((own + below, (part | lowest, *planes)))
            if not part:
                return min(results)
            part = (part - 1) & rest

    _, subsets = best((1 << len(rests)) - 1)
    return [[channel for _, channels in members(subset) for channel in channels] for subset in subsets]


@dataclass(frozen=True)
class Slots:
    """The planes that a reader takes, and where in them its channels are: channel ``c`` in lane ``lane[c]`` of
    ``planes[slot[c]]``.

    ``planes`` are (node, plane of its output). A plane is there twice if two channels of the view are one and the same.
    """

    planes: list[tuple[int, int]]
    slot: np.ndarray
    lane: np.ndarray


def gather(view: View, plane_of: Mapping[int, np.ndarray], lane_of: Mapping[int, np.ndarray]) -> Slots:
    """The fewest planes that carry all channels of ``view``."""
    taken: dict[tuple[int, int, int], dict[int, int]] = {}
    places = []
    for producer, channel in zip(view.producer.tolist(), view.channel.tolist(), strict=True):
        plane, lane = int(plane_of[producer][channel]), int(lane_of[producer][channel])
        copy = 0
        while lane in taken.setdefault((producer, plane, copy), {}):
            copy += 1
        taken[producer, plane, copy][lane] = 1
        places.append(((producer, plane, copy), lane))
    order = {key: number for number, key in enumerate(sorted(key for key in taken if taken[key]))}
    slot = np.array([order[key] for key, _ in places], dtype=np.int64)
    return Slots([key[:2] for key in order], slot, np.array([lane for _, lane in places], dtype=np.int64))


def plane_bytes(node: Node) -> int:
    """Size of one output plane."""
    return node.output[0] * node.output[1] * VECTOR_BYTES


def is_laid_out_freely(node: Node) -> bool:
    """Whether the compiler chooses the lanes of the results; otherwise they stay in the lanes of the inputs."""
    return node.kind in (Kind.STEM, Kind.POINTWISE, Kind.FULL)
