# SPDX-License-Identifier: Apache-2.0
"""The largest sums of a network, from its weights: exact, and refused from the first that does not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from codenet.compiler import compile
from codenet.compiler.bounds import accumulator_bound
from codenet.errors import CompileError
from codenet.graph import Graph, Requantize
from tests.networks import Builder


def graph_with(kind: str, channels: int = 8, *, weights: np.ndarray, b: int = 0, kernel: int = 1) -> Graph:
    """A stem of ``channels`` outputs, and an operation on them with these weights, m = 1 and this b."""
    net = Builder(16, 16)
    net.convolution("stem", "image", channels, kernel=3, stride=4, bits=8)
    if kind == "depthwise":
        net.depthwise("out", "stem")
    else:
        net.convolution("out", "stem", len(weights), bits=int(kind[0]), kernel=kernel)
    requantize = Requantize(np.ones(len(weights), np.int16), np.full(len(weights), b), 47, -128, 127)
    net.operations[-1] = dataclasses.replace(net.operations[-1], weights=weights, requantize=requantize)  # type: ignore[call-arg]
    return net.graph("bounds", {"out": "out"})


@pytest.mark.parametrize("spare", [0, -1])
def test_accumulator_of_24_bits(spare: int) -> None:
    """3x3 over 64 channels whose weights sum to 2**16 - 1 and, times -128, fit; or to 2**16, and do not."""
    weights = np.full((1, 3, 3, 64), 113, np.int8)
    weights.reshape(-1)[: 2**16 - 1 - spare - 113 * 576] += 1
    graph = graph_with("8 bit", 64, weights=weights, kernel=3)
    if spare == 0:
        assert compile(graph).step_names == ("stem", "out")
        return
    expected = r"'out' 3x3 .*accumulator of channel 0 may reach 8388608: expected at most 8388607"
    with pytest.raises(CompileError, match=expected):
        compile(graph)


@pytest.mark.parametrize("spare", [0, -1])
@pytest.mark.parametrize("kind", ["depthwise", "4 bit", "8 bit"])
def test_product_of_48_bits(kind: str, spare: int) -> None:
    """Weights of -1, of which each counts 1, but 31 if it has 8 bits and so is summed as 16 * -1 + 15."""
    weights = np.full((8, 3, 3) if kind == "depthwise" else (8, 1, 1, 8), -1, np.int8)
    accumulator = 128 * {"depthwise": 9, "4 bit": 8, "8 bit": 8 * 31}[kind]
    graph = graph_with(kind, weights=weights, b=2**47 - 1 - accumulator - spare)
    if spare == 0:
        assert compile(graph).step_names == ("stem", "out")
        return
    expected = rf"'out' .*acc \* m \+ b of channel 0 may reach {2**47}: expected at most {2**47 - 1}"
    with pytest.raises(CompileError, match=expected):
        compile(graph)


@pytest.mark.parametrize(
    ("weight", "wide", "bound"), [(7, False, 7), (-7, False, 7), (127, True, 127), (-1, True, 31), (-127, True, 129)]
)
def test_accumulator_bound(weight: int, wide: bool, bound: int) -> None:
    """-1 is summed as 16 * -1 + 15, -127 as 16 * -8 + 1: their parts count one by one."""
    assert accumulator_bound(np.array([[weight]], np.int8), wide).tolist() == [128 * bound]
