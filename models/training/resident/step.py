# SPDX-License-Identifier: Apache-2.0
"""One training step that never leaves the device: augmentation, targets, network, optimizer, averaged weights.

On a GPU the whole step is captured once in a CUDA graph and replayed: some thousand small kernels then cost no more
than their own time. On a CPU the same code runs as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.training.config import TrainConfig
from models.training.distill_detector import ADAPTER_RATE, DetectorDistillation
from models.training.losses import box_losses, focal_loss, with_total
from models.training.resident.targets import DenseTargets, dense_targets
from models.training.resident.views import Views
from models.training.trainer import Teacher, parameter_groups

logger = logging.getLogger(__name__)

#: Steps before a capture: optimizer state and libraries' choices have to exist.
_WARM_UP = 3


def dense_loss(outputs: dict[str, torch.Tensor], targets: DenseTargets) -> dict[str, torch.Tensor]:
    """`models.training.losses.detection_loss` for targets at every pixel."""
    peaks, weight = targets.peaks.sum().clamp(min=1), targets.weight.sum().clamp(min=1e-6)
    width = targets.weight.shape[2]
    line = torch.arange(width, device=targets.weight.device, dtype=torch.float32)
    pixel = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    size, offset, box = (x.permute(0, 2, 3, 1) for x in (outputs["size"], outputs["offset"], targets.box))
    return with_total(
        {
            "heatmap": focal_loss(outputs["heatmap"], targets.heatmap, peaks=peaks, confidence=targets.peaks),
            **box_losses(pixel + offset, size, box, targets.weight / weight),
        }
    )


@dataclass(frozen=True)
class Shape:
    """Pictures of a batch: ``singles`` of one photo each and ``mosaics`` of four."""

    singles: int
    mosaics: int = 0

    @property
    def photos(self) -> int:
        """Photos that a batch shows."""
        return self.singles + 4 * self.mosaics

    @property
    def pictures(self) -> int:
        """Pictures of a batch."""
        return self.singles + self.mosaics


class Step:
    """A network with its optimizer and averaged weights, and the step that trains it.

    Parameters
    ----------
    network: in training mode, on the device of the views' photos, with classes as theirs; views: what draws batches;
    config: rates, decay and clipping (its schedules are not used: `run` takes the rate). ``part``: pictures that are
    drawn at once. ``compiled``: the network, the views and the targets go through torch.compile.
    """

    def __init__(
        self,
        network: nn.Module,
        views: Views,
        config: TrainConfig,
        distillation: Teacher | None = None,
        part: int = 64,
        compiled: bool = False,
    ) -> None:
        self.network, self.views, self.config, self.distillation = network, views, config, distillation
        self.part = part
        self.device = views.device
        self.classes = len(views.photos.classes)
        self.output = views.size // 4
        compile_: Callable[[Any], Any] = torch.compile if compiled else lambda function: function
        self._forward = compile_(network)
        self._single, self._mosaic = compile_(views.single), compile_(views.mosaic)
        self._targets = compile_(dense_targets)
        self._loss = compile_(dense_loss)
        fused: dict[str, Any] = {"fused": True, "capturable": True} if self.device.type == "cuda" else {}
        groups = parameter_groups(network, config)
        if isinstance(distillation, DetectorDistillation):
            adapters = parameter_groups(distillation.adapters, config)
            groups += [{**group, "factor": ADAPTER_RATE * group["factor"]} for group in adapters]
        self.rates = [torch.tensor(0.0, device=self.device) for _ in groups]
        self.factors = [group["factor"] for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate
        self.optimizer = torch.optim.AdamW(groups, **fused)
        self.keep = torch.tensor(0.0, device=self.device)
        state = network.state_dict()
        self.average = {key: value.detach().clone() for key, value in state.items()}
        self._live = [value for value in state.values() if value.is_floating_point()]
        self._averaged = [self.average[key] for key, value in state.items() if value.is_floating_point()]
        #: Sums of the loss parts since `take_losses`.
        self.sums: dict[str, torch.Tensor] = {}
        self.count, self.step = 0, 0
        self._graphs: dict[Shape, tuple[torch.cuda.CUDAGraph, torch.Tensor] | None] = {}

    def run(self, index: torch.Tensor, shape: Shape, rate: float) -> None:
        """One step at the learning rate ``rate`` on the photos ``index``, int64 ``[shape.photos]``."""
        for tensor, factor in zip(self.rates, self.factors, strict=True):
            tensor.fill_(rate * factor)
        self.keep.fill_(self.config.averaging(self.step))
        if self.device.type != "cuda":
            self._step(index.to(self.device), shape)
        elif self.step < _WARM_UP:
            self._beside(index.to(self.device), shape)
        else:
            self._replay(index, shape)
        self.step += 1
        self.count += 1

    def _replay(self, index: torch.Tensor, shape: Shape) -> None:
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(index, shape)
        captured = self._graphs[shape]
        if captured is None:
            self._step(index.to(self.device), shape)
            return
        graph, static = captured
        static.copy_(index, non_blocking=True)
        graph.replay()

    def _capture(self, index: torch.Tensor, shape: Shape) -> tuple[torch.cuda.CUDAGraph, torch.Tensor] | None:
        """The step as a graph with the tensor that it takes the photos from; None if it cannot be captured."""
        static = index.to(self.device)
        # What is made at the first step of a shape has to be there before the capture.
        self._beside(static, shape)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._step(static, shape)
        except RuntimeError as error:
            logger.warning("steps run one kernel at a time, since they cannot be captured: %s", error)
            torch.cuda.synchronize()
            return None
        return graph, static

    def _beside(self, index: torch.Tensor, shape: Shape) -> None:
        """A step on another stream, as a capture asks for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(index, shape)
        torch.cuda.current_stream().wait_stream(stream)

    def _batch(self, index: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, DenseTargets]:
        # In parts of one size, for which torch.compile then has one kernel each.
        parts = [self._single(part) for part in index[: shape.singles].split(self.part) if len(part)]
        parts += [self._mosaic(part.view(-1, 4)) for part in index[shape.singles :].split(4 * self.part) if len(part)]
        targets = [self._targets(boxes, self.classes, self.output) for _, boxes in parts]
        images = torch.cat([images for images, _ in parts])
        columns = zip(*((t.heatmap, t.peaks, t.box, t.weight) for t in targets), strict=True)
        return images, DenseTargets(*(torch.cat(column) for column in columns))

    def _step(self, index: torch.Tensor, shape: Shape) -> None:
        with torch.no_grad():
            images, targets = self._batch(index, shape)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed, cache_enabled=False):
            outputs = self._forward(images)
            features = None if self.distillation is None else self.distillation.loss(images)
        parts = self._loss({name: output.float() for name, output in outputs.items()}, targets)
        if features is not None:
            parts = {**parts, "teacher": features, "total": parts["total"] + features}
        parts["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip, foreach=True)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_(self._averaged, self.keep)
            torch._foreach_add_(self._averaged, torch._foreach_mul(self._live, 1 - self.keep))
            for name, part in parts.items():
                if name not in self.sums:
                    self.sums[name] = torch.zeros((), device=self.device)
                self.sums[name] += part.detach()

    def take_losses(self) -> dict[str, float]:
        """Means of the loss parts of the steps since the last call; waits for the device."""
        count, self.count = max(1, self.count), 0
        means = {name: float(value) / count for name, value in self.sums.items()}
        for value in self.sums.values():
            value.zero_()
        return means

    def averaged_state(self) -> dict[str, torch.Tensor]:
        """The averaged weights; counters as they are."""
        for key, value in self.network.state_dict().items():
            if not value.is_floating_point():
                self.average[key].copy_(value)
        return self.average
