# SPDX-License-Identifier: Apache-2.0
"""Many trainings with one result each, kept in a folder: what `models.ablation` and `models.precisions` are made of.

A study may be stopped at any moment and started again: what has a result is not repeated, what was under way goes on
from its checkpoint.
"""

from __future__ import annotations

import concurrent.futures
import json
import logging
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codenet import files
from codenet.errors import CodenetError
from models.command import check_folder, interrupt_on_termination, sheltered
from models.data import DetectionData, cached_images, load_data
from models.evaluation import Score, evaluate, network_source
from models.network import Backbone, CoDeNet, NetworkConfig, float_identity, load_network, load_plain
from models.network.checkpoints import misfit
from models.pretrained import load_backbone_weights
from models.training import Batches, TrainConfig, Trainer, training_data

logger = logging.getLogger(__name__)


class Store:
    """Results by name in ``folder``, all made with the same ``settings``.

    `CodenetError` if the folder has results of other settings: they would not belong into one table.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        check_folder(folder)
        self.folder, path = folder, folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        if not path.is_file():
            files.write_json(path, settings)
            return
        known = read_json(path)
        for key in sorted(known.keys() | settings.keys()):
            if known.get(key) != settings.get(key):
                raise CodenetError(
                    f"{path}: {key} is {known.get(key)!r}, now {settings.get(key)!r}; expected the same, or another "
                    "output folder"
                )

    def result(self, name: str) -> dict[str, Any] | None:
        """What is known of a run, None if it has not ended."""
        path = self.folder / f"{name}.json"
        return read_json(path) if path.is_file() else None

    def add(self, name: str, result: Mapping[str, Any]) -> None:
        """Keep a result."""
        files.write_json(self.folder / f"{name}.json", result)

    def run_folder(self, name: str) -> Path:
        """Where a run keeps its checkpoint and log."""
        return self.folder / "runs" / name


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file; `CodenetError` naming the file if it has none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CodenetError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CodenetError(f"{path}: {type(value).__name__}, expected a JSON object")
    return value


@dataclass(frozen=True)
class Schedule:
    """How every network of a study is trained.

    ``data``: folders, with their split after a colon if it is not ``train``; ``val``: the same for evaluation (default
    ``val`` of the first folder); ``limit``: evaluate on the first images only (None: on all). ``backbone``: backbone
    weights of another project; ``start``: a checkpoint of this one, whose backbone and heads every network starts from,
    with plain ReLU; decoders start at random.
    """

    data: tuple[str, ...]
    classes: tuple[str, ...]
    iterations: int
    batch: int
    rate: float
    mixed: bool
    backbone: Path | None = None
    start: Path | None = None
    val: tuple[str, ...] | None = None
    save_every: int = 100
    limit: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """What results depend on; paths by name, since folders move."""
        return {
            "data": [Path(source).name for source in self.data],
            "val": None if self.val is None else [Path(source).name for source in self.val],
            "classes": list(self.classes),
            "iterations": self.iterations,
            "batch": self.batch,
            "rate": self.rate,
            "mixed": self.mixed,
            "backbone": None if self.backbone is None else self.backbone.name,
            "start": None if self.start is None else self.start.name,
            "limit": self.limit,
        }

    def train_config(self, side: int, seed: int) -> TrainConfig:
        """The settings of a run; ``side``: the input's longer one."""
        return TrainConfig(
            iterations=self.iterations,
            batch=self.batch,
            rate=self.rate,
            seed=seed,
            mixed=self.mixed,
            cache_size=max(TrainConfig.cache_size, side),
            slope=TrainConfig.slope if self.start is None else 0.0,
        )

    def training(self) -> DetectionData:
        """The images that a study trains on."""
        return training_data(self.data, self.classes)

    def validation(self) -> DetectionData:
        """The images that a study evaluates on."""
        return load_data(self.data[:1] if self.val is None else self.val, "val", self.classes, limit=self.limit)


def start_from_weights(backbone: Backbone, config: NetworkConfig, weights: Path) -> None:
    """Load backbone weights into the backbone of ``config``, which may be deformable: it starts as the ordinary one."""
    if not config.deform_backbone:
        load_backbone_weights(backbone, weights)
        return
    plain = Backbone(config.replace(deform_backbone=False))
    load_backbone_weights(plain, weights)
    load_plain(backbone, plain)


def start_around_decoder(network: CoDeNet, path: Path) -> None:
    """Load backbone and heads of a checkpoint, not its decoder. The network's backbone may be deformable: it starts as
    the ordinary one.

    `CodenetError` if it has other classes, or does not fit.
    """
    trained = load_network(path)
    if trained.classes != network.classes:
        raise CodenetError(f"checkpoint {path}: classes are {trained.classes}, expected {network.classes}")
    plain = Backbone(network.config.replace(deform_backbone=False))
    try:
        plain.load_state_dict(trained.backbone.state_dict())
        network.heads.load_state_dict(trained.heads.state_dict())
    except RuntimeError as error:
        raise CodenetError(
            f"checkpoint {path}: does not fit around {network.config.name}'s decoder: {misfit(error)}"
        ) from error
    load_plain(network.backbone, plain)


def prepare(config: NetworkConfig, schedule: Schedule, seed: int, cache: Path) -> tuple[Trainer, Batches]:
    """A network before its first step, and what it learns from. The same seed gives the same images to every
    network.
    """
    torch.manual_seed(seed)
    network = CoDeNet(config, schedule.classes)
    if schedule.backbone is not None:
        start_from_weights(network.backbone, config, schedule.backbone)
    if schedule.start is not None:
        start_around_decoder(network, schedule.start)
    network = network.to(memory_format=torch.channels_last)
    training = schedule.train_config(max(config.input_size), seed)
    data = schedule.training()
    images = cached_images(data, training.cache_size, cache)
    return Trainer(network, training, float_identity(network)), Batches(data, images, training, config)


def train_float(config: NetworkConfig, schedule: Schedule, seed: int, folder: Path) -> Path:
    """Train, or go on where a stopped run left off; the checkpoint, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer, batches = prepare(config, schedule, seed, folder.parent / "cache")
    path = folder / "checkpoint.pt"
    if path.is_file():
        trainer.resume(path)
    trainer.run(batches, path, every=schedule.save_every, report=logger.info)
    return path


def float_result(config: NetworkConfig, schedule: Schedule, seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate one network: its scores, and how it came about. ``seconds`` are those since the last start."""
    start = time.monotonic()
    network = load_network(train_float(config, schedule, seed, folder))
    seconds = time.monotonic() - start
    score: Score = evaluate(network_source(network), schedule.validation())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        **score.to_dict(),
        "config": config.to_dict(),
        "seed": seed,
        "parameters": parameters,
        "seconds": round(seconds, 1),
    }


def seconds_per_step(config: NetworkConfig, schedule: Schedule, cache: Path, steps: int = 3) -> float:
    """Median duration of a training step, after one that does not count."""
    trainer, batches = prepare(config, schedule, 1, cache)
    trainer.network.train()
    durations = []
    for step in range(steps + 1):
        start = time.monotonic()
        trainer.train_step(batches[step])
        durations.append(time.monotonic() - start)
    return statistics.median(durations[1:])


@dataclass(frozen=True)
class Job:
    """A run by name, and the function that makes its result."""

    name: str
    function: Callable[..., Mapping[str, Any]]
    arguments: tuple[Any, ...]

    def __call__(self) -> Mapping[str, Any]:
        # One thread a process: threads wait for one another at each operation.
        torch.set_num_threads(1)
        logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {self.name}  %(message)s", force=True)
        return self.function(*self.arguments)


def run_jobs(jobs: Sequence[Job], store: Store, processes: int, finished: Callable[[], None]) -> None:
    """Run what has no result yet, ``processes`` at a time, and keep each result as it comes; then call ``finished``.

    One that fails does not stop the others; the first error is raised at the end.
    Ctrl-C lets those under way save their checkpoints.
    """
    todo = [job for job in jobs if store.result(job.name) is None]
    logger.info("%d runs, %d of them to do", len(jobs), len(todo))
    try:
        if processes == 1:
            for job in todo:
                store.add(job.name, job())
                finished()
        else:
            _run_parallel(todo, store, processes, finished)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where this one was") from None


def _run_parallel(jobs: Sequence[Job], store: Store, processes: int, finished: Callable[[], None]) -> None:
    errors = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context, interrupt_on_termination) as pool:
        with sheltered():
            futures = {pool.submit(job): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                if (error := future.exception()) is not None:
                    logger.error("%s: %s", futures[future].name, error)
                    errors.append(error)
                    continue
                store.add(futures[future].name, future.result())
                finished()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    if errors:
        raise errors[0]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean of values between 0 and 1 in percent, with their sample deviation if there are several: ``41.2 ± 0.6``."""
    percent = [100 * value for value in values]
    mean = f"{statistics.fmean(percent):.{digits}f}"
    return mean if len(percent) == 1 else f"{mean} ± {statistics.stdev(percent):.{digits}f}"
