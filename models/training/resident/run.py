# SPDX-License-Identifier: Apache-2.0
"""Training for a given time: floating point, then quantization, with all data on the device."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from brevitas.nn import QuantConv2d
from torch import nn

from codenet.errors import CodenetError
from models.data import Augmentation
from models.network import CoDeNet, compact, float_identity, load_network, write_checkpoint
from models.network.checkpoints import mean_state
from models.quantization import W4A8, Precision, calibrate, quantize, quantized_identity
from models.training.config import TrainConfig
from models.training.distill import EnsembleDistillation, FloatDistillation
from models.training.distill_detector import DetectorDistillation
from models.training.fine_tune import CALIBRATION_BATCHES
from models.training.resident.photos import Photos
from models.training.resident.step import Shape, Step, dense_loss
from models.training.resident.targets import dense_targets
from models.training.resident.views import Views, square_side
from models.training.trainer import Teacher

logger = logging.getLogger(__name__)

#: Steps between looks at the clock on a GPU, which wait for it; elsewhere every step looks.
_LOOK = 10

#: Seconds between lines of the log, and between checkpoints on the way.
_REPORT, _SAVE = 10.0, 60.0

#: Photos that a choice between averages is made on, at most; a tenth of a small set.
_ASIDE = 160

#: Batches that the norms of averaged weights are estimated from.
_NORM_BATCHES = 50

#: Part of a run in which the learning rate grows.
_WARM_UP = 0.03


@dataclass(frozen=True)
class Budget:
    """When a run ends: after ``seconds``, or after ``steps`` if that is given (a run of the same length anywhere)."""

    seconds: float
    steps: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: pictures a step, learning rate and pictures, in floating point and quantized.

    ``mosaics``: part of the pictures that are mosaics, up to ``mosaic_end`` of the run. ``cycles``: in floating point
    the learning rate rises and falls so often, and weights may be averaged. ``detector``: ONNX file of a YOLOX whose
    features are learned, too. ``teachers``: checkpoints of floating-point networks whose mean outputs the quantized
    network learns, instead of what it was made from. ``original``: one whose features and outputs it learns instead.
    """

    batch: int = 64
    rate: float = 1e-3
    quantized_rate: float = 2e-4
    decay: float = 0.05
    ema: float = 0.998
    mosaics: float = 0.5
    augmentation: Augmentation = Augmentation(scale=(0.5, 1.25), aspect=1.35, jitter=0.3, hue=0.03)
    compiled: bool = False
    seed: int = 1
    cycles: int = 1
    detector: Path | None = None
    teachers: tuple[Path, ...] = ()
    original: Path | None = None


class Order:
    """The next photos of an endless sequence of shuffled epochs."""

    def __init__(self, count: int, seed: int, aside: int = 0) -> None:
        self._rng, self._left = np.random.default_rng(seed), np.zeros(0, np.int64)
        photos = np.random.default_rng(0).permutation(count) if aside else np.arange(count)
        #: Numbers of photos that never come.
        self.aside = torch.from_numpy(photos[:aside])
        self._photos = photos[aside:]

    def take(self, count: int) -> torch.Tensor:
        """Numbers of the next ``count`` photos, int64."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._rng.permutation(self._photos)])
        taken, self._left = self._left[:count], self._left[count:]
        return torch.from_numpy(taken)


def learning_rate(rate: float, progress: float) -> float:
    """Linear warm-up, then half a cosine down to zero at ``progress`` 1."""
    if progress < _WARM_UP:
        return rate * (progress / _WARM_UP * 0.98 + 0.02)
    return float(rate * (1 + np.cos(np.pi * min(1.0, (progress - _WARM_UP) / (1 - _WARM_UP)))) / 2)


class Trains(Protocol):
    """What a run is made of: `Step`, or what trains a part of a network."""

    device: torch.device
    step: int

    def run(self, index: torch.Tensor, shape: Shape, rate: float) -> None:
        """One step on the photos ``index``, int64 ``[shape.photos]``."""

    def take_losses(self) -> dict[str, float]:
        """Means of the loss parts since the last call, ``"total"`` among them."""


def loop(
    step: Trains, order: Order, recipe: Recipe, mosaics: float, rate: float, budget: Budget, save: Callable[[], None]
) -> None:
    """Train until the budget is spent; the rate and the mosaics follow the part of it that is spent."""
    count = round(recipe.batch * mosaics)
    mixed, plain = Shape(recipe.batch - count, count), Shape(recipe.batch)
    start, first = time.monotonic(), step.step
    begin, reported, saved, progress = start, start, start, 0.0
    pictures, look = 0, _LOOK if step.device.type == "cuda" else 1
    while progress < 1:
        shape = mixed if count and progress < recipe.augmentation.mosaic_end else plain
        step.run(order.take(shape.photos), shape, learning_rate(rate, progress))
        pictures += shape.pictures
        if budget.steps is not None:
            progress = (step.step - first) / budget.steps
        if (step.step - first) % look and progress < 1:
            continue
        if step.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.monotonic()
        if step.step - first == look:  # compiled and captured: the time that is left is for training
            begin, pictures = now, 0
            logger.info("first steps (%d) after %.1f s", look, now - start)
        if budget.steps is None:
            progress = min(1.0, (now - begin) / max(1e-6, budget.seconds - (begin - start)))
        if now - reported > _REPORT or progress >= 1:
            reported, speed = now, pictures / max(1e-6, now - begin)
            losses = step.take_losses()
            text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            logger.info("%3.0f %%  step %d  %.0f pictures/s  %s", 100 * progress, step.step, speed, text)
            if not np.isfinite(losses["total"]):
                raise CodenetError(f"training: loss before step {step.step} is not finite: {losses}")
        if now - saved > _SAVE:
            saved = now
            save()


def _snap_weights(network: CoDeNet) -> None:
    """Replace the weights of a quantized network by what they are quantized to, which half precision keeps."""
    for module in network.modules():
        if isinstance(module, QuantConv2d):
            with torch.no_grad():
                module.weight.copy_(module.quant_weight().value)


def _write(identity: dict[str, Any], average: dict[str, torch.Tensor], path: Path) -> None:
    state = compact(average)
    write_checkpoint({**identity, "network": state, "average": state}, path, keep=False)


def write_float(network: CoDeNet, path: Path) -> None:
    """Write the weights of a floating-point ``network`` as the checkpoint of a run that ended."""
    _write(float_identity(network), network.state_dict(), path)


def train_float(network: CoDeNet, photos: Photos, recipe: Recipe, budget: Budget, path: Path) -> CoDeNet:
    """Train ``network`` in floating point; its averaged weights, which are returned, are written to ``path``.

    Of several cycles the last one's end and the mean of the ends are compared by their loss on photos set aside; the
    better one is the result. A budget of steps is each cycle's.
    """
    device = photos.pixels.device
    network = network.to(device, memory_format=torch.channels_last).train()
    views = Views(photos, recipe.augmentation, square_side(network.config))
    config = TrainConfig(rate=recipe.rate, decay=recipe.decay, ema=recipe.ema, mixed=device.type == "cuda")
    begin = time.monotonic()
    detector = None if recipe.detector is None else DetectorDistillation(network, recipe.detector)
    step = Step(network, views, config, detector, part=_part(recipe), compiled=recipe.compiled)
    aside = min(_ASIDE, len(photos) // 10) if recipe.cycles > 1 else 0
    order = Order(len(photos), recipe.seed, aside)

    def save() -> None:
        _write(float_identity(network), step.averaged_state(), path)

    ends: list[dict[str, torch.Tensor]] = []
    for cycle in range(recipe.cycles):
        left = budget.seconds - (time.monotonic() - begin)
        part = replace(budget, seconds=left / (recipe.cycles - cycle))
        loop(step, order, recipe, recipe.mosaics, recipe.rate, part, save)
        ends.append(_copy(step.averaged_state()))
    if aside:
        # Not with the start, which may have been trained on the photos set aside.
        candidates = {"end": ends[-1], "mean of ends": mean_state(ends)}
        result = _best(network, candidates, views, order, recipe.batch)
    else:
        result = _restored(network, ends[-1])
    write_float(result, path)
    return result


def _best(
    network: CoDeNet, candidates: dict[str, dict[str, torch.Tensor]], views: Views, order: Order, batch: int
) -> CoDeNet:
    """The network of the state that has the least loss on the photos set aside."""
    networks = {name: _restored(network, state) for name, state in candidates.items()}
    losses = {}
    for name, candidate in networks.items():
        _estimate_norms(candidate, views, order, batch)
        losses[name] = _loss(candidate.eval(), views, order.aside, batch)
    logger.info("loss on photos set aside: %s", "  ".join(f"{name} {value:.4f}" for name, value in losses.items()))
    return networks[min(losses, key=losses.__getitem__)]


def _restored(network: CoDeNet, state: dict[str, torch.Tensor]) -> CoDeNet:
    result = CoDeNet(network.config, network.classes)
    result.load_state_dict(state)
    return result.to(next(network.parameters()).device, memory_format=torch.channels_last).eval()


@torch.no_grad()
def _loss(network: CoDeNet, views: Views, photos: torch.Tensor, batch: int) -> float:
    """Mean total loss of whole, unchanged photos."""
    still = Augmentation(scale=(1.0, 1.0), aspect=1.0, flip=0.0, jitter=0.0)
    whole = Views(views.photos, still, views.size)
    total = 0.0
    for index in photos.to(views.device).split(batch):
        pictures, boxes = whole.single(index)
        targets = dense_targets(boxes, len(network.classes), views.size // 4)
        total += float(dense_loss(network(pictures), targets)["total"]) * len(index)
    return total / len(photos)


def _copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


def _estimate_norms(network: CoDeNet, views: Views, order: Order, batch: int) -> None:
    """Batch norm's means and variances anew: those of mean weights are not the mean of each one's."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # all batches count the same
    network.train()
    with torch.no_grad(), torch.autocast(views.device.type, torch.bfloat16, enabled=views.device.type == "cuda"):
        for _ in range(_NORM_BATCHES):
            network(views.single(order.take(batch).to(views.device))[0])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def train_quantized(
    network: CoDeNet, photos: Photos, recipe: Recipe, budget: Budget, path: Path, precision: Precision = W4A8
) -> CoDeNet:
    """Fine-tune a floating-point ``network`` with quantization, learning from its features and outputs, or from other
    networks' outputs, too; written to ``path``.

    Half as many pictures a step: of a short run the number of steps counts.
    """
    recipe = replace(recipe, batch=max(1, recipe.batch // 2))
    device = photos.pixels.device
    gentle = replace(recipe.augmentation, scale=(0.7, 1.15), aspect=1.2, jitter=0.2, hue=0.0)
    views = Views(photos, gentle, square_side(network.config))
    order = Order(len(photos), recipe.seed + 1)
    with torch.no_grad():
        batches = [views.single(order.take(16).to(device))[0] for _ in range(CALIBRATION_BATCHES)]
    ranges = calibrate(network, batches)
    # Made before distillation listens to the network that both are copies of.
    quantized, result = (quantize(network, ranges, precision) for _ in range(2))
    quantized = quantized.to(device, memory_format=torch.channels_last).train()
    config = TrainConfig(rate=recipe.quantized_rate, decay=0.0, ema=0.99, rates=(), mixed=False)
    step = Step(quantized, views, config, _teacher(quantized, network, recipe), _part(recipe))
    identity = quantized_identity(quantized, precision)

    def save() -> None:
        _write(identity, step.averaged_state(), path)

    loop(step, order, recipe, 0.0, recipe.quantized_rate, budget, save)
    result = result.to(device)
    result.load_state_dict(step.averaged_state())
    _snap_weights(result)
    _write(identity, result.state_dict(), path)
    return result.eval()


def _teacher(quantized: CoDeNet, network: CoDeNet, recipe: Recipe) -> Teacher:
    device = next(network.parameters()).device
    teachers = [load_network(path).to(device, memory_format=torch.channels_last) for path in recipe.teachers]
    if teachers:
        return EnsembleDistillation(quantized, teachers)
    if recipe.original is not None:
        network = load_network(recipe.original).to(device, memory_format=torch.channels_last)
    return FloatDistillation(quantized, network)


def _part(recipe: Recipe) -> int:
    """Pictures drawn at once: what both halves of a batch are made of."""
    return max(1, recipe.batch - round(recipe.batch * recipe.mosaics)) if recipe.mosaics < 1 else recipe.batch
