# SPDX-License-Identifier: Apache-2.0
"""A quantized network as integers, before compilation: its operations, their shapes, and the graph file (``.cdg``)."""

from codenet.graph.file import FORMAT
from codenet.graph.graph import Graph, consumers, walk
from codenet.graph.operations import (
    INPUT_SCALE,
    INPUT_ZERO_POINT,
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

__all__ = [
    "Concat",
    "Convolution",
    "Depthwise",
    "FORMAT",
    "Graph",
    "INPUT_SCALE",
    "INPUT_ZERO_POINT",
    "Input",
    "MaxPool",
    "Operation",
    "Requantize",
    "Shuffle",
    "Slice",
    "Tensor",
    "Upsample",
    "consumers",
    "walk",
]
