"""Nodes to steps: weights into lanes, and pieces small enough for the accelerator's memories."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np

from codenet.compiler import cost
from codenet.compiler.ir import Branch, Expansion, Kind, Lanes, Lowered, Node, Placement, Plane, Step
from codenet.compiler.layout import Slots, arrange, find_readers, gather, is_laid_out_freely, plane_bytes
from codenet.compiler.refuse import describe
from codenet.config import CHUNK, LANES, AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Convolution
from codenet.isa import DepthwiseOp


@dataclass(frozen=True)
class Tiled:
    """Steps in order; where the output of each node lies, and depthwise tensors that exist only because their step was cut."""

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


@dataclass(frozen=True)
class _Inputs:
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
        return LANES * self.count


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

    def _stem_inputs(self, node: Node) -> _Inputs:
        """Image rows y * stride - 1 to + 1 as planes; lane ``4 * column + colour``."""
        lanes = (np.arange(3)[:, None] * 4 + np.arange(3)).reshape(-1)
        positions = (np.arange(3)[:, None] * LANES + lanes).reshape(-1)
        return _Inputs([Plane(0, image_row=row) for row in range(3)], [positions])

    def _gather(self, node: Node) -> _Inputs:
        planes: list[Plane] = []
        positions: list[np.ndarray] = []
        seen: list[tuple[Branch, np.ndarray]] = []
        for branch in node.branches:
            for other, known in seen:
                if other.depthwise is branch.depthwise and other.view.same_as(branch.view):
                    where = known
                    break
            else:
                slots = self._slots(branch)
                where = LANES * (slots.slot + len(planes)) + slots.lane
                planes += [self.placements[producer].planes[plane] for producer, plane in slots.planes]
                seen.append((branch, where))
            positions.append(where)
        return _Inputs(planes, positions)

    def _expand(self, node: Node, source: Node) -> _Inputs | None:
        """The expansion of ``node`` by ``source``; None if one step has no room for both, or ``source`` has been computed anyway."""
        if source.id in self.placements:
            return None
        read = self._gather(source)
        positions: list[np.ndarray] = []
        seen: list[tuple[Branch, np.ndarray]] = []
        wanted: list[np.ndarray] = []
        for branch in node.branches:
            for other, known in seen:
                if other.depthwise is branch.depthwise and other.view.same_as(branch.view):
                    where = known
                    break
            else:
                where = sum(map(len, wanted)) + np.arange(len(branch.view))
                wanted.append(branch.view.channel)
                seen.append((branch, where))
            positions.append(where)
        channels = np.concatenate(wanted)
        weights, lanes = self._pointwise_lanes(source, read, _in_order(source))
        unused = np.zeros(-len(channels) % LANES, dtype=np.int64)
        chosen = np.append(channels, unused)
        weights, lanes = weights[chosen], lanes[chosen]
        weights[len(channels) :] = 0
        lanes.m[len(channels) :] = 0
        columns = cost.expand_columns(self.config, node, len(read.planes))
        if columns is None:
            return None
        expansion = Expansion(weights, lanes, columns)
        macs = cost.stored_pixels(node) * len(channels) * len(source.branches[0].view)
        inputs = _Inputs(read.planes, positions, expansion, macs, _branch_names(source, channels))
        return None if self._expansion_limit(node, inputs) else inputs

    def _expansion_limit(self, node: Node, inputs: _Inputs) -> bool:
        """Whether one step is too small for ``node`` and its expansion."""
        config = self.config
        read, planes = len(inputs.planes), inputs.count
        outputs = planes if node.kind is Kind.DEPTHWISE else len(self._arrange(node).planes)
        chunks, words = 2 * planes, cost.groups(config, planes, False) * read
        if node.kind is not Kind.DEPTHWISE:
            chunks += outputs * node.lanes // CHUNK
            words += cost.groups(config, outputs, node.wide) * planes
        return bool(
            self._limit(node, planes, depthwise=True, lanewise=node.kind is Kind.DEPTHWISE)
            or read > config.plane_depth
            or outputs > config.plane_depth
            or chunks > config.chunk_depth
            or words > config.weight_depth // 2
            or 2 * outputs > config.store_depth // 2
        )

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

    # -- limits

    def _limit(self, node: Node, planes: int, *, depthwise: bool, lanewise: bool) -> str | None:
        """Why ``planes`` input planes are too many for one step of ``node``; None if they are not."""
        config = self.config
        windowed = depthwise or node.kind is not Kind.POINTWISE
        reach = cost.reach_of(node) if windowed else 0
        dilated = windowed and node.dilation is not None
        rows = cost.rows_needed(reach, False, node.source[0])
        vectors = planes * (9 if node.kind is Kind.FULL else 1)
        bank = rows // 3 * cost.window_row_stride(node.source[1], planes)
        checks = [
            (planes + dilated, config.plane_depth, "input planes", "plane_depth"),
            (vectors, config.vector_depth // 2, "vectors a pixel", "half of vector_depth"),
            (bank, config.window_depth, f"vectors in a window bank ({rows} rows of {planes} planes)", "window_depth"),
        ]
        if depthwise and node.has_depthwise:
            checks.append((planes, config.depthwise_depth, "planes to filter", "depthwise_depth"))
        if dilated:
            ring = rows * node.source[1]
            checks.append((ring, config.dilation_depth, f"dilations ({rows} rows)", "dilation_depth"))
        if lanewise:
            checks.append((2 * planes, config.store_depth // 2, "beats of results a pixel", "half of store_depth"))
        for need, limit, what, name in checks:
            if need > limit:
                return f"needs {need} {what}: expected at most {limit} ({name})"
        return None

    def _refuse(self, node: Node, reason: str) -> CompileError:
        branch = node.branches[0]
        operation = branch.convolution or branch.depthwise or branch.pool
        text = f"{node.kind.value} of {node.source[0]} x {node.source[1]} pixels"
        return CompileError(f"{describe(operation, self.tensors) if operation else text}: {reason}")

    # -- steps without pointwise

    def _lanewise(self, node: Node, inputs: _Inputs) -> list[Plane]:
        """Depthwise, max or copy of all input planes, a few at a time; results in the same lanes of new planes."""
        if reason := self._limit(node, 1, depthwise=True, lanewise=True):
            raise self._refuse(node, reason)
        total = inputs.count
        most = max(n for n in range(1, total + 1) if not self._limit(node, n, depthwise=True, lanewise=True))
        pieces = -(-total // most)
        bounds = [total * piece // pieces for piece in range(pieces + 1)]
        assert pieces == 1 or inputs.expansion is None
        outputs = [Plane(plane_bytes(node)) for _ in range(total)]
        weights, lanes = self._depthwise_lanes(node, inputs)
        name = ",".join(dict.fromkeys(n for branch in node.branches for n in branch.names[:1])) or node.kind.value
        for piece, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            planes = inputs.planes if inputs.expansion else inputs.planes[first:last]
            step = self._step(node, planes, _piece(name, piece, pieces), windowed=True, inputs=inputs)
            step.outputs = outputs[first:last]
            if lanes is not None:
                chosen = slice(LANES * first, LANES * last)
                step.depthwise_weights, step.depthwise = weights[chosen], lanes[chosen]
                step.macs += node.output[0] * node.output[1] * int(_used(inputs, chosen).sum()) * 9
            self.steps.append(step)
        return outputs

    def _peaks(self, node: Node, inputs: _Inputs) -> None:
        if reason := self._limit(node, len(inputs.planes), depthwise=True, lanewise=False):
            raise self._refuse(node, reason)
        assert np.array_equal(
            inputs.positions[0] % LANES + CHUNK * (inputs.positions[0] // LANES), np.arange(node.channels)
        )
        self.steps.append(self._step(node, inputs.planes, node.name, windowed=True))

    def _step(
        self, node: Node, planes: list[Plane], name: str, *, windowed: bool, inputs: _Inputs | None = None
    ) -> Step:
        """The front of a step: how ``planes`` are loaded, expanded and filtered. Not ``windowed``: what comes is filtered already."""
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

    def _depthwise_lanes(self, node: Node, inputs: _Inputs) -> tuple[np.ndarray, Lanes | None]:
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

    # -- steps with pointwise

    def _convolve(self, node: Node, inputs: _Inputs) -> None:
        windowed = True
        count = inputs.count
        if reason := self._limit(node, count, depthwise=node.has_depthwise, lanewise=False):
            if not node.has_depthwise:
                raise self._refuse(node, reason)
            if reason := self._limit(node, count, depthwise=False, lanewise=False):
                raise self._refuse(node, reason)
            inputs = self._split_depthwise(node, inputs)
            windowed = False
        placement = self.placements[node.id]
        weights, lanes = self._pointwise_lanes(node, inputs, placement)
        convolution = node.branches[0].convolution
        assert convolution is not None
        size = self._planes_per_step(node, weights.shape[1] // LANES, convolution.weight_bits == 8)
        pieces = -(-len(placement.planes) // size)
        assert pieces == 1 or inputs.expansion is None
        for piece in range(pieces):
            planes = slice(piece * size, min((piece + 1) * size, len(placement.planes)))
            chosen = slice(planes.start * node.lanes, planes.stop * node.lanes)
            step = self._step(node, inputs.planes, _piece(node.name, piece, pieces), windowed=windowed, inputs=inputs)
            step.outputs = placement.planes[planes]
            step.weights, step.requantize = weights[chosen], lanes[chosen]
            step.wide_weights = convolution.weight_bits == 8
            step.wide_output = node.wide
            step.macs += self._pointwise_macs(node, planes)
            if node.has_depthwise and windowed:
                step.depthwise_weights, step.depthwise = self._depthwise_lanes(node, inputs)
                if piece == 0:
                    used = int(_used(inputs, slice(0, inputs.lanes)).sum())
                    step.macs += 9 * node.output[0] * node.output[1] * used
            self.steps.append(step)

    def _split_depthwise(self, node: Node, inputs: _Inputs) -> _Inputs:
        """Filter in steps of their own; the planes that the 1x1 convolution then reads."""
        outputs = self._lanewise(node, inputs)
        for branch, where in zip(node.branches, inputs.positions, strict=True):
            assert branch.depthwise is not None
            plane, lane = np.divmod(where, LANES)
            used = np.unique(plane)
            placement = Placement([outputs[number] for number in used], np.searchsorted(used, plane), lane)
            self.intermediates[branch.depthwise.name] = placement
        return _Inputs(outputs, inputs.positions)

    def _pointwise_lanes(self, node: Node, inputs: _Inputs, placement: Placement) -> tuple[np.ndarray, Lanes]:
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

    def _planes_per_step(self, node: Node, vectors: int, wide_weights: bool) -> int:
        """Output planes that one step can produce: all, or the most that fit, evenly and in whole groups if possible."""
        config = self.config
        total = len(self.placements[node.id].planes)

        def limit(planes: int) -> str | None:
            words = cost.groups(config, planes, node.wide) * vectors * (1 + wide_weights)
            chunks = planes * node.lanes // CHUNK
            for need, most, what, name in (
                (words, config.weight_depth // 2, "words of weights", "half of weight_depth"),
                (chunks, config.chunk_depth, "chunks of 8 channels", "chunk_depth"),
                (planes, config.plane_depth, "output planes", "plane_depth"),
                (2 * planes, config.store_depth // 2, "beats of results a pixel", "half of store_depth"),
            ):
                if need > most:
                    return f"needs {need} {what} for {planes} output planes: expected at most {most} ({name})"
            return None

        if not limit(total):
            return total
        if reason := limit(1):
            raise self._refuse(node, reason)
        most = max(n for n in range(1, total) if not limit(n))
        whole = lcm(node.lanes, config.outputs) // node.lanes
        if most < whole:
            return most
        most -= most % whole
        even = -(-total // -(-total // most))
        return min(-(-even // whole) * whole, most)

    def _pointwise_macs(self, node: Node, planes: slice) -> int:
        """Multiply-accumulates for the channels that lie in ``planes``."""
        placement, start, macs = self.placements[node.id], 0, 0
        for branch in node.branches:
            assert branch.convolution is not None
            plane = placement.plane[start : start + branch.channels]
            chosen = int(((plane >= planes.start) & (plane < planes.stop)).sum())
            macs += chosen * int(branch.convolution.weights[0].size)
            start += branch.channels
        return macs * node.output[0] * node.output[1]


def _in_order(node: Node) -> Placement:
    """All output channels of ``node`` one after the other, in planes that are not in memory."""
    plane, lane = np.divmod(np.arange(node.channels), node.lanes)
    return Placement([Plane(0) for _ in range(-(-node.channels // node.lanes))], plane, lane)


def _branch_names(node: Node, channels: np.ndarray) -> str:
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


def _used(inputs: _Inputs, chosen: slice) -> np.ndarray:
    """Whether each lane of ``chosen`` carries a channel that some branch wants."""
    used = np.zeros(inputs.lanes, dtype=bool)
    for where in inputs.positions:
        used[where] = True
    return used[chosen]


def _piece(name: str, piece: int, pieces: int) -> str:
    return name if pieces == 1 else f"{name} [{piece + 1}/{pieces}]"
