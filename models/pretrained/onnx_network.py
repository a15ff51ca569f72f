# SPDX-License-Identifier: Apache-2.0
"""Convolutional networks in ONNX files as PyTorch modules: for any device, precision, batch and input size.

Only what such networks are made of: convolutions, activations, pooling, nearest upsampling, slices, concatenations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from codenet.errors import CodenetError


class OnnxNetwork(nn.Module):
    """What tensors of an ONNX file are for an input ``[N, C, H, W]``: a list of ``[N, C', H', W']``.

    ``tensors``: their names in the file. Only the operations that these need are run, each in the precision of its
    weights. Raises `CodenetError` for a file that cannot be read, names that it lacks, operations that are none of the
    above, and where the package onnx is missing.
    """

    def __init__(self, path: Path, tensors: Sequence[str]) -> None:
        super().__init__()
        graph = read_graph(path)
        self.tensors = tuple(tensors)
        self._input = graph.input[0].name
        constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
        self._steps: list[tuple[str, list[str], str, Callable[..., torch.Tensor]]] = []
        made_by = {name: node for node in graph.node for name in node.output}
        for node in _needed(made_by, self.tensors, {self._input, *constants}, path):
            names = [name for name in node.input if name and name not in constants]
            values = {place: constants[name] for place, name in enumerate(node.input) if name in constants}
            step = self._step(node, values, path)
            if isinstance(step, nn.Module):
                self.add_module(f"step{len(self._steps)}", step)
            self._steps.append((node.op_type, names, node.output[0], step))

    @staticmethod
    def _step(node: Any, constants: dict[int, np.ndarray], path: Path) -> Callable[..., torch.Tensor]:
        import onnx

        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        try:
            return _OPERATIONS[node.op_type](attributes, constants)
        except (KeyError, ValueError, IndexError) as error:
            raise CodenetError(
                f"network {path}: operation {node.name or node.output[0]} ({node.op_type}) is none that can be run; "
                f"expected one of {', '.join(sorted(_OPERATIONS))}, in two dimensions: {error}"
            ) from error

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        known = {self._input: x}
        for _, inputs, output, step in self._steps:
            known[output] = step(*(known[name] for name in inputs))
        return [known[name] for name in self.tensors]


def read_graph(path: Path) -> Any:
    """The graph of an ONNX file; `CodenetError` if it cannot be read."""
    try:
        import onnx
    except ImportError as error:
        raise CodenetError(f"network {path}: the package onnx is missing: pip install onnx") from error
    if not path.is_file():
        raise CodenetError(f"network {path}: no such file, expected an ONNX file")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's own types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CodenetError(f"network {path}: cannot be read as an ONNX file: {reason}") from error
    return model.graph


def _array(tensor: Any) -> np.ndarray:
    import onnx

    return onnx.numpy_helper.to_array(tensor)  # type: ignore[no-any-return]


def _needed(made_by: dict[str, Any], tensors: Sequence[str], known: set[str], path: Path) -> list[Any]:
    """The operations that ``tensors`` need, in an order in which they can run."""
    order: list[Any] = []
    done = set(known)
    stack = list(reversed(tensors))
    while stack:
        name = stack[-1]
        if name in done:
            stack.pop()
            continue
        if name not in made_by:
            raise CodenetError(f"network {path}: has no tensor {name!r}")
        missing = [other for other in made_by[name].input if other and other not in done]
        if missing:
            stack += missing
            continue
        order.append(made_by[name])
        done.update(made_by[name].output)
        stack.pop()
    return order


def _conv(attributes: dict[str, Any], constants: dict[int, np.ndarray]) -> nn.Module:
    weight, bias = constants[1], constants.get(2)
    groups, strides = attributes.get("group", 1), attributes.get("strides", [1, 1])
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        len(weight),
        weight.shape[2:],
        stride=tuple(strides),
        padding=_padding(attributes),
        dilation=tuple(attributes.get("dilations", [1, 1])),
        groups=groups,
        bias=bias is not None,
    )
    conv.weight.data.copy_(torch.from_numpy(weight.copy()))
    if bias is not None:
        conv.bias.data.copy_(torch.from_numpy(bias.copy()))  # type: ignore[union-attr]
    return conv


def _padding(attributes: dict[str, Any]) -> tuple[int, int]:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError(f"pads {attributes.get('pads')}")
    return top, left


def _pool(attributes: dict[str, Any], _constants: dict[int, np.ndarray]) -> nn.Module:
    if attributes.get("ceil_mode", 0):
        raise ValueError("ceil_mode 1")
    return nn.MaxPool2d(
        tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", [1, 1])), _padding(attributes)
    )


def _resize(attributes: dict[str, Any], constants: dict[int, np.ndarray]) -> Callable[..., torch.Tensor]:
    if attributes.get("mode", b"nearest") != b"nearest" or 2 not in constants or len(constants[2]) != 4:
        raise ValueError(f"mode {attributes.get('mode')}")
    scales = tuple(float(scale) for scale in constants[2][2:])
    return lambda x: F.interpolate(x, scale_factor=scales, mode="nearest")


def _slice(_attributes: dict[str, Any], constants: dict[int, np.ndarray]) -> Callable[..., torch.Tensor]:
    starts, ends, axes = (constants[place].tolist() for place in (1, 2, 3))
    steps = constants[4].tolist() if 4 in constants else [1] * len(axes)
    chosen = [slice(None)] * 4
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return lambda x: x[tuple(chosen)]


def _pair(function: Callable[..., torch.Tensor]) -> Callable[..., Callable[..., torch.Tensor]]:
    """An operation on tensors alone."""

    def make(_attributes: dict[str, Any], constants: dict[int, np.ndarray]) -> Callable[..., torch.Tensor]:
        if constants:
            raise ValueError("a constant operand")
        return function

    return make


_OPERATIONS: dict[str, Callable[[dict[str, Any], dict[int, np.ndarray]], Callable[..., torch.Tensor]]] = {
    "Add": _pair(torch.add),
    "Concat": lambda attributes, _constants: lambda *x: torch.cat(x, dim=attributes["axis"]),
    "Conv": _conv,
    "MaxPool": _pool,
    "Mul": _pair(torch.mul),
    "Relu": _pair(torch.relu),
    "Resize": _resize,
    "Sigmoid": _pair(torch.sigmoid),
    "Slice": _slice,
}
