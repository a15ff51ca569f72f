# SPDX-License-Identifier: Apache-2.0
"""Distillation: a network learns to compute what another one computes, besides what the boxes teach.

`Distillation` is for backbones with another stem. Configurations a, c and d have a stem of stride 4, where backbone
weights come from one of stride 2 with a maximum after it. Loaded as they are, these weights give features that hardly
resemble the original ones (correlation 0.3 at the last stage), and boxes alone teach a small data set's network slowly.
The original backbone as a teacher says for every pixel and channel what the features should be.

`FloatDistillation` is for quantized networks: the floating-point network that one was made from says what its features
and outputs should be, on augmented images too, for which boxes alone say little.

`EnsembleDistillation` takes the outputs of several other networks, together better than the one that is taught (Hinton
et al., *Distilling the Knowledge in a Neural Network*, 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.network.backbone import Backbone
from models.network.blocks import set_slope
from models.network.config import NetworkConfig
from models.network.detector import CoDeNet
from models.pretrained.shufflenet import load_backbone_weights

T = TypeVar("T", str, int)

#: Weight of each stage's normalized error in the loss.
WEIGHT = 2.0

#: Negative slope that the teacher was trained with.
TEACHER_SLOPE = 0.1

#: Weights of the outputs' parts in the loss, as those of `models.training.losses.WEIGHTS`, and of the features'.
OUTPUT_WEIGHTS = {"heatmap": 1.0, "size": 0.1, "offset": 0.1}
FEATURES_WEIGHT = 0.5


def normalized_error(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of ``[N, C, H, W]`` in units of the target's variance per channel, averaged over channels that
    vary; 0 is equal, 1 a constant.
    """
    variance = target.var(dim=(0, 2, 3))
    error = (features - target).square().mean(dim=(0, 2, 3))
    alive = variance > 1e-4
    ratio = torch.where(alive, error / variance.clamp(min=1e-4), 0)
    return ratio.clamp(max=10).sum() / alive.sum().clamp(min=1)


def keep_outputs(modules: Iterable[tuple[T, nn.Module]], results: dict[T, torch.Tensor]) -> None:
    """Have each of ``modules`` put what it computes into ``results``, by its key, whenever it runs."""

    def keeper(key: T) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        return lambda _module, _inputs, output: results.__setitem__(key, output)

    for key, module in modules:
        module.register_forward_hook(keeper(key))


class Distillation:
    """Compares the stages of a network, while it runs, with those of a teacher on the same images.

    Parameters
    ----------
    network: the student, in floating point or quantized; its stages need the teacher's widths.
    weights: file of the teacher's weights (`models.pretrained.load_backbone_weights`), trained with a stride-2 stem and
        maximum.
    """

    def __init__(self, network: CoDeNet, weights: Path) -> None:
        config: NetworkConfig = network.config.replace(stem="s2max")
        teacher = Backbone(config).eval()
        load_backbone_weights(teacher, weights)
        set_slope(teacher, TEACHER_SLOPE)
        self.teacher = teacher.to(memory_format=torch.channels_last).requires_grad_(False)
        self.features: list[torch.Tensor] = []
        for stage in network.backbone.stages:
            stage.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self.features.append(output)

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Error of the network's last forward pass, which must have been on ``images`` ``[N, 3, S, S]``."""
        features, self.features = self.features, []
        with torch.no_grad():
            # The student ends in plain ReLU: negative values are no target.
            targets = [F.relu(level) for level in self.teacher.levels(images)[1:]]
        errors = [normalized_error(F.relu(f).float(), t.float()) for f, t in zip(features, targets, strict=True)]
        return WEIGHT * torch.stack(errors).sum()


class FloatDistillation:
    """Compares features and outputs of a quantized network, while it runs, with those of its floating-point original on
    the same images.

    Parameters
    ----------
    student: a network from `models.quantization.quantize`. teacher: the floating-point network that it was made from,
    or another one that it was made after; left as it is.

    `CodenetError` for a teacher of other classes, input size or widths.
    """

    def __init__(self, student: CoDeNet, teacher: CoDeNet) -> None:
        check_original(teacher.config.name, teacher, student.config, student.classes)
        self.teacher = teacher.eval().requires_grad_(False)
        self.kept: dict[str, torch.Tensor] = {}
        self.targets: dict[str, torch.Tensor] = {}
        keep_outputs(self._compared(student), self.kept)
        keep_outputs(self._compared(teacher), self.targets)

    @staticmethod
    def _compared(network: CoDeNet) -> list[tuple[str, nn.Module]]:
        stages = [*network.backbone.stages, network.backbone.last, *network.decoder]
        return [*((f"feature {n}", stage) for n, stage in enumerate(stages)), *network.heads.items()]

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Difference of the student's last forward pass, which must have been on ``images`` ``[N, 3, S, S]``, from the
        teacher's.
        """
        # Half precision for a teacher on a GPU: its results need no more.
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            self.teacher(images)
        found, expected = self.kept, {name: value.float() for name, value in self.targets.items()}
        features = [
            normalized_error(found[name], expected[name]) for name in expected if name not in self.teacher.heads
        ]
        loss = output_error(found, expected) + FEATURES_WEIGHT * torch.stack(features).sum()
        self.kept.clear()
        self.targets.clear()
        return loss


class EnsembleDistillation:
    """Compares the outputs of a network, while it runs, with the mean of other networks' outputs on the same images.

    Parameters
    ----------
    student: in floating point or quantized. teachers: floating-point networks, left as they are.

    `CodenetError` for teachers of other classes or another input size.
    """

    def __init__(self, student: CoDeNet, teachers: Sequence[CoDeNet]) -> None:
        for teacher in teachers:
            check_teacher(teacher.config.name, teacher, student.config, student.classes)
        self.teacher = nn.ModuleList(teachers).eval().requires_grad_(False)
        self.kept: dict[str, torch.Tensor] = {}
        keep_outputs(student.heads.items(), self.kept)

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """What the student's last forward pass, which must have been on ``images`` ``[N, 3, S, S]``, lacks."""
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            expected = mean_outputs([teacher(images) for teacher in self.teacher])
        loss = output_error({name: value.float() for name, value in self.kept.items()}, expected)
        self.kept.clear()
        return loss


def check_teacher(name: object, teacher: CoDeNet, config: NetworkConfig, classes: tuple[str, ...]) -> None:
    """`CodenetError` for a teacher, called ``name``, with other outputs than one of ``config`` and ``classes`` has."""
    if teacher.classes != classes:
        raise CodenetError(
            f"teacher {name}: classes are {', '.join(teacher.classes)}, expected {', '.join(classes)}, as of "
            f"{config.name}"
        )
    if teacher.config.input_size != config.input_size:
        raise CodenetError(
            f"teacher {name}: input size is {teacher.config.input_size}, expected {config.input_size}, as of "
            f"{config.name}"
        )


def check_original(name: object, original: CoDeNet, config: NetworkConfig, classes: tuple[str, ...]) -> None:
    """The errors of `check_teacher`, and one for an original, called ``name``, whose stages have other widths."""
    check_teacher(name, original, config, classes)
    for what in ("channels", "decoder"):
        if getattr(original.config, what) != getattr(config, what):
            raise CodenetError(
                f"original {name}: {what} are {getattr(original.config, what)}, expected {getattr(config, what)}, as "
                f"of {config.name}"
            )


def mean_outputs(outputs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of networks' ``heatmap`` (logits; the mean is that of their probabilities), ``size`` and ``offset``, where
    a network counts as much as the square of how sure it is of an object there.
    """
    probabilities = torch.stack([output["heatmap"].float().sigmoid() for output in outputs])
    sure = probabilities.amax(dim=2, keepdim=True).square() + 1e-6
    result = {"heatmap": torch.logit(probabilities.mean(dim=0), eps=1e-6)}
    for name in ("size", "offset"):
        result[name] = (sure * torch.stack([output[name].float() for output in outputs])).sum(dim=0) / sure.sum(dim=0)
    return result


def output_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> torch.Tensor:
    """Difference of outputs ``heatmap``, ``size`` and ``offset`` ``[N, channels, S, S]`` from what is expected."""
    # A pixel's box matters as much as the teacher sees an object there.
    weight = expected["heatmap"].sigmoid().amax(dim=1, keepdim=True)
    parts = {"heatmap": soft_focal_loss(found["heatmap"], expected["heatmap"])}
    for name in ("size", "offset"):
        parts[name] = (weight * (found[name] - expected[name]).abs()).sum() / weight.sum()
    return torch.stack([OUTPUT_WEIGHTS[name] * part for name, part in parts.items()]).sum()


def soft_focal_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Quality focal loss (Li et al., Generalized Focal Loss, 2020, equation 2, beta 2) of ``logits`` with the
    probabilities of the logits ``target`` as labels, both ``[N, classes, S, S]``; summed, over the sum of the squared
    probabilities.
    """
    probability = target.sigmoid()
    error = (logits.sigmoid() - probability).abs().square()
    entropy = F.binary_cross_entropy_with_logits(logits, probability, reduction="none")
    return (error * entropy).sum() / probability.square().sum().clamp(min=1)
