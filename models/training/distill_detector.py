# SPDX-License-Identifier: Apache-2.0
"""Distillation from another detector: a network learns features that a YOLOX, trained on more, has of the same
pictures.

Its boxes alone say what lies where; the features in front of its outputs, 64 numbers for classes and 64 for boxes at
each cell of strides 8, 16 and 32, say what a much larger data set taught it to tell apart. They are asked for on every
augmented picture anew (Beyer et al., *Knowledge distillation: a good teacher is patient and consistent*, 2022). A 1x1
convolution from each stage of the decoder to the features of its resolution translates between both (Romero et al.,
*FitNets*, 2015); it is no part of the network.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.data.classes import COCO
from models.network.config import PIXEL_OFFSET, PIXEL_SCALE
from models.network.detector import CoDeNet
from models.pretrained.onnx_network import OnnxNetwork, read_graph
from models.pretrained.yolox import STRIDES
from models.training.distill import keep_outputs

#: Weight of the features in the loss, and how much more a cell weighs that the teacher is sure of.
WEIGHT, SURE = 3.0, 4.0

#: Learning rate of the adapters, relative to the network's: they begin at zero, the network has been trained before.
ADAPTER_RATE = 10.0

#: Side of the teacher's input, if the network's is not larger.
TEACHER_SIZE = 416


class DetectorDistillation:
    """Compares the decoder of a network, while it runs, with the features of a YOLOX on the same pictures.

    ``network``: the student, in floating point, whose classes are COCO's; ``path``: the teacher's ONNX file, in the
    layout of the released ones. `CodenetError` for another file, and classes that it does not know.
    """

    def __init__(self, network: CoDeNet, path: Path) -> None:
        unknown = [name for name in network.classes if name not in COCO]
        if unknown:
            raise CodenetError(f"teacher {path}: does not know {', '.join(unknown)}; its classes are COCO's")
        device = next(network.parameters()).device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.tensors = feature_names(path)
        teacher = OnnxNetwork(path, [name for level in self.tensors for name in level])
        self.teacher = teacher.to(device, dtype, memory_format=torch.channels_last).requires_grad_(False).eval()
        self._channels = torch.tensor([COCO.index(name) for name in network.classes], device=device)
        self._dtype = dtype
        with torch.no_grad():
            levels = self._ask(torch.zeros(1, 3, TEACHER_SIZE, TEACHER_SIZE, device=device))
        stages = list(network.decoder)[::-1]  # type: ignore[call-overload]
        widths = network.config.decoder[::-1]
        #: Translate what the stages of strides 8, 16 and 32 compute; the optimizer has to know them.
        self.adapters = nn.ModuleList(
            nn.Conv2d(width, features.shape[1], 1) for width, (features, _) in zip(widths, levels, strict=True)
        ).to(device)
        for adapter in self.adapters:
            nn.init.zeros_(adapter.weight)
            nn.init.zeros_(adapter.bias)
        self.kept: dict[int, torch.Tensor] = {}
        keep_outputs(enumerate(stages), self.kept)

    def _ask(self, pictures: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The teacher's features ``[N, 128, h, w]`` of each stride, and how sure it is of an object of the classes
        there, ``[N, 1, h, w]``, for pictures in its own units.
        """
        found = iter(self.teacher(pictures.to(self._dtype, memory_format=torch.channels_last)))
        levels = []
        for classes, boxes, scores, objectness in zip(found, found, found, found, strict=True):
            best = scores[:, self._channels].sigmoid().amax(dim=1, keepdim=True)
            levels.append((torch.cat([classes, boxes], dim=1), best * objectness.sigmoid()))
        return levels

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """What the network's last forward pass, which must have been on ``images`` ``[N, 3, S, S]``, lacks."""
        size = max(TEACHER_SIZE, images.shape[-1])
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            pictures = images.flip(1) * PIXEL_SCALE + PIXEL_OFFSET
            if size != images.shape[-1]:
                pictures = F.interpolate(pictures, size=(size, size), mode="bilinear", align_corners=False)
            levels = self._ask(pictures)
        errors = []
        for number, (features, sure) in enumerate(levels):
            # A stage ends in nearest upsampling: every second row and column is all that it computed.
            found = self.adapters[number](self.kept[number][:, :, ::2, ::2]).float()
            side = found.shape[-1]
            if side != features.shape[-1]:
                features, sure = (
                    F.interpolate(x.float(), size=(side, side), mode="bilinear", align_corners=False)
                    for x in (features, sure)
                )
            errors.append(weighted_error(found, features.float(), 1 + SURE * sure.float()))
        self.kept.clear()
        return WEIGHT * torch.stack(errors).mean()


def weighted_error(found: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Squared error of ``[N, C, H, W]`` in units of the target's variance per channel, pixels weighted by ``weight``
    ``[N, 1, H, W]``, averaged over channels; a constant has about 1.
    """
    variance = target.var(dim=(0, 2, 3), keepdim=True).clamp(min=1e-4)
    error = ((found - target).square() / variance).clamp(max=25).mean(dim=1, keepdim=True)
    return (error * weight).sum() / weight.sum()


def feature_names(path: Path) -> list[tuple[str, str, str, str]]:
    """Names of four tensors a stride, from 8 on: features in front of class scores and in front of boxes, class scores
    and objectness before the sigmoid.

    Found by the names of the weights that read them; `CodenetError` for a file without these.
    """
    graph = read_graph(path)
    ends = {name: node for node in graph.node if node.op_type == "Conv" for name in node.input[1:2]}
    levels = []
    for number in range(len(STRIDES)):
        heads = [f"head.{part}_preds.{number}.weight" for part in ("cls", "reg", "obj")]
        missing = [name for name in heads if name not in ends]
        if missing:
            raise CodenetError(f"teacher {path}: has no convolution {missing[0]}, expected YOLOX's layout")
        classes, boxes, objectness = (ends[name] for name in heads)
        levels.append((classes.input[0], boxes.input[0], classes.output[0], objectness.output[0]))
    return levels
