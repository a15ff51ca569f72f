# SPDX-License-Identifier: Apache-2.0
"""The one building block of all networks here: convolution, batch norm, activation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def single(x: torch.Tensor) -> torch.Tensor:
    """``x`` in float32 if it is of half precision, otherwise as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class AnnealedReLU(nn.Module):
    """ReLU with a slope for negative inputs that training anneals to zero.

    Backbone weights trained with LeakyReLU(0.1) become ReLU weights gradually, which costs much less accuracy than
    at once. `set_slope` changes all of a network; a trained network has slope 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slope = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.slope == 0.0:
            return F.relu(x, inplace=True)
        return F.leaky_relu(x, self.slope, inplace=True)


def set_slope(network: nn.Module, slope: float) -> None:
    """Set the negative slope of every `AnnealedReLU` in ``network``."""
    for module in network.modules():
        if isinstance(module, AnnealedReLU):
            module.slope = slope


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, optional ReLU: ``[N, inputs, H, W]`` to ``[N, outputs, H', W']``.

    Padding keeps ``H' = ceil(H / stride)`` for kernels 1 and 3. ``groups == inputs`` makes it depthwise.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = AnnealedReLU() if relu else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return x if self.relu is None else self.relu(x)
