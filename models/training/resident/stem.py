# SPDX-License-Identifier: Apache-2.0
"""Another stem for a trained network: it and the first stage learn to compute what the original's did, all that
follows stays as it is.

Blockwise distillation (Li et al., *Blockwisely supervised neural architecture search with knowledge distillation*,
CVPR 2020): a step runs a tenth of the network, and needs no boxes.
"""

from __future__ import annotations

import logging

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

logger = logging.getLogger(__name__)

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
    for name, value in vars(original.config).items():
        if name not in ("name", "stem") and value != getattr(config, name):
            raise CodenetError(
                f"another stem for {config.name}: {name} is {getattr(config, name)!r}, expected {value!r} as in "
                f"{original.config.name}"
            )
    network = CoDeNet(config, original.classes)
    network.load_state_dict(original.state_dict())
    return network


class StemStep:
    """A step of training the beginning of ``network``, its stem and first stage, after ``original``'s.

    The error is that of the first stage's result, in units of each channel's variance.
    """

    def __init__(self, network: CoDeNet, original: CoDeNet, views: Views) -> None:
        self.network, self.original, self.views = network, original.eval().requires_grad_(False), views
        self.device, self.step = views.device, 0
        network.eval().requires_grad_(False)
        for part in (network.backbone.stem, network.backbone.stages[0]):
            part.train().requires_grad_(True)
        self.groups = parameter_groups(network, TrainConfig(decay=_DECAY))
        self.optimizer = torch.optim.AdamW(self.groups)
        self._sum, self._count = torch.zeros((), device=self.device), 0

    def run(self, index: torch.Tensor, shape: Shape, rate: float) -> None:
        """One step at the learning rate ``rate`` on the photos ``index``, int64 ``[shape.photos]``."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        assert not shape.mosaics
        with torch.no_grad():
            images, _ = self.views.single(index.to(self.device))
            target = _beginning(self.original, images)
        error = normalized_error(_beginning(self.network, images), target)
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


def _beginning(network: CoDeNet, images: torch.Tensor) -> torch.Tensor:
    return network.backbone.stages[0](network.backbone.begin(images))


def fit_stem(original: CoDeNet, config: NetworkConfig, photos: Photos, recipe: Recipe, budget: Budget) -> CoDeNet:
    """The network of ``config`` that `with_stem` makes of ``original``, its beginning trained; in evaluation mode."""
    device = photos.pixels.device
    network = with_stem(original, config).to(device, memory_format=torch.channels_last)
    views = Views(photos, recipe.augmentation, square_side(config))
    step = StemStep(network, original.to(device, memory_format=torch.channels_last), views)
    loop(step, Order(len(photos), recipe.seed), recipe, 0.0, recipe.rate, budget, lambda: None)
    return network.eval()
