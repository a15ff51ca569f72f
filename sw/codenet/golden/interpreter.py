# SPDX-License-Identifier: Apache-2.0
"""Evaluates a graph, operation by operation, with the golden model: what every other implementation must equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from codenet.errors import GraphError
from codenet.golden import operators as golden
from codenet.graph import (
    Concat,
    Convolution,
    Depthwise,
    Graph,
    MaxPool,
    Operation,
    Shuffle,
    Slice,
    Upsample,
    consumers,
)


def run(graph: Graph, image: np.ndarray, keep: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Tensors of ``graph`` for one image.

    Parameters
    ----------
    image:
        int8 ``[height, width, 3]`` of the graph's input: pixel - 128.
    keep:
        Names of the tensors to return, for example ``graph.outputs.values()``; all others are freed after their last
        use. ``None``: return all.

    Returns
    -------
    ``[H, W, C]`` by name, in order of computation, of the dtype that the graph gives: int8, or int16 for wide outputs.

    Raises
    ------
    GraphError
        The image does not match the graph's input, or a name is not a tensor of the graph.
    """
    image = np.asarray(image)
    if image.dtype != np.int8 or image.shape != graph.input.shape:
        raise GraphError(
            f"image is {image.dtype} {list(image.shape)}: expected int8 {list(graph.input.shape)} (pixel - 128) "
            f"for graph {graph.name!r}"
        )
    wanted = set(graph.tensors) if keep is None else set(keep)
    if unknown := sorted(wanted - set(graph.tensors)):
        raise GraphError(f"graph {graph.name!r} has no tensor {unknown[0]!r}")
    uses = {name: len(readers) for name, readers in consumers(graph).items()}
    tensors = {graph.input.name: image}
    for operation in graph.operations[1:]:
        try:
            tensors[operation.name] = _evaluate(graph, operation, [tensors[name] for name in operation.inputs])
        except GraphError as error:
            raise GraphError(f"{operation.kind} {operation.name!r}: {error}") from error
        for name in {*operation.inputs, operation.name}:
            uses[name] -= operation.inputs.count(name)
            if not uses[name] and name not in wanted:
                del tensors[name]
    return {name: tensor for name, tensor in tensors.items() if name in wanted}


def peaks(graph: Graph, tensors: Mapping[str, np.ndarray], threshold: int) -> np.ndarray:
    """Peaks of the heatmap among ``tensors`` (of :func:`run`): :func:`codenet.golden.operators.peaks`.

    Raises
    ------
    GraphError
        The graph has no heatmap, or it is not among the tensors.
    """
    if "heatmap" not in graph.outputs:
        raise GraphError(f"graph {graph.name!r} has outputs {sorted(graph.outputs)}: expected a heatmap among them")
    name = graph.outputs["heatmap"]
    if name not in tensors:
        raise GraphError(f"heatmap {name!r} is not among the tensors {sorted(tensors)}")
    return golden.peaks(tensors[name], threshold)


def _evaluate(graph: Graph, op: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    x = inputs[0]
    if isinstance(op, Convolution | Depthwise):
        zero_point = graph.tensors[op.inputs[0]].zero_point
        if isinstance(op, Convolution):
            acc = golden.convolution(x, op.weights, op.stride, zero_point)
        else:
            dilation = inputs[1][:, :, 0] if len(inputs) == 2 else 1
            acc = golden.depthwise(x, op.weights, dilation, op.stride, zero_point)
        r = op.requantize
        return golden.requantize(acc, r.m, r.b, r.s, r.lo, r.hi, np.dtype(graph.tensors[op.name].dtype).type)
    if isinstance(op, MaxPool):
        return golden.maximum(x, op.stride, graph.tensors[op.inputs[0]].zero_point)
    if isinstance(op, Upsample):
        return golden.upsample(x)
    if isinstance(op, Concat):
        return np.concatenate(inputs, axis=2)
    if isinstance(op, Slice):
        return x[:, :, op.start : op.stop]
    assert isinstance(op, Shuffle)
    height, width, channels = x.shape
    return x.reshape(height, width, op.groups, channels // op.groups).swapaxes(2, 3).reshape(x.shape)
