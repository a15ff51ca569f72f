"""Feature distillation: a trunk with another stem learns to compute what the original trunk computes.

Configurations a, c and d have a stem of stride 4 where trunk weights come from one of stride 2 with a maximum after it. Loaded as they
are, these weights give features that hardly resemble the original ones (correlation 0.3 at the last stage), and boxes alone teach a
small data set's network slowly. The original trunk as a teacher says for every pixel and channel what the features should be.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models.backbone import Backbone
from models.blocks import set_slope
from models.configs import NetworkConfig
from models.detector import CoDeNet
from models.weights import load_trunk

#: Weight of each stage's normalized error in the loss.
WEIGHT = 2.0

#: Negative slope that the teacher was trained with.
TEACHER_SLOPE = 0.1


def normalized_error(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of ``[N, C, H, W]`` in units of the target's variance per channel, averaged; 0 is equal, 1 a constant."""
    variance = target.var(dim=(0, 2, 3))
    error = (features - target).square().mean(dim=(0, 2, 3))
    alive = variance > 1e-4
    return (error[alive] / variance[alive]).clamp(max=10).mean()


class Distillation:
    """Compares the stages of a network, while it runs, with those of a teacher on the same images.

    Parameters
    ----------
    network: the student, in floating point or quantized; its stages need the teacher's widths.
    trunk: NumPy archive of the teacher's weights (`models.weights.load_trunk`), trained with a stride-2 stem and maximum.
    """

    def __init__(self, network: CoDeNet, trunk: Path) -> None:
        config: NetworkConfig = network.config.replace(stem="s2max")
        teacher = Backbone(config).eval()
        load_trunk(teacher, trunk)
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
            x = F.max_pool2d(self.teacher.stem(images), 3, stride=2, padding=1)
            targets = []
            for stage in self.teacher.stages:
                x = stage(x)
                # The student ends in plain ReLU: negative values are no target.
                targets.append(F.relu(x))
        errors = [normalized_error(F.relu(f).float(), t.float()) for f, t in zip(features, targets, strict=True)]
        return WEIGHT * torch.stack(errors).sum()
