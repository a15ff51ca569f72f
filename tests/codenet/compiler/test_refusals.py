# SPDX-License-Identifier: Apache-2.0
"""What cannot be compiled is refused with the operation, its shape, and the limit that it breaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Convolution, Graph, Requantize
from tests import networks
from tests.networks import Builder

SMALL = AcceleratorConfig.small()


def stem(height: int = 16, width: int = 16, channels: int = 8, stride: int = 4) -> Builder:
    net = Builder(height, width)
    net.convolution("stem", "image", channels, kernel=3, stride=stride, bits=8)
    return net


def out(net: Builder, name: str = "out") -> Graph:
    return net.graph("refused", {name: name})


def change(net: Builder, **values: Any) -> None:
    """Change the last operation."""
    net.operations[-1] = dataclasses.replace(net.operations[-1], **values)


def no_outputs() -> Graph:
    return stem().graph("empty", {})


def image_as_output() -> Graph:
    return stem().graph("image", {"image": "image"})


def depthwise_on_image() -> Graph:
    net = Builder(16, 16)
    net.depthwise("out", "image")
    return out(net)


def pointwise_on_image() -> Graph:
    net = Builder(16, 16)
    net.convolution("out", "image", 8)
    return out(net)


def odd_image() -> Graph:
    return out(stem(18, 16), "stem")


def stride_4_later() -> Graph:
    net = stem()
    net.convolution("out", "stem", 8, kernel=3, stride=4)
    return out(net)


def wide_row() -> Graph:
    net = stem(80, 4 * 90)
    net.depthwise("out", "stem", dilation=net.dilation("d", "stem"))
    return out(net)


def wide_dilations() -> Graph:
    net = stem(80, 4 * 42)
    net.depthwise("out", "stem", dilation=net.dilation("d", "stem"))
    return out(net)


def wide_row_of_the_stem() -> Graph:
    return out(stem(4, 4 * 200), "stem")


def many_channels() -> Graph:
    net = stem(4, 4)
    x = net.convolution("many", "stem", 600)
    net.convolution("out", x, 4)
    return out(net)


def many_channels_3x3() -> Graph:
    net = stem(4, 4)
    x = net.convolution("many", "stem", 65)
    net.convolution("out", x, 4, kernel=3)
    return out(net)


def high_image() -> Graph:
    return out(stem(4 * 4096, 4), "stem")


def int8_heatmap() -> Graph:
    net = stem()
    net.convolution("out", "stem", 3)
    return net.graph("refused", {"heatmap": "out"}, 3)


def heatmap_without_floor(s: int = 40) -> Graph:
    net = stem()
    net.wide("out", "stem", 3)
    last = net.operations[-1]
    assert isinstance(last, Convolution)
    change(net, requantize=dataclasses.replace(last.requantize, s=s))
    return net.graph("refused", {"heatmap": "out"}, 3)


def wild_dilation() -> Graph:
    net = stem()
    net.convolution("d", "stem", 1)
    net.depthwise("out", "stem", dilation="d")
    return out(net)


def filtered_dilation() -> Graph:
    net = stem()
    net.dilation("d", "stem")
    net.depthwise("smooth", "d", relu=True)
    net.depthwise("out", "stem", dilation="smooth")
    return out(net)


def large_product() -> Graph:
    net = stem()
    net.convolution("out", "stem", 2)
    r = Requantize(np.array([1, 1], np.int16), np.array([0, 2**47 - 1], np.int64), 47, -128, 127)
    change(net, requantize=r, weights=np.full((2, 1, 1, 8), 1, np.int8))
    return out(net)


CASES: dict[Callable[[], Graph], str] = {
    no_outputs: "graph 'empty' has no outputs",
    image_as_output: "output 'image' is the image 'image'",
    depthwise_on_image: r"depthwise 'out' stride 1, 16 x 16 x 3 -> 16 x 16 x 3: reads the image",
    pointwise_on_image: r"convolution 'out' 1x1 stride 1, 16 x 16 x 3 -> 16 x 16 x 8: reads the image",
    odd_image: r"convolution 'stem' 3x3 stride 4, .*image 18 x 16: expected multiples of the stride 4",
    stride_4_later: r"convolution 'out' 3x3 stride 4, .*stride 4: expected 1 or 2",
    wide_row: r"depthwise 'out' .*20 x 90 x 8 and 20 x 90 x 1 -> .*needs 150 vectors in a window bank \(15 rows of 1 planes\): .*most 128",
    wide_dilations: r"depthwise 'out' .*20 x 42 x 8 and 20 x 42 x 1 -> .*630 dilations \(15 rows\): .*512 \(dilation_depth\)",
    wide_row_of_the_stem: r"'stem' 3x3 stride 4, 4 x 800 x 3 -> 1 x 200 x 8: needs 201 vectors in a window bank",
    many_channels: r"'out' 1x1 stride 1, 1 x 1 x 600 -> 1 x 1 x 4: needs 38 input planes: .*32 \(plane_depth\)",
    many_channels_3x3: r"'out' 3x3 stride 1, 1 x 1 x 65 -> .*needs 45 vectors a pixel: .*32 \(half of vector_depth\)",
    high_image: r"'stem' on 4096 x 1 x 48: descriptor field input_height = 4096",
    int8_heatmap: r"'out' 1x1 .*is the heatmap: expected a convolution with int16",
    heatmap_without_floor: r"'out' .*is the heatmap, with lo = -32768, s = 40",
    wild_dilation: r"depthwise 'out' .*dilations of 'd' in \[-128, 127\]: expected \[0, 7\]",
    filtered_dilation: r"depthwise 'out' .*dilation 'smooth': expected the result of a convolution",
    large_product: r"'out' .*acc \* m \+ b of channel 1 may reach 140737488356351: expected at most 140737488355327",
}


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_refused(build: Callable[[], Graph]) -> None:
    with pytest.raises(CompileError, match=CASES[build]):
        compile(build(), SMALL)


@pytest.mark.parametrize("name", ["c", "d"])
def test_small_accelerator_refuses_the_large_network(name: str) -> None:
    with pytest.raises(CompileError, match=r"at most"):
        compile(networks.codenet(name), SMALL)


def test_least_floor_of_a_heatmap() -> None:
    """Lanes that carry no class are kept at -32768, times 2**s: 48 bits hold it up to a shift of 32."""
    assert compile(heatmap_without_floor(32), SMALL).peak_step is not None
    with pytest.raises(CompileError, match="s = 33: expected lo"):
        compile(heatmap_without_floor(33), SMALL)


@pytest.mark.parametrize("capacity", [1, 2**16 - 1])
def test_ends_of_the_peak_capacity(capacity: int) -> None:
    step = compile(networks.network(32), SMALL, peak_capacity=capacity).peak_step
    assert step is not None and step.peak_capacity == capacity


@pytest.mark.parametrize("values", [{"peak_capacity": 0}, {"peak_capacity": 2**16}, {"score": 0.0}, {"score": 1.0}])
def test_wrong_options(values: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match=next(iter(values))):
        compile(networks.network(32), SMALL, **values)
