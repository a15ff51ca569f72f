# SPDX-License-Identifier: Apache-2.0
"""From a quantized network to the graph of integers that equals it."""

from __future__ import annotations

import copy
from typing import Any

import torch

from codenet.errors import CodenetError
from codenet.graph import Graph
from models.network.detector import CoDeNet
from models.network.graph_builder import GraphBuilder
from models.quantization.convert import is_quantized
from models.quantization.modules import QuantBlock, QuantDeformBlock, fold_norm


def to_graph(network: CoDeNet, name: str, metadata: dict[str, Any] | None = None) -> tuple[Graph, CoDeNet]:
    """The integer graph of a quantized network, and the network that equals it.

    The second result is a copy in float64 with all scales and biases snapped to what the integers represent: its head
    outputs times 256, and its activations over their scales, are the graph's integers exactly. ``network`` itself is
    unchanged. Raises `CodenetError` for a network that is not quantized or whose scales do not fit the requantizer.
    """
    if not is_quantized(network):
        raise CodenetError("export: the network is in floating point, expected one from models.quantization.quantize")
    snapped = copy.deepcopy(network).double().eval()
    for module in snapped.modules():
        if isinstance(module, QuantBlock | QuantDeformBlock):
            fold_norm(module)
    builder = GraphBuilder(snapped, network.config.input_size, network.config.fit)
    with torch.no_grad():
        outputs = snapped.describe(builder)
    return Graph(name, tuple(builder.operations), outputs, network.classes, metadata or {}), snapped
