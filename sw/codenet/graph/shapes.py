# SPDX-License-Identifier: Apache-2.0
"""Shape inference: from operations to tensors, with every check that makes a graph a valid one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real

import numpy as np

from codenet.errors import GraphError
from codenet.fit import FITS
from codenet.graph.operations import (
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    KINDS,
    Concat,
    Convolution,
    Depthwise,
    Input,
    MaxPool,
    Operation,
    Requantize,
    Shuffle,
    Slice,
    Tensor,
    Upsample,
)


def _require(condition: bool, operation: Operation, message: str) -> None:
    if not condition:
        raise GraphError(f"{operation.kind} {operation.name!r}: {message}")


def infer(operations: Iterable[Operation], outputs: Mapping[str, str], classes: Sequence[str]) -> dict[str, Tensor]:
    """Every tensor of a graph by name, in order of computation.

    Raises
    ------
    GraphError
        Names the operation, the value and what was expected.
    """
    tensors: dict[str, Tensor] = {}
    for index, operation in enumerate(operations):
        _require(operation.kind in KINDS, operation, f"unknown kind; expected one of {sorted(KINDS)}")
        _require(isinstance(operation.name, str), operation, "expected a text for a name")
        _require(operation.name not in tensors, operation, "the name is used twice")
        _check_types(operation, operation)
        _require(
            (index == 0) == isinstance(operation, Input), operation, "expected exactly one input, the first operation"
        )
        for name in operation.inputs:
            _require(name in tensors, operation, f"input {name!r} is not the name of an earlier operation")
        tensors[operation.name] = _output(operation, [tensors[name] for name in operation.inputs])
    for role, name in outputs.items():
        if name not in tensors:
            raise GraphError(f"output {role!r} is {name!r}: expected the name of an operation")
    if "heatmap" in outputs:
        channels = tensors[outputs["heatmap"]].channels
        if len(classes) != channels:
            raise GraphError(f"{len(classes)} class names for a heatmap of {channels} channels: expected one each")
    for name in classes:
        if not isinstance(name, str):
            raise GraphError(f"class name {name!r}: expected a text")
    return tensors


def _check_types(op: Operation, part: Operation | Requantize) -> None:
    """Whole numbers, scales and flags of an operation, or of its requantizer, are such."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.type == "int":
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            _require(whole, op, f"{field.name} = {value!r:.100}: expected a whole number")
        elif field.type == "float":
            number = isinstance(value, Real) and 0 < float(value) < math.inf
            _require(number, op, f"{field.name} = {value!r:.100}: expected a number above 0")
        elif field.type == "bool":
            _require(isinstance(value, bool | np.bool_), op, f"{field.name} = {value!r:.100}: expected true or false")
        elif isinstance(value, Requantize):
            _check_types(op, value)


def _output(op: Operation, inputs: list[Tensor]) -> Tensor:
    if isinstance(op, Input):
        _require(op.height > 0 and op.width > 0, op, f"size {op.height}x{op.width}: expected at least one pixel")
        _require(op.fit in FITS, op, f"fit {op.fit!r}: expected one of {FITS}")
        return Tensor(op.name, op.height, op.width, 3, INPUT_SCALE, INPUT_ZERO_POINT)
    expected = {"concat": None, "depthwise": (1, 2)}.get(op.kind, (1,))
    _require(expected is None or len(inputs) in expected, op, f"{len(inputs)} inputs: expected {expected}")
    _require(len(inputs) > 0, op, "no inputs")
    x = inputs[0]
    for tensor in inputs:
        _require(tensor.dtype == "int8", op, f"input {tensor.name!r} is {tensor.dtype}: expected int8")
    if isinstance(op, Convolution):
        _check_convolution(op, x)
        dtype = "int16" if op.wide else "int8"
        return Tensor(
            op.name,
            -(-x.height // op.stride),
            -(-x.width // op.stride),
            op.weights.shape[0],
            op.scale,
            op.zero_point,
            dtype,
        )
    if isinstance(op, Depthwise):
        _check_depthwise(op, inputs)
        return Tensor(op.name, -(-x.height // op.stride), -(-x.width // op.stride), x.channels, op.scale, op.zero_point)
    if isinstance(op, MaxPool):
        _require(op.stride in (1, 2), op, f"stride {op.stride}: expected 1 or 2")
        _require(x.zero_point == -128, op, f"input zero point {x.zero_point}: expected -128, the smallest value")
        return dataclasses.replace(x, name=op.name, height=-(-x.height // op.stride), width=-(-x.width // op.stride))
    if isinstance(op, Upsample):
        return dataclasses.replace(x, name=op.name, height=2 * x.height, width=2 * x.width)
    if isinstance(op, Concat):
        for tensor in inputs[1:]:
            same = (tensor.height, tensor.width, tensor.scale, tensor.zero_point)
            _require(same == (x.height, x.width, x.scale, x.zero_point), op, f"{tensor} does not match {x}")
        return dataclasses.replace(x, name=op.name, channels=sum(tensor.channels for tensor in inputs))
    if isinstance(op, Slice):
        _require(0 <= op.start < op.stop <= x.channels, op, f"channels {op.start}:{op.stop} of {x.channels}")
        return dataclasses.replace(x, name=op.name, channels=op.stop - op.start)
    assert isinstance(op, Shuffle)
    _require(op.groups > 0 and x.channels % op.groups == 0, op, f"{op.groups} groups of {x.channels} channels")
    return dataclasses.replace(x, name=op.name)


def _check_convolution(op: Convolution, x: Tensor) -> None:
    shape = op.weights.shape
    _require(len(shape) == 4 and shape[1] == shape[2], op, f"weights {list(shape)}: expected [O, K, K, I]")
    _require(shape[1] in (1, 3), op, f"kernel {shape[1]}: expected 1 or 3")
    _require(shape[3] == x.channels, op, f"weights {list(shape)} on {x.channels} channels")
    _require(op.weight_bits in (4, 8), op, f"weight_bits {op.weight_bits}: expected 4 or 8")
    _require(op.stride in (1, 2, 4), op, f"stride {op.stride}: expected 1, 2 or 4")
    _check_weights(op, op.weights, 7 if op.weight_bits == 4 else 127)
    _check_requantize(op, op.requantize, shape[0], wide=op.wide)
    _check_zero_point(op, op.zero_point, wide=op.wide)


def _check_depthwise(op: Depthwise, inputs: list[Tensor]) -> None:
    x = inputs[0]
    shape = op.weights.shape
    _require(shape == (x.channels, 3, 3), op, f"weights {list(shape)}: expected {[x.channels, 3, 3]}")
    _require(op.stride in (1, 2), op, f"stride {op.stride}: expected 1 or 2")
    if len(inputs) == 2:
        _require(op.stride == 1, op, f"stride {op.stride} with dilations: expected 1")
        expected = (x.height, x.width, 1)
        _require(inputs[1].shape == expected, op, f"dilations {list(inputs[1].shape)}: expected {list(expected)}")
    _check_weights(op, op.weights, 7)
    _check_requantize(op, op.requantize, x.channels, wide=False)
    _check_zero_point(op, op.zero_point, wide=False)


def _check_weights(op: Operation, weights: np.ndarray, limit: int) -> None:
    _require(weights.dtype == np.int8, op, f"weights are {weights.dtype}: expected int8")
    if weights.size:
        low, high = int(weights.min()), int(weights.max())
        _require(-limit <= low and high <= limit, op, f"weights in [{low}, {high}]: expected [-{limit}, {limit}]")


def _check_zero_point(op: Operation, zero_point: int, *, wide: bool) -> None:
    low, high = (-32768, 32767) if wide else (-128, 127)
    _require(low <= zero_point <= high, op, f"zero point {zero_point}: expected {low} to {high}")


def _check_requantize(op: Operation, r: Requantize, channels: int, *, wide: bool) -> None:
    limits = (-32768, 32767) if wide else (-128, 127)
    for name, array in (("m", r.m), ("b", r.b)):
        _require(array.dtype.kind in "iu", op, f"requantize {name} is {array.dtype}: expected integers")
    _require(r.m.shape == (channels,), op, f"requantize m {list(r.m.shape)}: expected [{channels}]")
    _require(r.b.shape == (channels,), op, f"requantize b {list(r.b.shape)}: expected [{channels}]")
    _require(bool(np.all(np.abs(r.m.astype(np.int64)) < 2**15)), op, "requantize m exceeds 16 bits")
    _require(bool(np.all((r.b >= -(2**47)) & (r.b < 2**47))), op, "requantize b exceeds 48 bits")
    _require(0 <= r.s <= 47, op, f"requantize s = {r.s}: expected 0 to 47")
    _require(limits[0] <= r.lo <= r.hi <= limits[1], op, f"requantize range [{r.lo}, {r.hi}]: expected within {limits}")


def macs(op: Operation, tensors: Mapping[str, Tensor]) -> int:
    """Multiply-accumulates of an operation, padding included."""
    if isinstance(op, Convolution | Depthwise):
        out = tensors[op.name]
        return out.height * out.width * int(op.weights.size)
    return 0
