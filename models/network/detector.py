# SPDX-License-Identifier: Apache-2.0
"""The whole detector: backbone, deformable decoder, CenterNet heads (Zhou et al., Objects as Points, 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from models.network.backbone import Backbone, computed, describe_sequence
from models.network.blocks import ConvNorm, single
from models.network.config import NetworkConfig
from models.network.deform import DeformConv

if TYPE_CHECKING:
    from models.network.graph_builder import GraphBuilder

#: Head outputs and their channels; None stands for the number of classes.
HEADS: dict[str, int | None] = {"heatmap": None, "size": 2, "offset": 2}

#: Initial bias of the heatmap: the prior probability 0.1 of Lin et al., Focal Loss, 2017.
HEATMAP_BIAS = -2.19

#: Initial bias of the sizes, in output pixels: a box that meets its object, so that their overlap has a gradient from
#: the start.
SIZE_BIAS = 16.0


class DeformStage(nn.Module):
    """``[N, inputs + skipped, H, W]`` to ``[N, outputs, 2H, 2W]``: deformable depthwise and 1x1, BN, ReLU, nearest
    upsample.

    Variant ``"i"`` runs the depthwise convolution first, at the input's width (the one that the paper timed); variant
    ``"ii"`` the 1x1 convolution first, then dilation and depthwise at the output's width. A full convolution needs no
    1x1 beside it. The last ``skipped`` channels, of the backbone, have no part in where the convolution samples, unless
    the 1x1 comes first.
    """

    def __init__(self, config: NetworkConfig, inputs: int, outputs: int, skipped: int = 0) -> None:
        super().__init__()
        self.order: tuple[str, ...] = ("deform",)
        width = inputs + skipped
        if not config.depthwise:
            self.deform = DeformConv(config, width, outputs, norm=True, relu=True, skipped=skipped)
        elif config.deform == "i":
            self.order = ("deform", "point")
            self.deform = DeformConv(config, width, skipped=skipped)
            self.point = ConvNorm(width, outputs)
        else:
            self.order = ("point", "deform")
            self.point = nn.Conv2d(width, outputs, 1, bias=False)
            self.deform = DeformConv(config, outputs, norm=True, relu=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.order:
            x = getattr(self, name)(x)
        return F.interpolate(x, scale_factor=2.0, mode="nearest")

    def describe(self, builder: GraphBuilder, x: str, skip: str | None = None) -> str:
        """Add this stage to a graph; ``x``, ``skip`` (of the backbone) and the result are tensor names."""
        name, modules = builder.names[self], [getattr(self, part) for part in self.order]
        if skip is not None:
            joined = builder.concat(f"{name}.concat", (x, skip))
            # The dilation's convolution of the decoder's tensor alone runs before the upsampling.
            where = {"where": x} if self.order[0] == "deform" else {}
            x, modules = modules[0].describe(builder, joined, **where), modules[1:]
        return builder.upsample(f"{name}.upsample", describe_sequence(modules, builder, x))


class Head(nn.Module):
    """1x1, BN, ReLU, depthwise 3x3, BN, ReLU, 1x1 with bias: ``[N, inputs, H, W]`` to ``[N, outputs, H, W]``."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.point = ConvNorm(inputs, width)
        self.depth = ConvNorm(width, width, 3, groups=width)
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(self.point(x))
        # Sizes are tens of pixels: mixed precision ends before them.
        with torch.autocast(x.device.type, enabled=False):
            return self.out(single(x))


class CoDeNet(nn.Module):
    """CenterNet detector on ShuffleNetV2 with a deformable decoder.

    Input ``[N, 3, H, W]``, RGB, normalized by `normalize`. Returns a dictionary of ``heatmap`` (logits,
    ``[N, classes, H/4, W/4]``), ``size`` (width and height in output pixels) and ``offset`` (of the centre, x and y,
    in output pixels), the latter two ``[N, 2, H/4, W/4]``.
    """

    def __init__(self, config: NetworkConfig, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.backbone = Backbone(config)
        widths = (config.channels[4], *config.decoder)
        self.decoder = nn.Sequential(
            *(DeformStage(config, *shape) for shape in zip(widths[:-1], widths[1:], config.skip_channels, strict=True))
        )
        if config.fpn:
            self.laterals = nn.ModuleList(
                ConvNorm(i, o) for i, o in zip(config.channels[2::-1], config.decoder, strict=True)
            )
        self.heads = nn.ModuleDict(
            {name: Head(config.decoder[-1], config.head, outputs or len(classes)) for name, outputs in HEADS.items()}
        )
        nn.init.constant_(self.heads["heatmap"].out.bias, HEATMAP_BIAS)
        nn.init.constant_(self.heads["size"].out.bias, SIZE_BIAS)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        *levels, x = self.backbone.pyramid(x)
        for number, stage in enumerate(self.decoder):
            if self.config.skip_channels[number]:
                x = torch.cat([x, computed(levels[3 - number])], dim=1)
            x = stage(x)
            if self.config.fpn:
                x = x + self.laterals[number](levels[2 - number])
        return {name: head(x) for name, head in self.heads.items()}

    def describe(self, builder: GraphBuilder) -> dict[str, str]:
        """Add the network to a graph; returns the tensor name of each head's output.

        Raises `CodenetError` for a network that the accelerator cannot run (`NetworkConfig.check_accelerator`).
        """
        self.config.check_accelerator()
        x, halves = self.backbone.describe(builder, "image")
        for number, stage in enumerate(self.decoder):
            x = stage.describe(builder, x, halves[2 - number] if self.config.skip_channels[number] else None)
        tensors = dict.fromkeys(self.heads, x)
        for layer in ("point", "depth", "out"):
            blocks = {name: getattr(head, layer) for name, head in self.heads.items()}
            # One shift for all heads: they can then run as one step, with their weights side by side.
            shift = min(block.shift(builder, tensors[name]) for name, block in blocks.items())
            tensors = {name: block.describe(builder, tensors[name], shift) for name, block in blocks.items()}
        return tensors
