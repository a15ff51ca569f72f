# SPDX-License-Identifier: Apache-2.0
"""Whether the fields that a file gives can be a program's: their types and ranges, and that all lies in its memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codenet.config import VECTOR_BYTES
from codenet.errors import FormatError
from codenet.isa import PEAK_BYTES, DepthwiseOp

if TYPE_CHECKING:
    from codenet.program.memory import InputLayout, PlacedTensor

MAX_SIDE, MAX_CHANNELS = 4095, 65535
"""Of a tensor: what descriptors and peak records can say."""

MAX_MEMORY = 2**32 - 1


def check_fields(fields: Mapping[str, Any]) -> None:
    """Check the fields of a :class:`~codenet.program.Program`.

    Raises
    ------
    FormatError
        Names the field, its value and what was expected.
    """
    steps, memory = len(fields["descriptors"]), fields["memory_bytes"]
    _number("steps", steps, 1)
    _number("memory_bytes", memory, len(fields["image"]), MAX_MEMORY)
    _number("graph_macs", fields["graph_macs"], 0)
    _texts("name", [fields["name"]])
    for name in ("step_names", "step_macs"):
        _require(len(fields[name]) == steps, f"number of {name}", len(fields[name]), f"one for each of {steps} steps")
    _texts("step_names", fields["step_names"])
    _texts("classes", fields["classes"])
    for macs in fields["step_macs"]:
        _number("step_macs", macs, 0)
    _require(isinstance(fields["metadata"], dict), "metadata", fields["metadata"], "an object")
    _check_input(fields["input"], memory)
    for tensor in (*fields["tensors"], *fields["outputs"].values()):
        _check_tensor(tensor, steps, memory)
    last = fields["descriptors"][-1]
    if last.depthwise_op == DepthwiseOp.PEAKS:
        _number("peak_address", last.peak_address, 0, memory - PEAK_BYTES * last.peak_capacity)


def _check_input(layout: InputLayout, memory: int) -> None:
    _number("input height", layout.height, 1, MAX_SIDE)
    _number("input width", layout.width, 1, MAX_SIDE)
    _number("input row_bytes", layout.row_bytes, 4 * (layout.width + 1), MAX_MEMORY)
    _number("input offset", layout.offset, 0, memory - layout.size)


def _check_tensor(tensor: PlacedTensor, steps: int, memory: int) -> None:
    _texts("tensor name", [tensor.name])
    what = f"tensor {tensor.name!r}:"
    _number(f"{what} height", tensor.height, 1, MAX_SIDE)
    _number(f"{what} width", tensor.width, 1, MAX_SIDE)
    _number(f"{what} channels", tensor.channels, 1, MAX_CHANNELS)
    _number(f"{what} step", tensor.step, 0, steps - 1)
    _number(f"{what} live_until", tensor.live_until, tensor.step, steps)
    _number(f"{what} upsample", tensor.upsample, 0, 1)
    _number(f"{what} zero_point", tensor.zero_point, -(2**15), 2**15 - 1)
    _require(tensor.dtype in ("int8", "int16"), f"{what} dtype", tensor.dtype, "int8 or int16")
    usable = isinstance(tensor.scale, float | int) and math.isfinite(tensor.scale) and tensor.scale > 0
    _require(usable, f"{what} scale", tensor.scale, "a number above 0")
    size = (tensor.height >> tensor.upsample) * (tensor.width >> tensor.upsample) * VECTOR_BYTES
    for plane in tensor.planes:
        _number(f"{what} plane", plane, 0, memory - size)
    _number(f"{what} length of index", len(tensor.index), tensor.channels, tensor.channels)
    lanes = len(tensor.planes) * tensor.lanes
    _number(f"{what} index", int(tensor.index.min()), 0, lanes - 1)
    _number(f"{what} index", int(tensor.index.max()), 0, lanes - 1)


def _number(what: str, value: Any, low: int, high: int | None = None) -> None:
    limits = f"{low} or more" if high is None else f"{low} to {high}"
    good = type(value) is int and low <= value and (high is None or value <= high)
    _require(good, what, value, f"an integer, {limits}")


def _texts(what: str, values: Any) -> None:
    for value in values:
        _require(isinstance(value, str), what, value, "a text")


def _require(condition: bool, what: str, value: Any, expected: str) -> None:
    if not condition:
        raise FormatError(f"{what} = {value!r:.100}: expected {expected}")
