# SPDX-License-Identifier: Apache-2.0
"""How the compiler says no: the operation, its shape, and the limit that it breaks."""

from __future__ import annotations

from collections.abc import Mapping

from codenet.errors import CompileError
from codenet.graph import Convolution, Operation, Tensor


def describe(operation: Operation, tensors: Mapping[str, Tensor]) -> str:
    """For example ``convolution 'head' 1x1 stride 1, 64x64x256 -> 64x64x64``."""
    kernel = f" {operation.weights.shape[1]}x{operation.weights.shape[1]}" if isinstance(operation, Convolution) else ""
    stride = getattr(operation, "stride", None)
    setting = f"{kernel} stride {stride}," if stride is not None else kernel
    shapes = [" x ".join(map(str, tensors[name].shape)) for name in operation.inputs]
    out = " x ".join(map(str, tensors[operation.name].shape))
    arrow = f" {' and '.join(shapes)} -> {out}" if shapes else f" {out}"
    return f"{operation.kind} {operation.name!r}{setting}{arrow}"


def refuse(operation: Operation, tensors: Mapping[str, Tensor], reason: str) -> CompileError:
    """The error to raise."""
    return CompileError(f"{describe(operation, tensors)}: {reason}")
