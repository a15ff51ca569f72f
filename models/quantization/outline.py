# SPDX-License-Identifier: Apache-2.0
"""The graph of a network's shapes alone: in tenths of a second, without weights and without quantizing a network.

The compiler makes the same steps of it as of a trained network, and the cycle model the same cycles: neither depends on
the values of weights and scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from codenet.graph import Graph, Requantize
from models.data.classes import ANIMALS
from models.network.config import NetworkConfig
from models.network.deform import DeformDepthwise
from models.network.detector import CoDeNet
from models.network.graph_builder import GraphBuilder, Grid
from models.quantization.convert import quantized_outputs, replace
from models.quantization.modules import HEAD_BITS, HEAD_SCALE
from models.quantization.precision import W4A8, Precision

#: Of all requantizers, with multipliers of 2**14.
_SHIFT = 20


@dataclass(frozen=True)
class _Conv:
    """What a `GraphBuilder` reads of a convolution: the shape of its weights ``[O, I, K, K]``, and their bits."""

    shape: tuple[int, ...]
    bits: int
    stride: tuple[int, ...] = (1, 1)
    groups: int = 1

    @classmethod
    def of(cls, conv: nn.Conv2d, bits: int) -> _Conv:
        return cls(tuple(conv.weight.shape), bits, conv.stride, conv.groups)


class _Block(nn.Module):
    """In the place of a `models.quantization.modules.QuantBlock`, or with ``dilation`` of a `QuantDeformBlock`."""

    def __init__(
        self, conv: _Conv, target: Grid, dilation: _Conv | None = None, dilations: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.conv, self.target, self.dilation, self.dilations = conv, target, dilation, dilations

    def shift(self, _builder: GraphBuilder, _x: str) -> int:
        return _SHIFT

    def describe(self, builder: Any, x: str, shift: int | None = None, where: str | None = None) -> str:
        name = builder.names[self]
        if self.dilation is None:
            return str(builder.convolution(name, self.conv, x, self.target, shift))
        dilation = builder.dilation(f"{name}.dilation", self.dilation, where or x, self.dilations)
        return str(builder.deform(name, self.conv, x, dilation, self.target))


class _Builder(GraphBuilder):
    """A `GraphBuilder` of `_Conv`: all weights are 1."""

    def shift(self, *_: Any) -> int:
        return _SHIFT

    def integers(self, _name: str, conv: Any, _x: str, target: Grid, shift: int) -> tuple[np.ndarray, int, Requantize]:
        m = np.full(conv.shape[0], 1 << 14, np.int16)
        b = np.full(conv.shape[0], (1 << (shift - 1)) + (target.zero_point << shift), np.int64)
        return np.ones(conv.shape, np.int8), conv.bits, Requantize(m, b, shift, target.lo, target.hi)


def _grid(relu: bool, bits: int) -> Grid:
    """One scale for all tensors, so that all may be concatenated."""
    return Grid(1.0, -128, -128, (1 << bits) - 129) if relu else Grid(1.0, 0, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _block(name: str, module: nn.Module, precision: Precision) -> _Block:
    bits = precision.activation_bits(name)
    if isinstance(module, DeformDepthwise):
        conv = _Conv(tuple(module.weight.shape), precision.weight_bits(name, depthwise=True), groups=len(module.weight))
        dilation = _Conv.of(module.dilation, precision.weight_bits(f"{name}.dilation"))
        return _Block(conv, _grid(module.relu is not None, bits), dilation, module.dilations)
    plain = module if isinstance(module, nn.Conv2d) else module.conv
    assert isinstance(plain, nn.Conv2d)
    relu = getattr(module, "relu", None) is not None
    return _Block(_Conv.of(plain, precision.weight_bits(name, depthwise=plain.groups > 1)), _grid(relu, bits))


def outline(config: NetworkConfig, classes: Sequence[str] = ANIMALS, precision: Precision = W4A8) -> Graph:
    """The graph of a network of ``config``, all of whose weights are 1.

    `CodenetError` as for `models.quantization.quantize` and `to_graph`: no operation of the accelerator's for it.
    """
    config.check_accelerator()
    with torch.device("meta"):
        network = CoDeNet(config, tuple(classes))
    precision.check_modules({name for name, _ in network.named_modules()})
    for name, module in list(quantized_outputs(network)):
        replace(network, name, _block(name, module, precision))
    wide = Grid(HEAD_SCALE, 0, -(1 << (HEAD_BITS - 1)), (1 << (HEAD_BITS - 1)) - 1)
    for name, head in network.heads.items():
        head.out = _Block(_Conv.of(head.out, precision.weight_bits(f"heads.{name}.out")), wide)  # type: ignore[arg-type]
    builder = _Builder(network, config.input_size, config.fit)
    outputs = network.describe(builder)
    return Graph(f"codenet-{config.name} outline", tuple(builder.operations), outputs, network.classes)
