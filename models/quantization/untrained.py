# SPDX-License-Identifier: Apache-2.0
"""Networks with random weights whose tensors look like those of a trained one: for simulation without training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from brevitas.nn import QuantConv2d
from PIL import Image
from torch import nn
from torch.nn import functional as F

from codenet.graph import Graph
from models.network.config import NetworkConfig, get_config, normalize
from models.network.deform import DeformConv
from models.network.detector import CoDeNet
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.modules import QuantBlock, QuantDeformBlock

#: Mean and deviation that an untrained network's outputs get on its calibration photo.
_DILATION = (3.5, 2.5)
_HEADS = {"heatmap": (-2.0, 1.0), "size": (12.0, 4.0), "offset": (0.5, 0.2)}

#: Heatmap peaks above a score of one half.
_PEAKS = 5


def synthetic_photo(size: int | tuple[int, int], seed: int = 0) -> np.ndarray:
    """A colourful picture with structure at every scale, as photos have: uint8 ``[H, W, 3]``; ``size``: as
    `NetworkConfig`'s.
    """
    rng = np.random.default_rng(seed)
    height, width = (size, size) if isinstance(size, int) else size
    picture = np.zeros((height, width, 3))
    cells = 2
    while cells <= min(height, width):
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        picture += (np.asarray(layer) - 127.5) / cells**0.5
        cells *= 2
    return np.clip(picture * 1.2 + 127.5, 0, 255).astype(np.uint8)


def _match(conv: nn.Conv2d, mean: float, deviation: float) -> Callable[..., torch.Tensor]:
    """Forward hook that gives a convolution's output this mean and deviation in each channel, by its parameters."""

    def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        now, spread = output.mean(dim=(0, 2, 3)), output.std(dim=(0, 2, 3)).clamp(min=1e-3)
        gain = deviation / spread
        column = gain.view(-1, 1, 1, 1)
        assert conv.bias is not None
        conv.weight.data.mul_(column)
        if isinstance(conv, QuantConv2d):  # the integer weights stay
            conv.weight_quant.tensor_quant.scaling_impl.value.data.add_(torch.log2(column))
        conv.bias.data.sub_(now).mul_(gain).add_(mean)
        return (output - now.view(1, -1, 1, 1)) * gain.view(1, -1, 1, 1) + mean

    return hook


def _match_outputs(network: CoDeNet, x: torch.Tensor) -> None:
    """Spread the dilations and head outputs of a network, quantized or not, for input ``x``."""
    dilations = [m.dilation for m in network.modules() if isinstance(m, DeformConv | QuantDeformBlock)]
    hooks = [conv.register_forward_hook(_match(conv, *_DILATION)) for conv in dilations]
    for name, head in network.heads.items():
        conv = head.out.conv if isinstance(head.out, QuantBlock) else head.out
        hooks.append(conv.register_forward_hook(_match(conv, *_HEADS[name])))
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()


def _normalize_on(network: CoDeNet, x: torch.Tensor) -> None:
    """Set batch norms, dilations and heads such that the network's tensors are well spread for input ``x``."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
        if isinstance(module, DeformConv):
            nn.init.normal_(module.dilation.weight)
    network.train()
    _match_outputs(network, x)
    network.eval()


def _place_peaks(network: CoDeNet, x: torch.Tensor) -> None:
    """Shift the heatmap of a quantized network such that a few local maxima have a score above one half."""
    with torch.no_grad():
        heatmap = network(x)["heatmap"]
        maxima = heatmap[heatmap == F.max_pool2d(heatmap, 3, stride=1, padding=1)].sort(descending=True).values
        middle = maxima[: _PEAKS + 1][-2:].mean()
        network.heads["heatmap"].out.conv.bias.sub_(middle)  # type: ignore[union-attr, operator]


def untrained(
    config: NetworkConfig | str,
    classes: tuple[str, ...] | list[str] = ("person", "cat", "dog", "horse", "sheep", "cow"),
    seed: int = 0,
    photo: np.ndarray | None = None,
) -> Graph:
    """A graph of random weights, calibrated on one photo.

    On that photo activations use their range, dilations vary over 0 to 7, and the heatmap has a few peaks above a score
    of one half. Its metadata has ``{"untrained": True, "seed": seed}``.

    Parameters
    ----------
    config: configuration, or its name (a to g).
    photo: uint8 ``[H, W, 3]`` of the configuration's size; None takes a synthetic picture.
    """
    config = get_config(config) if isinstance(config, str) else config
    pixels = synthetic_photo(config.size, seed) if photo is None else photo
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CoDeNet(config, tuple(classes))
        x = normalize(np.asarray(pixels)[None])
        _normalize_on(network, x)
    quantized = quantize(network, calibrate(network, [x]))
    # Rounding weights to 4 bits moves means, which a single dilation channel or a threshold cannot afford.
    _match_outputs(quantized, x)
    _place_peaks(quantized, x)
    graph, _ = to_graph(quantized, f"codenet-{config.name} untrained", {"untrained": True, "seed": seed})
    return graph
