# SPDX-License-Identifier: Apache-2.0
"""Another stem for a trained network: it and the stages behind it learn to compute what the original's did, all that
follows stays as it is.

Blockwise distillation (Li et al., *Blockwisely supervised neural architecture search with knowledge distillation*,
CVPR 2020): a step runs a tenth of the network, and needs no boxes.
"""

from __future__ import annotations

import torch

from codenet.errors import CodenetError
from models.network import CoDeNet, NetworkConfig
from models.training.config import TrainConfig
from models.training.distill import normalized_error
from models.training.resident.photos import Photos
from models.training.resident.run import Budget, Order, Recipe, loop
from models.training.resident.step import Shape
from models.training.resident.views import Views, square_side
from models.training.trainer import parameter_groups

#: Weight decay of a run that is short, and has as many targets as pixels.
_DECAY = 0.01


def with_stem(original: CoDeNet, config: NetworkConfig) -> CoDeNet:
    """A network of ``config`` with the weights of ``original``, whose stem is the other one.

    `CodenetError` unless the configurations differ in that, and in nothing else but the name.
    """
    if config.stem == original.config.stem:
        raise CodenetError(
            f"another stem for {config.name}: stem is {config.stem!r}, expected another than {original.config.name} has"
        )
    original.config.check_like(config, {"name", "stem"}, f"another stem for {config.name}")
    network = CoDeNet(config, original.classes)
    network.load_state_dict(original.state_dict())
    return network


class StemStep:
    """A step of training the beginning of ``network``, its stem and first ``stages``, after ``original``'s.

    The error is that of each stage's result, in units of each channel's variance, on the average.
    """

    def __init__(self, network: CoDeNet, original: CoDeNet, views: Views, stages: int) -> None:
        self.network, self.original, self.views = network, original.eval().requires_grad_(False), views
        self.device, self.step, self.stages = views.device, 0, stages
        network.eval().requires_grad_(False)
        for part in (network.backbone.stem, *network.backbone.stages[:stages]):
            part.train().requires_grad_(True)
        self.optimizer = torch.optim.AdamW(parameter_groups(network, TrainConfig(decay=_DECAY)))
        self._sum, self._count = torch.zeros((), device=self.device), 0

    def run(self, index: torch.Tensor, shape: Shape, rate: float) -> None:
        """One step at the learning rate ``rate`` on the photos ``index``, int64 ``[shape.photos]``."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        assert not shape.mosaics
        with torch.no_grad():
            images, _ = self.views.single(index.to(self.device))
            targets = self.original.backbone.levels(images, self.stages)[1:]
        results = self.network.backbone.levels(images, self.stages)[1:]
        error = torch.stack([normalized_error(*pair) for pair in zip(results, targets, strict=True)]).mean()
        self.optimizer.zero_grad()
        error.backward()
        self.optimizer.step()
        self._sum += error.detach()
        self._count += 1
        self.step += 1

    def take_losses(self) -> dict[str, float]:
        """Mean error of the steps since the last call."""
        mean = float(self._sum) / max(1, self._count)
        self._sum.zero_()
        self._count = 0
        return {"total": mean}


def fit_stem(
    network: CoDeNet, original: CoDeNet, photos: Photos, recipe: Recipe, budget: Budget, stages: int = 1
) -> CoDeNet:
    """``network``, which `with_stem` has made of ``original``, with its stem and first ``stages`` (1 to 3) trained; in
    evaluation mode.
    """
    device = photos.pixels.device
    network = network.to(device, memory_format=torch.channels_last)
    views = Views(photos, recipe.augmentation, square_side(network.config))
    step = StemStep(network, original.to(device, memory_format=torch.channels_last), views, stages)
    loop(step, Order(len(photos), recipe.seed), recipe, 0.0, recipe.rate, budget, lambda: None)
    return network.eval()
