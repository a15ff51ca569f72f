# SPDX-License-Identifier: Apache-2.0
"""The training loop: network, averaged weights, optimizer and step, kept in checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import nn
from tqdm import tqdm

from codenet.command import describe
from codenet.errors import CodenetError
from models.command import duration
from models.network.blocks import set_slope
from models.network.checkpoints import load_newest, write_checkpoint
from models.training.batches import Batches, feed
from models.training.config import TrainConfig
from models.training.distributed import (
    from_first,
    parallel,
    rank,
    stop_requests,
    sum_over_processes,
    wait_for_all,
    world,
)
from models.training.losses import Batch, detection_loss, divisors
from models.training.memory import keep_freed_memory

logger = logging.getLogger(__name__)

#: Steps after which a run says how long it will take.
_FIRST_ESTIMATE = 5


class Teacher(Protocol):
    """A network that says, besides the boxes, what the one in training should compute (`models.training.distill`)."""

    teacher: nn.Module

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """What the last forward pass of the network in training, on ``images``, lacks."""


class Observer(Protocol):
    """What follows a run: called at each interval, before the checkpoint is written."""

    def interval(self, trainer: Trainer, losses: dict[str, float]) -> None:
        """All processes have finished step ``trainer.step``; ``losses`` are the means since the last call."""

    def resumed(self, trainer: Trainer) -> None:
        """The run goes on from ``trainer.step``: what was noted of later steps will come again."""


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer; ``factor`` is what multiplies the group's learning rate.

    Weight decay for convolution weights, none for biases, norms and scales.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = config.decay if parameter.ndim > 1 else 0.0
        factor = next((rate for prefix, rate in config.rates if name.startswith(prefix)), 1.0)
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]


class Trainer:
    """A network, its averaged copy of the state, optimizer and step; `run` trains, `save` and `resume` keep it.

    The network trains on the device that it is on. ``identity``: what a checkpoint must have in common with this run to
    be resumed (`models.network.checkpoints.float_identity`); it is stored in each.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        identity: dict[str, Any],
        distillation: Teacher | None = None,
    ) -> None:
        self.device = next(network.parameters()).device
        if self.device.type == "cuda" and world() > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.network, self.config, self.identity, self.distillation = network, config, identity, distillation
        if distillation is not None:
            distillation.teacher.to(self.device)
        self.parallel = parallel(network, self.device)
        self.optimizer = torch.optim.AdamW(parameter_groups(network, config), lr=config.rate)
        self.half = getattr(torch, config.half)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.mixed and self.half is torch.float16)
        self.average = {key: value.detach().clone() for key, value in network.state_dict().items()}
        self.step = 0
        #: Best validation score so far, and its step.
        self.best: dict[str, float] = {}

    def _update_average(self) -> None:
        decay = self.config.averaging(self.step)
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)
                else:
                    self.average[key].copy_(value)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; returns the loss parts. `CodenetError` with the parts if the loss is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate(self.step) * group["factor"]
        set_slope(self.network, self.config.negative_slope(self.step))
        parts = self._loss(batch.to(self.device))
        values = dict(zip(parts, torch.stack([part.detach() for part in parts.values()]).tolist(), strict=True))
        if not math.isfinite(values["total"]):
            raise CodenetError(f"training: loss at step {self.step} is not finite: {values}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(parts["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_average()
        return values

    def _loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        # Gradients are averaged over the processes, each of which has its part of the peaks.
        divided_by = divisors(sum_over_processes(batch.totals())) / world()
        with torch.autocast(self.device.type, self.half, enabled=self.config.mixed):
            outputs = self.parallel(batch.images)
            features = None if self.distillation is None else self.distillation.loss(batch.images)
        parts = detection_loss(outputs, batch, divided_by)
        if features is not None:
            parts |= {"teacher": features, "total": parts["total"] + features}
        return parts

    def state(self) -> dict[str, Any]:
        """All that a checkpoint keeps."""
        return {
            **self.identity,
            "train": dataclasses.asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint and keep the one before; an interrupted write leaves the old file."""
        write_checkpoint(self.state(), path)

    def resume(self, path: Path, extend: bool = False) -> bool:
        """Continue from the checkpoint at ``path``, or the one before it if that cannot be read; False if there is
        none.

        The first process reads it for all. `CodenetError` if it is another network's, or has other settings: with
        ``extend`` the run goes on with the new settings from the checkpoint's step.
        """
        found = from_first(load_newest(path) if rank() == 0 else None)
        if found is None:
            return False
        path, state = found
        for key, value in self.identity.items():
            if key == "data":
                continue
            if state.get(key) != value:
                raise CodenetError(f"checkpoint {path}: {key} is {state.get(key)!r}, expected {value!r}")
        if "optimizer" not in state:
            raise CodenetError(
                f"checkpoint {path}: has weights alone, nothing to resume from; start a run from it with --start-from"
            )
        changes = self.config.differences(state["train"])
        if state.get("data", self.identity.get("data")) != self.identity.get("data"):
            changes.append("the data set is another one")
        if changes and not extend:
            raise CodenetError(
                f"checkpoint {path} is of a run with other settings: {'; '.join(changes)}. Give the same ones to "
                "resume it exactly, "
                f"--extend to go on from its step with the new ones, or another --output for a run of its own"
            )
        if changes and rank() == 0:
            logger.info("resuming with other settings than those of %s: %s", path, "; ".join(changes))
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(_with_groups(state["optimizer"], self.optimizer))
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.average = {key: value.to(self.device) for key, value in state["average"].items()}
        self.step, self.best = state["step"], dict(state.get("best", {}))
        return True

    def run(
        self,
        batches: Batches,
        path: Path | None,
        every: int = 100,
        report: Callable[[str], None] = print,
        observer: Observer | None = None,
        loaders: int = 0,
    ) -> None:
        """Train up to ``config.iterations``, saving to ``path`` every ``every`` steps and at the end.

        Ctrl-C or SIGTERM ends the step in all processes, saves, and raises KeyboardInterrupt, which says how to go on.
        """
        keep_freed_memory()
        self.network.train()
        with _resumable(path):
            if observer is not None:
                observer.resumed(self)
        sums: dict[str, float] = {}
        count = 0
        first, start, total = rank() == 0, self.step, self.config.iterations
        pace = Pace(total)
        with (
            stop_requests() as stop,
            tqdm(total=total, initial=start, desc="train", unit="it", mininterval=10, disable=not first) as bar,
        ):
            for batch in feed(batches, start, total, loaders):
                for name, value in self.train_step(batch).items():
                    sums[name] = sums.get(name, 0.0) + value
                count += 1
                bar.update()
                left = pace.left(self.step)
                if first and left and self.step == start + _FIRST_ESTIMATE:
                    report(f"{pace.seconds:.2f} s a step, about {left} to go")
                stopped = stop()
                if stopped and self.step != total:
                    self._stop(path, first)
                if self.step % every and self.step != total:
                    continue
                means = {name: value / count for name, value in sums.items()}
                sums, count = {}, 0
                if first:
                    losses = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
                    report(f"step {self.step}/{total}  {losses}" + f"  about {left} to go" * bool(left))
                with _resumable(path):
                    if observer is not None:
                        observer.interval(self, means)
                        self.network.train()
                    if first and path is not None:
                        self.save(path)

    def _stop(self, path: Path | None, first: bool) -> NoReturn:
        """Save, and end the run as Ctrl-C does, with the way to go on."""
        if path is None:
            raise KeyboardInterrupt
        with _resumable(path):
            if first:
                self.save(path)
        wait_for_all()
        raise KeyboardInterrupt(
            f"step {self.step} of {self.config.iterations} is saved in {path}; "
            f"the same command with --resume goes on from it"
        )


@contextlib.contextmanager
def _resumable(path: Path | None) -> Iterator[None]:
    """What the body cannot write ends the run with the way to go on."""
    try:
        yield
    except OSError as error:
        kept = (
            ""
            if path is None or not path.exists()
            else f"; {path} of before is kept: make room, then go on with --resume"
        )
        raise CodenetError(f"training: {describe(error)}{kept}") from error


class Pace:
    """Seconds a step of a run of ``total`` steps: the running mean, the first step left out."""

    def __init__(self, total: int) -> None:
        self.total, self.seconds = total, 0.0
        self._last: float | None = None

    def left(self, step: int) -> str:
        """Time for the steps after ``step``, which has just ended, for people; empty while unknown and at the end."""
        now, before = time.monotonic(), self._last
        self._last = now
        if before is not None:
            self.seconds = now - before if not self.seconds else 0.95 * self.seconds + 0.05 * (now - before)
        return duration((self.total - step) * self.seconds) if self.seconds and step < self.total else ""


def _with_groups(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's saved state with this run's weight decays and factors, which other settings may have changed.

    `CodenetError` if the settings also change which parameters have the same ones.
    """
    sizes = [[len(group["params"]) for group in groups] for groups in (state["param_groups"], optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise CodenetError(
            f"checkpoint: groups of {sizes[0]} parameters share a learning rate, expected {sizes[1]}: other factors "
            "for parts of the "
            f"network cannot be taken on, start a run of its own with --start-from"
        )
    groups = [
        saved | {key: group[key] for key in ("weight_decay", "factor")}
        for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {"state": state["state"], "param_groups": groups}
