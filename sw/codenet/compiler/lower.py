# SPDX-License-Identifier: Apache-2.0
"""Graph to nodes: fusing depthwise and pointwise, upsampling behind 1x1 convolutions, and views for all that only
renames channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from codenet.compiler.ir import IMAGE, Branch, Kind, Lowered, Node, View
from codenet.compiler.refuse import refuse
from codenet.config import MAX_DILATION
from codenet.errors import CompileError
from codenet.graph import (
    Concat,
    Convolution,
    Depthwise,
    Graph,
    Input,
    MaxPool,
    Operation,
    Shuffle,
    Slice,
    Upsample,
)


def live_operations(graph: Graph) -> tuple[Operation, ...]:
    """The operations that an output depends on, in order; the others would be computed for nobody."""
    wanted = set(graph.outputs.values())
    for operation in reversed(graph.operations):
        if operation.name in wanted:
            wanted.update(operation.inputs)
    return tuple(operation for operation in graph.operations if operation.name in wanted)


def lower(graph: Graph) -> Lowered:
    """Nodes and views of ``graph``.

    Raises
    ------
    CompileError
        Names an operation that the accelerator cannot do, and why.
    """
    if not graph.outputs:
        raise CompileError(f"graph {graph.name!r} has no outputs: nothing to compute")
    lowering = _Lowering(graph)
    for operation in lowering.operations:
        lowering.visit(operation)
    lowering.check_outputs()
    if "heatmap" in graph.outputs:
        lowering.add_peaks(graph.outputs["heatmap"])
    return Lowered(tuple(lowering.nodes), lowering.views, graph.tensors)


@dataclass(frozen=True)
class _Pending:
    """A depthwise convolution that its convolution will fuse, and how often its output has been upsampled since."""

    operation: Depthwise
    level: int = 0


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = graph.tensors
        self.operations = live_operations(graph)
        self.outputs = set(graph.outputs.values())
        self.readers: dict[str, list[Operation]] = {operation.name: [] for operation in self.operations}
        for operation in self.operations:
            for name in operation.inputs:
                self.readers[name].append(operation)
        self.nodes: list[Node] = []
        self.views: dict[str, View] = {}
        self.pending: dict[str, _Pending] = {}
        self.copies: dict[str, View] = {}

    def visit(self, operation: Operation) -> None:
        if operation.name in self.views:
            return  # its node was made together with a sibling's
        if not isinstance(operation, Input | Convolution):
            for name in operation.inputs:
                if name not in self.pending and (self.views[name].producer == IMAGE).any():
                    reason = "reads the image: expected a 3x3 convolution of stride 2 or 4 to be its only reader"
                    raise refuse(operation, self.tensors, reason)
        handlers: dict[type[Operation], Callable[..., None]] = {
            Input: self._input,
            Convolution: self._convolution,
            Depthwise: self._depthwise,
            MaxPool: self._max_pool,
            Upsample: self._upsample,
            Concat: self._concat,
            Slice: self._slice,
            Shuffle: self._shuffle,
        }
        handlers[type(operation)](operation)

    def check_outputs(self) -> None:
        for role, name in self.graph.outputs.items():
            if (self.views[name].producer == IMAGE).any():
                raise CompileError(f"output {role!r} is the image {name!r}: expected the result of an operation")

    # -- channels renamed

    def _input(self, operation: Input) -> None:
        self.views[operation.name] = View.of_node(IMAGE, 3)

    def _slice(self, operation: Slice) -> None:
        self.views[operation.name] = self.views[operation.inputs[0]][operation.start : operation.stop]

    def _shuffle(self, operation: Shuffle) -> None:
        view = self.views[operation.inputs[0]]
        order = np.arange(len(view)).reshape(operation.groups, -1).T.reshape(-1)
        self.views[operation.name] = view[order]

    def _concat(self, operation: Concat) -> None:
        views = [self.views[name] for name in operation.inputs]
        if len({view.level for view in views}) > 1:
            views = [self._materialize(name) for name in operation.inputs]
        self.views[operation.name] = View(
            np.concatenate([view.producer for view in views]),
            np.concatenate([view.channel for view in views]),
            views[0].level,
        )

    def _upsample(self, operation: Upsample) -> None:
        name = operation.inputs[0]
        if name in self.pending:
            self.pending[operation.name] = replace(self.pending[name], level=1)
            return
        view = self._materialize(name) if self.views[name].level else self.views[name]
        self.views[operation.name] = replace(view, level=1)

    def _materialize(self, name: str) -> View:
        """The tensor at its full size in memory."""
        if not self.views[name].level:
            return self.views[name]
        if name not in self.copies:
            size = self._size(name)
            self.copies[name] = self._add(
                Node(self._next(), Kind.COPY, (Branch(self.views[name]),), size, size, upsample=1)
            )
        return self.copies[name]

    # -- computed

    def _size(self, name: str) -> tuple[int, int]:
        return self.tensors[name].height, self.tensors[name].width

    def _next(self) -> int:
        return len(self.nodes)

    def _add(self, node: Node, level: int = 0) -> View:
        """Append a node; the view of all its output channels."""
        self.nodes.append(node)
        return View.of_node(node.id, node.channels, level=level)

    def _convolution(self, operation: Convolution) -> None:
        if operation.stride == 4 and self.graph[operation.inputs[0]].kind != Input.kind:
            raise refuse(operation, self.tensors, "stride 4: expected 1 or 2, except on the image")
        if operation.inputs[0] in self.pending:
            self._fused(operation, self.pending[operation.inputs[0]])
        elif (self.views[operation.inputs[0]].producer == IMAGE).any():
            self._stem(operation)
        elif operation.weights.shape[1] == 3:
            self._full(operation)
        else:
            self._pointwise(operation)

    def _stem(self, operation: Convolution) -> None:
        source = self.graph[operation.inputs[0]]
        height, width = self._size(source.name)
        if not isinstance(source, Input) or operation.weights.shape[1] != 3 or operation.stride == 1:
            reason = "reads the image: expected a 3x3 convolution of stride 2 or 4, of the image alone"
            raise refuse(operation, self.tensors, reason)
        if height % operation.stride or width % operation.stride:
            reason = f"image {height} x {width}: expected multiples of the stride {operation.stride}"
            raise refuse(operation, self.tensors, reason)
        size = self._size(operation.name)
        branch = Branch(self.views[source.name], convolution=operation)
        node = Node(self._next(), Kind.STEM, (branch,), size, size, operation.stride, wide=operation.wide)
        self.views[operation.name] = self._add(node)

    def _full(self, operation: Convolution) -> None:
        name = operation.inputs[0]
        view = self.views[name]
        node = Node(
            self._next(),
            Kind.FULL,
            (Branch(view, convolution=operation),),
            self._size(name),
            self._size(operation.name),
            operation.stride,
            upsample=view.level,
            wide=operation.wide,
            pad=self.tensors[name].zero_point,
        )
        self.views[operation.name] = self._add(node)

    def _siblings(self, operation: Convolution) -> list[Convolution]:
        """The 1x1 convolutions of the same input that may share a step, ``operation`` (the first in order) included."""
        return [
            other
            for other in self.readers[operation.inputs[0]]
            if isinstance(other, Convolution) and _shareable(other) == _shareable(operation) is not None
        ] or [operation]

    def _pointwise(self, operation: Convolution) -> None:
        """At the size of the stored input: a 1x1 convolution commutes with nearest upsampling, bit for bit."""
        name = operation.inputs[0]
        view = self.views[name]
        if operation.stride == 1:
            height, width = self._size(name)
            size = (height >> view.level, width >> view.level)
            siblings = self._siblings(operation)
            branches = tuple(Branch(replace(view, level=0), convolution=sibling) for sibling in siblings)
            node = Node(self._next(), Kind.POINTWISE, branches, size, size, wide=operation.wide)
            self._name_outputs(siblings, self._add(node, view.level))
            return
        branch = Branch(view, convolution=operation)
        node = Node(
            self._next(),
            Kind.POINTWISE,
            (branch,),
            self._size(name),
            self._size(operation.name),
            operation.stride,
            upsample=view.level,
            wide=operation.wide,
        )
        self.views[operation.name] = self._add(node)

    def _name_outputs(self, siblings: list[Convolution], view: View) -> None:
        first = 0
        for sibling in siblings:
            count = sibling.weights.shape[0]
            self.views[sibling.name] = view[slice(first, first + count)]
            first += count

    def _fused(self, operation: Convolution, pending: _Pending) -> None:
        siblings = self._siblings(operation)
        depthwise = pending.operation
        view, dilation = self._depthwise_views(depthwise)
        node = Node(
            self._next(),
            Kind.POINTWISE,
            tuple(Branch(view, depthwise, sibling) for sibling in siblings),
            self._size(depthwise.inputs[0]),
            self._size(depthwise.name),
            depthwise.stride,
            upsample=view.level,
            dilation=dilation,
            wide=operation.wide,
            pad=self.tensors[depthwise.inputs[0]].zero_point,
        )
        self._name_outputs(siblings, self._add(node, pending.level))

    def _depthwise_views(self, operation: Depthwise) -> tuple[View, View | None]:
        """Input and dilation, both stored at the same size."""
        view = self.views[operation.inputs[0]]
        if len(operation.inputs) == 1:
            return view, None
        dilation = self.views[operation.inputs[1]]
        self._check_dilation(operation, dilation)
        if dilation.level != view.level:
            return self._materialize(operation.inputs[0]), self._materialize(operation.inputs[1])
        return view, dilation

    def _check_dilation(self, operation: Depthwise, dilation: View) -> None:
        producer = self.nodes[int(dilation.producer[0])]
        first = 0
        for branch in producer.branches:
            if first <= dilation.channel[0] < first + branch.channels and branch.convolution is not None:
                r = branch.convolution.requantize
                if r.lo < 0 or r.hi > MAX_DILATION:
                    reason = (
                        f"dilations of {branch.convolution.name!r} in [{r.lo}, {r.hi}]: expected [0, {MAX_DILATION}]"
                    )
                    raise refuse(operation, self.tensors, reason)
                return
            first += branch.channels
        reason = f"dilation {operation.inputs[1]!r}: expected the result of a convolution"
        raise refuse(operation, self.tensors, reason)

    def _depthwise(self, operation: Depthwise) -> None:
        if self._is_fused(operation):
            self.pending[operation.name] = _Pending(operation)
            return
        view, dilation = self._depthwise_views(operation)
        node = Node(
            self._next(),
            Kind.DEPTHWISE,
            (Branch(view, operation),),
            self._size(operation.inputs[0]),
            self._size(operation.name),
            operation.stride,
            upsample=view.level,
            dilation=dilation,
            pad=self.tensors[operation.inputs[0]].zero_point,
        )
        self.views[operation.name] = self._add(node)

    def _is_fused(self, operation: Depthwise) -> bool:
        """Whether everything that reads it is one step of 1x1 convolutions, perhaps behind one upsampling."""
        name = operation.name
        upsampled = False
        while len(self.readers[name]) == 1 and isinstance(self.readers[name][0], Upsample) and not upsampled:
            if name in self.outputs:
                return False
            name, upsampled = self.readers[name][0].name, True
        readers = self.readers[name]
        if name in self.outputs or not readers:
            return False
        first = readers[0]
        if not isinstance(first, Convolution) or first.weights.shape[1] != 1 or first.stride != 1:
            return False
        return len(readers) == 1 or len(self._siblings(first)) == len(readers)

    def _max_pool(self, operation: MaxPool) -> None:
        name = operation.inputs[0]
        view = self.views[name]
        node = Node(
            self._next(),
            Kind.MAX,
            (Branch(view, pool=operation),),
            self._size(name),
            self._size(operation.name),
            operation.stride,
            upsample=view.level,
            pad=self.tensors[name].zero_point,
        )
        self.views[operation.name] = self._add(node)

    def add_peaks(self, name: str) -> None:
        """The final step: local maxima of the heatmap."""
        operation = self.graph[name]
        if self.tensors[name].dtype != "int16" or not isinstance(operation, Convolution):
            raise refuse(operation, self.tensors, "is the heatmap: expected a convolution with int16 results")
        r = operation.requantize
        if r.lo * 2**r.s < -(2**47):
            reason = f"is the heatmap, with lo = {r.lo}, s = {r.s}: expected lo * 2**s of at least -2**47"
            raise refuse(operation, self.tensors, reason)
        view = self.views[name]
        size = self._size(name)
        self._add(Node(self._next(), Kind.PEAKS, (Branch(view),), size, size, upsample=view.level, wide=True))


def _shareable(operation: Convolution) -> tuple[int, ...] | None:
    """What 1x1 convolutions of one input must agree on to share a step; None if it cannot be shared."""
    if operation.weights.shape[1] != 1 or operation.stride != 1:
        return None
    r = operation.requantize
    return (r.s, r.lo, r.hi, operation.weight_bits, operation.wide)
