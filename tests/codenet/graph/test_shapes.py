# SPDX-License-Identifier: Apache-2.0
"""Shapes that follow from a graph, and graphs that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codenet.errors import GraphError
from codenet.graph import (
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    Concat,
    Convolution,
    Depthwise,
    Graph,
    Input,
    MaxPool,
    Operation,
    Requantize,
    Shuffle,
    Slice,
    Tensor,
    Upsample,
    consumers,
)

IMAGE = Input(name="image", height=5, width=7)


def requantize(channels: int, **changes: Any) -> Requantize:
    values = {"m": np.ones(channels, np.int16), "b": np.zeros(channels, np.int64), "s": 0, "lo": -128, "hi": 127}
    return Requantize(**(values | changes))


def convolution(shape: tuple[int, ...] = (4, 1, 1, 3), **changes: Any) -> Convolution:
    values = {
        "name": "conv",
        "inputs": ("image",),
        "weights": np.ones(shape, np.int8),
        "scale": 0.5,
        "zero_point": -128,
    }
    return Convolution(**(values | {"requantize": requantize(shape[0])} | changes))


def depthwise(channels: int = 3, **changes: Any) -> Depthwise:
    weights = np.ones((channels, 3, 3), np.int8)
    values = {"name": "dw", "inputs": ("image",), "weights": weights, "scale": 0.5, "zero_point": 0}
    return Depthwise(**(values | {"requantize": requantize(channels)} | changes))


def graph(*operations: Operation, outputs: dict[str, str] | None = None, classes: tuple[str, ...] = ()) -> Graph:
    return Graph("test", (IMAGE, *operations), outputs or {}, classes)


def test_shapes_by_hand() -> None:
    made = graph(
        convolution(stride=2),
        convolution(
            (6, 3, 3, 4), name="wide", inputs=("conv",), wide=True, requantize=requantize(6, lo=-9999, hi=9999)
        ),
        depthwise(4, inputs=("conv",), stride=2),
        MaxPool(name="pool", inputs=("conv",)),
        Upsample(name="up", inputs=("pool",)),
        Concat(name="both", inputs=("conv", "conv")),
        Slice(name="part", inputs=("both",), start=1, stop=4),
        Shuffle(name="shuffled", inputs=("both",), groups=4),
    )
    assert {name: tensor.shape for name, tensor in made.tensors.items()} == {
        "image": (5, 7, 3),
        "conv": (3, 4, 4),
        "wide": (3, 4, 6),
        "dw": (2, 2, 4),
        "pool": (2, 2, 4),
        "up": (4, 4, 4),
        "both": (3, 4, 8),
        "part": (3, 4, 3),
        "shuffled": (3, 4, 8),
    }
    assert made.input == Tensor("image", 5, 7, 3, INPUT_SCALE, INPUT_ZERO_POINT)
    assert (made.tensors["wide"].dtype, made.tensors["up"].zero_point, made.tensors["dw"].zero_point) == (
        "int16",
        -128,
        0,
    )
    assert made.macs() == {"conv": 12 * 4 * 3, "wide": 12 * 6 * 9 * 4, "dw": 4 * 4 * 9}
    assert [operation.name for operation in consumers(made)["conv"]] == ["wide", "dw", "pool", "both", "both"]
    with pytest.raises(GraphError, match="has no operation 'nothing'"):
        made["nothing"]


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([IMAGE], "the name is used twice"),
        ([Input(name="other", height=1, width=1)], "expected exactly one input"),
        ([convolution(inputs=())], "0 inputs: expected"),
        ([convolution(inputs=("image", "image"))], "2 inputs: expected"),
        ([convolution(inputs=("later",))], "'later' is not the name of an earlier operation"),
        ([Concat(name="none")], "no inputs"),
        ([convolution((4, 1, 3, 3))], "expected \\[O, K, K, I\\]"),
        ([convolution((4, 5, 5, 3))], "kernel 5: expected 1 or 3"),
        ([convolution((4, 1, 1, 8))], "on 3 channels"),
        ([convolution(weight_bits=5)], "weight_bits 5"),
        ([convolution(stride=3)], "stride 3"),
        ([convolution(weights=np.full((4, 1, 1, 3), 8, np.int8))], "weights in \\[8, 8\\]: expected \\[-7, 7\\]"),
        ([convolution(weights=np.full((4, 1, 1, 3), -128, np.int8), weight_bits=8)], "expected \\[-127, 127\\]"),
        ([convolution(weights=np.ones((4, 1, 1, 3)))], "weights are float64: expected int8"),
        ([convolution(requantize=requantize(3))], "requantize m \\[3\\]: expected \\[4\\]"),
        ([convolution(requantize=requantize(4, b=np.zeros(3, np.int64)))], "requantize b \\[3\\]: expected \\[4\\]"),
        ([convolution(requantize=requantize(4, m=np.full(4, 2**15)))], "requantize m exceeds 16 bits"),
        ([convolution(requantize=requantize(4, b=np.full(4, 2**47)))], "requantize b exceeds 48 bits"),
        ([convolution(requantize=requantize(4, s=48))], "requantize s = 48: expected 0 to 47"),
        ([convolution(requantize=requantize(4, lo=-129))], "requantize range \\[-129, 127\\]"),
        ([convolution(requantize=requantize(4, lo=5, hi=4))], "requantize range \\[5, 4\\]"),
        ([convolution(zero_point="0")], "zero_point = '0': expected a whole number"),
        ([convolution(zero_point=True)], "zero_point = True: expected a whole number"),
        ([convolution(zero_point=128)], "zero point 128: expected -128 to 127"),
        ([convolution(stride=1.0)], "stride = 1.0: expected a whole number"),
        ([convolution(wide=0)], "wide = 0: expected true or false"),
        ([convolution(scale=0)], "scale = 0: expected a number above 0"),
        ([convolution(scale=float("nan"))], "scale = nan: expected a number above 0"),
        ([convolution(scale=None)], "scale = None: expected a number above 0"),
        ([convolution(requantize=requantize(4, s="9"))], "s = '9': expected a whole number"),
        ([convolution(requantize=requantize(4, m=np.ones(4)))], "requantize m is float64: expected integers"),
        ([convolution(requantize=requantize(4, b=np.ones(4)))], "requantize b is float64: expected integers"),
        ([depthwise(zero_point=-129)], "zero point -129: expected -128 to 127"),
        ([depthwise(4)], "weights \\[4, 3, 3\\]: expected \\[3, 3, 3\\]"),
        ([depthwise(stride=4)], "stride 4: expected 1 or 2"),
        ([convolution((1, 1, 1, 3)), depthwise(inputs=("image", "conv"), stride=2)], "stride 2 with dilations"),
        ([convolution((2, 1, 1, 3)), depthwise(inputs=("image", "conv"))], "dilations \\[5, 7, 2\\]"),
        ([MaxPool(name="pool", inputs=("image",))], "input zero point -14: expected -128"),
        ([convolution(), MaxPool(name="pool", inputs=("conv",), stride=3)], "stride 3: expected 1 or 2"),
        ([convolution(wide=True), Upsample(name="up", inputs=("conv",))], "input 'conv' is int16: expected int8"),
        ([Slice(name="part", inputs=("image",), start=2, stop=4)], "channels 2:4 of 3"),
        ([Slice(name="part", inputs=("image",), start=1, stop=1)], "channels 1:1 of 3"),
        ([Shuffle(name="shuffled", inputs=("image",))], "2 groups of 3 channels"),
        ([convolution(), Concat(name="both", inputs=("image", "conv"))], "both"),
    ],
)
def test_refused(operations: list[Operation], message: str) -> None:
    with pytest.raises(GraphError, match=f"'{operations[-1].name}'.*{message}" if message != "both" else "'both'"):
        graph(*operations)


@pytest.mark.parametrize(
    ("outputs", "classes", "message"),
    [
        ({"size": "nowhere"}, (), "output 'size' is 'nowhere'"),
        ({"heatmap": "conv"}, ("cat",), "1 class names for a heatmap of 4 channels"),
    ],
)
def test_refused_outputs(outputs: dict[str, str], classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        graph(convolution(), outputs=outputs, classes=classes)


@pytest.mark.parametrize(("height", "width"), [(0, 7), (5, 0), (-1, 1)])
def test_refused_input(height: int, width: int) -> None:
    with pytest.raises(GraphError, match=f"size {height}x{width}"):
        Graph("test", (Input(name="image", height=height, width=width),), {})
