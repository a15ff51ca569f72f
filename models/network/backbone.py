# SPDX-License-Identifier: Apache-2.0
"""ShuffleNetV2 (Ma et al., ECCV 2018) as CoDeNet uses it, down to a 32nd of the input's resolution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.network.blocks import ConvNorm
from models.network.config import NetworkConfig
from models.network.deform import DeformConv

if TYPE_CHECKING:
    from models.network.graph_builder import GraphBuilder


def shuffle(x: torch.Tensor, groups: int = 2) -> torch.Tensor:
    """Channel shuffle: channel ``g * (C / groups) + c`` moves to ``c * groups + g``; any ``[N, C, H, W]``.

    Channels are the last dimension in memory before and after: a result in another order costs training a sixth of its
    time in conversions.
    """
    n, channels, height, width = x.shape
    grouped = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, channels // groups)
    return grouped.transpose(3, 4).reshape(n, height, width, channels).permute(0, 3, 1, 2)


def interleave(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`shuffle` of the concatenation of two tensors ``[N, C, H, W]``, in one copy."""
    channels_last = [x.permute(0, 2, 3, 1) for x in (first, second)]
    return torch.stack(channels_last, dim=4).flatten(3).permute(0, 3, 1, 2)


def computed(x: torch.Tensor) -> torch.Tensor:
    """The half of a stage's result that its last unit computed, ``[N, C / 2, H, W]``."""
    return x[:, 1::2]


def describe_sequence(modules: Iterable[nn.Module], builder: GraphBuilder, x: str) -> str:
    """Add modules one after another to a graph; ``x`` and the result are tensor names."""
    for module in modules:
        x = module.describe(builder, x)  # type: ignore[operator]
    return x


class DownUnit(nn.Module):
    """The first unit of a stage: halves the resolution, both branches see all input channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1 = nn.Sequential(
            ConvNorm(inputs, inputs, 3, stride=2, groups=inputs, relu=False), ConvNorm(inputs, half)
        )
        self.branch2 = nn.Sequential(
            ConvNorm(inputs, half), ConvNorm(half, half, 3, stride=2, groups=half, relu=False), ConvNorm(half, half)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return interleave(self.branch1(x), self.branch2(x))

    def describe(self, builder: GraphBuilder, x: str) -> str:
        """Add this unit to a graph; ``x`` and the result are tensor names."""
        name = builder.names[self]
        outputs = tuple(describe_sequence(branch, builder, x) for branch in (self.branch1, self.branch2))
        return builder.shuffle(f"{name}.shuffle", builder.concat(f"{name}.concat", outputs))


class Unit(nn.Module):
    """An ordinary unit: the first half of the channels passes, the second goes through 1x1, depthwise (deformable in
    some networks), 1x1.
    """

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.half = half = channels // 2
        depth: nn.Module = ConvNorm(half, half, 3, groups=half, relu=False)
        if config.deform_backbone:
            depth = DeformConv(config, half, norm=True)
        self.branch2 = nn.Sequential(ConvNorm(half, half), depth, ConvNorm(half, half))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=1)
        return interleave(first, self.branch2(second))

    def describe(self, builder: GraphBuilder, x: str) -> str:
        """Add this unit to a graph; ``x`` and the result are tensor names."""
        name = builder.names[self]
        first = builder.slice(f"{name}.first", x, 0, self.half)
        second = describe_sequence(self.branch2, builder, builder.slice(f"{name}.second", x, self.half, 2 * self.half))
        return builder.shuffle(f"{name}.shuffle", builder.concat(f"{name}.concat", (first, second)))


class Backbone(nn.Module):
    """``[N, 3, S, S]`` to ``[N, channels[4], S / 32, S / 32]``: stem, three stages, 1x1 convolution."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.channels
        self.pool = config.stem == "s2max"
        self.stem = ConvNorm(3, channels[0], 3, stride=2 if self.pool else 4)
        self.stages = nn.ModuleList(
            nn.Sequential(DownUnit(inputs, outputs), *(Unit(outputs, config) for _ in range(units - 1)))
            for inputs, outputs, units in zip(channels[:3], channels[1:4], config.units, strict=True)
        )
        self.last = ConvNorm(channels[3], channels[4])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pyramid(x)[-1]

    def levels(self, x: torch.Tensor, stages: int = 3) -> list[torch.Tensor]:
        """What the stages start from, at a 4th of the input's resolution, and what each of the first ``stages`` makes
        of it, at half the resolution of the one before: ``[N, channels[n], H, W]``.
        """
        x = self.stem(x)
        levels = [F.max_pool2d(x, 3, stride=2, padding=1) if self.pool else x]
        for stage in self.stages[:stages]:
            levels.append(stage(levels[-1]))
        return levels

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Tensors at a 4th, 8th and 16th of the input's resolution, ``[N, channels[n], H, W]``, and the result of
        `forward`.
        """
        levels = self.levels(x)
        return [*levels[:-1], self.last(levels[-1])]

    def describe(self, builder: GraphBuilder, x: str) -> tuple[str, list[str]]:
        """Add the backbone to a graph; ``x`` and the result are tensor names, the second those of `computed`."""
        x = self.stem.describe(builder, x)
        if self.pool:
            x = builder.max_pool(f"{builder.names[self]}.pool", x)
        for stage in self.stages:
            x = describe_sequence(stage, builder, x)
        return self.last.describe(builder, x), [builder.names[stage[-1].branch2[-1]] for stage in self.stages]


def load_plain(backbone: Backbone, plain: Backbone) -> None:
    """Copy the weights of ``plain`` to ``backbone``, which may be the deformable one: it then starts as the same
    function.

    `CodenetError` if they differ in more than that.
    """
    state = plain.state_dict()
    for name, module in backbone.named_modules():
        if isinstance(module, DeformConv) and f"{name}.conv.weight" in state:
            state[f"{name}.weight"] = state.pop(f"{name}.conv.weight")
            state |= {
                f"{name}.{key}": v
                for key, v in module.state_dict().items()
                if key.startswith(("dilation.", "offsets."))
            }
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise CodenetError(f"backbone weights do not fit: {error}") from error
