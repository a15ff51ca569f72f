# SPDX-License-Identifier: Apache-2.0
"""Nodes to steps: which planes each reads and writes, in pieces small enough for the accelerator's memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codenet.compiler import cost, limits
from codenet.compiler.ir import Branch, Expansion, Kind, Lowered, Node, Placement, Plane, Step
from codenet.compiler.layout import Slots, arrange, find_readers, gather, is_laid_out_freely, plane_bytes
from codenet.compiler.refuse import describe
from codenet.compiler.weights import (
    Inputs,
    branch_names,
    depthwise_lanes,
    in_order,
    pointwise_lanes,
    pointwise_macs,
    used_lanes,
)
from codenet.config import CHUNK, LANES, AcceleratorConfig
from codenet.errors import CompileError
from codenet.isa import DepthwiseOp


@dataclass(frozen=True)
class Tiled:
    """Steps in order; where the output of each node lies, and depthwise tensors that exist only because their step was
    cut.
    """

    steps: list[Step]
    placements: dict[int, Placement]
    intermediates: dict[str, Placement]


def tile(lowered: Lowered, config: AcceleratorConfig) -> Tiled:
    """Steps of all nodes.

    Raises
    ------
    CompileError
        Names an operation that fits even in pieces into no step, its shape, and the limit.
    """
    tiler = _Tiler(lowered, config)
    for node in lowered.nodes:
        tiler.node(node)
    return Tiled(tiler.steps, tiler.placements, tiler.intermediates)


class _Tiler:
    def __init__(self, lowered: Lowered, config: AcceleratorConfig) -> None:
        self.config = config
        self.tensors = lowered.tensors
        self.readers = find_readers(lowered.nodes, config)
        self.steps: list[Step] = []
        self.placements: dict[int, Placement] = {}
        self.intermediates: dict[str, Placement] = {}

    def node(self, node: Node) -> None:
        inputs = self._stem_inputs(node) if node.kind is Kind.STEM else None
        if node.expansion is not None:
            inputs = self._expand(node, node.expansion)
            if inputs is None and node.expansion.id not in self.placements:
                self.node(node.expansion)
        inputs = inputs or self._gather(node)
        if is_laid_out_freely(node):
            self.placements[node.id] = self._arrange(node)
            self._convolve(node, inputs)
        elif node.kind is Kind.PEAKS:
            self._peaks(node, inputs)
        else:
            outputs = self._lanewise(node, inputs)
            plane, lane = np.divmod(inputs.positions[0], LANES)
            self.placements[node.id] = Placement(outputs, plane, lane)

    # -- where channels come from and go

    def _stem_inputs(self, node: Node) -> Inputs:
        """Image rows y * stride - 1 to + 1 as planes; lane ``4 * column + colour``."""
        lanes = (np.arange(3)[:, None] * 4 + np.arange(3)).reshape(-1)
        positions = (np.arange(3)[:, None] * LANES + lanes).reshape(-1)
        return Inputs([Plane(0, image_row=row) for row in range(3)], [positions])

    def _gather(self, node: Node) -> Inputs:
        planes: list[Plane] = []
        positions: list[np.ndarray] = []
        for branch, first in _with_first_alike(node.branches):
            if first < len(positions):
                positions.append(positions[first])
                continue
            slots = self._slots(branch)
            positions.append(LANES * (slots.slot + len(planes)) + slots.lane)
            planes += [self.placements[producer].planes[plane] for producer, plane in slots.planes]
        return Inputs(planes, positions)

    def _expand(self, node: Node, source: Node) -> Inputs | None:
        """The expansion of ``node`` by ``source``; None if one step has no room for both, or ``source`` has been
        computed anyway.
        """
        if source.id in self.placements:
            return None
        read = self._gather(source)
        columns = cost.expand_columns(self.config, node, len(read.planes))
        if columns is None:
            return None
        positions: list[np.ndarray] = []
        wanted: list[np.ndarray] = []
        for branch, first in _with_first_alike(node.branches):
            if first < len(positions):
                positions.append(positions[first])
                continue
            positions.append(sum(map(len, wanted)) + np.arange(len(branch.view)))
            wanted.append(branch.view.channel)
        channels = np.concatenate(wanted)
        weights, lanes = pointwise_lanes(source, read, in_order(source))
        unused = np.zeros(-len(channels) % LANES, dtype=np.int64)
        chosen = np.append(channels, unused)
        weights, lanes = weights[chosen], lanes[chosen]
        weights[len(channels) :] = 0
        lanes.m[len(channels) :] = 0
        expansion = Expansion(weights, lanes, columns)
        macs = cost.stored_pixels(node) * len(channels) * len(source.branches[0].view)
        inputs = Inputs(read.planes, positions, expansion, macs, branch_names(source, channels))
        outputs = inputs.count if node.kind is Kind.DEPTHWISE else len(self._arrange(node).planes)
        fits = limits.expansion_fits(self.config, node, len(inputs.planes), inputs.count, outputs)
        return inputs if fits else None

    def _slots(self, branch: Branch) -> Slots:
        plane_of = {number: placement.plane for number, placement in self.placements.items()}
        lane_of = {number: placement.lane for number, placement in self.placements.items()}
        return gather(branch.view, plane_of, lane_of)

    def _dilation(self, node: Node) -> Plane | None:
        if node.dilation is None:
            return None
        placement = self.placements[int(node.dilation.producer[0])]
        channel = int(node.dilation.channel[0])
        assert placement.lane[channel] == 0
        return placement.planes[int(placement.plane[channel])]

    def _arrange(self, node: Node) -> Placement:
        arrangement = arrange(node, self.readers, self.config)
        plane = np.empty(node.channels, dtype=np.int64)
        lane = np.empty(node.channels, dtype=np.int64)
        for number, channels in enumerate(arrangement):
            plane[channels] = number
            lane[channels] = np.arange(len(channels))
        return Placement([Plane(plane_bytes(node)) for _ in arrangement], plane, lane)

    def _refuse(self, node: Node, reason: str) -> CompileError:
        branch = node.branches[0]
        operation = branch.convolution or branch.depthwise or branch.pool
        text = f"{node.kind.value} of {node.source[0]} x {node.source[1]} pixels"
        return CompileError(f"{describe(operation, self.tensors) if operation else text}: {reason}")

    # -- steps without pointwise

    def _lanewise(self, node: Node, inputs: Inputs) -> list[Plane]:
        """Depthwise, max or copy of all input planes, a few at a time; results in the same lanes of new planes."""
        if reason := limits.front_limit(self.config, node, 1, depthwise=True, lanewise=True):
            raise self._refuse(node, reason)
        total = inputs.count
        most = max(
            n
            for n in range(1, total + 1)
            if not limits.front_limit(self.config, node, n, depthwise=True, lanewise=True)
        )
        pieces = -(-total // most)
        bounds = [total * piece // pieces for piece in range(pieces + 1)]
        assert pieces == 1 or inputs.expansion is None
        outputs = [Plane(plane_bytes(node)) for _ in range(total)]
        weights, lanes = depthwise_lanes(node, inputs)
        name = ",".join(dict.fromkeys(n for branch in node.branches for n in branch.names[:1])) or node.kind.value
        for piece, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            planes = inputs.planes if inputs.expansion else inputs.planes[first:last]
            step = self._step(node, planes, _piece(name, piece, pieces), windowed=True, inputs=inputs)
            step.outputs = outputs[first:last]
            if lanes is not None:
                chosen = slice(LANES * first, LANES * last)
                step.depthwise_weights, step.depthwise = weights[chosen], lanes[chosen]
                step.macs += node.output[0] * node.output[1] * int(used_lanes(inputs, chosen).sum()) * 9
            self.steps.append(step)
        return outputs

    def _peaks(self, node: Node, inputs: Inputs) -> None:
        if reason := limits.front_limit(self.config, node, len(inputs.planes), depthwise=True, lanewise=False):
            raise self._refuse(node, reason)
        assert np.array_equal(
            inputs.positions[0] % LANES + CHUNK * (inputs.positions[0] // LANES), np.arange(node.channels)
        )
        self.steps.append(self._step(node, inputs.planes, node.name, windowed=True))

    def _step(
        self, node: Node, planes: list[Plane], name: str, *, windowed: bool, inputs: Inputs | None = None
    ) -> Step:
        """The front of a step: how ``planes`` are loaded, expanded and filtered. Not ``windowed``: what comes is
        filtered already.
        """
        expansion = inputs.expansion if inputs else None
        operations = {Kind.DEPTHWISE: DepthwiseOp.MAC, Kind.MAX: DepthwiseOp.MAX, Kind.PEAKS: DepthwiseOp.PEAKS}
        operation = operations.get(node.kind, DepthwiseOp.OFF)
        if node.kind is Kind.POINTWISE and node.has_depthwise:
            operation = DepthwiseOp.MAC
        source = node.source if windowed else node.output
        dilation = self._dilation(node) if windowed else None
        count = expansion.planes if expansion else len(planes)
        rows = cost.window_rows(self.config, source, count, dilation is not None)
        return Step(
            name=f"{inputs.name} + {name}" if inputs and expansion else name,
            inputs=planes,
            outputs=[],
            source=source,
            output=node.output,
            window_rows=rows,
            dilation=dilation,
            depthwise_op=operation if windowed else DepthwiseOp.OFF,
            upsample=node.upsample if windowed else 0,
            repeat=windowed and cost.repeats(node, rows),
            stride2=windowed and node.stride == 2 and node.kind is not Kind.STEM,
            packed=node.kind is Kind.STEM and node.stride == 2,
            full=node.kind is Kind.FULL,
            reach=cost.reach_of(node) if windowed else 0,
            pad=node.pad if windowed else 0,
            expansion=expansion,
            macs=inputs.macs if inputs else 0,
        )

    # -- steps with pointwise

    def _convolve(self, node: Node, inputs: Inputs) -> None:
        windowed = True
        count = inputs.count
        if reason := limits.front_limit(self.config, node, count, depthwise=node.has_depthwise, lanewise=False):
            if not node.has_depthwise:
                raise self._refuse(node, reason)
            if reason := limits.front_limit(self.config, node, count, depthwise=False, lanewise=False):
                raise self._refuse(node, reason)
            inputs = self._split_depthwise(node, inputs)
            windowed = False
        placement = self.placements[node.id]
        weights, lanes = pointwise_lanes(node, inputs, placement)
        convolution = node.branches[0].convolution
        assert convolution is not None
        wide, vectors = convolution.weight_bits == 8, weights.shape[1] // LANES
        if reason := limits.back_limit(self.config, node, 1, vectors, wide):
            raise self._refuse(node, reason)
        size = limits.planes_per_step(self.config, node, len(placement.planes), vectors, wide)
        pieces = -(-len(placement.planes) // size)
        assert pieces == 1 or inputs.expansion is None
        for piece in range(pieces):
            planes = slice(piece * size, min((piece + 1) * size, len(placement.planes)))
            chosen = slice(planes.start * node.lanes, planes.stop * node.lanes)
            step = self._step(node, inputs.planes, _piece(node.name, piece, pieces), windowed=windowed, inputs=inputs)
            step.outputs = placement.planes[planes]
            step.weights, step.requantize = weights[chosen], lanes[chosen]
            step.wide_weights = wide
            step.wide_output = node.wide
            step.macs += pointwise_macs(node, placement, planes)
            if node.has_depthwise and windowed:
                step.depthwise_weights, step.depthwise = depthwise_lanes(node, inputs)
                if piece == 0:
                    used = int(used_lanes(inputs, slice(0, inputs.lanes)).sum())
                    step.macs += 9 * node.output[0] * node.output[1] * used
            self.steps.append(step)

    def _split_depthwise(self, node: Node, inputs: Inputs) -> Inputs:
        """Filter in steps of their own; the planes that the 1x1 convolution then reads."""
        outputs = self._lanewise(node, inputs)
        for branch, where in zip(node.branches, inputs.positions, strict=True):
            assert branch.depthwise is not None
            plane, lane = np.divmod(where, LANES)
            used = np.unique(plane)
            placement = Placement([outputs[number] for number in used], np.searchsorted(used, plane), lane)
            self.intermediates[branch.depthwise.name] = placement
        return Inputs(outputs, inputs.positions)


def _with_first_alike(branches: Sequence[Branch]) -> Iterator[tuple[Branch, int]]:
    """Each branch, and the index of the first that filters the same channels in the same way: maybe its own."""
    for branch in branches:
        yield (
            branch,
            next(
                number
                for number, other in enumerate(branches)
                if other.depthwise is branch.depthwise and other.view.same_as(branch.view)
            ),
        )


def _piece(name: str, piece: int, pieces: int) -> str:
    return name if pieces == 1 else f"{name} [{piece + 1}/{pieces}]"
