# SPDX-License-Identifier: Apache-2.0
"""A training run: where it reads and writes, what it says at its start, and training in floating point."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from codenet import files
from codenet.errors import CodenetError
from models.command import check_folder
from models.data import DetectionData, cached_images, load_data, split_of
from models.network import CoDeNet, NetworkConfig, float_identity, previous, start_from
from models.pretrained import load_authors, load_backbone_weights, to_rounded
from models.training.batches import Batches
from models.training.config import TrainConfig
from models.training.distill import Distillation
from models.training.distributed import first_of_machine, from_first, has_fast_bfloat16, pick_device, rank
from models.training.progress import Progress
from models.training.trainer import Trainer
from models.training.validation import Validation, subset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Where a run reads and writes, and on what it computes: what all kinds of training share.

    ``data``: ``FOLDER`` or ``FOLDER:SPLIT`` (default ``train``), joined. ``resume``: go on from the checkpoint in
    ``output`` if there is one, with ``extend`` also with other settings than its own. ``device``: see `pick_device`.
    """

    data: tuple[str, ...]
    output: Path
    resume: bool = False
    extend: bool = False
    save_every: int = 100
    device: str = "auto"

    @property
    def checkpoint(self) -> Path:
        """The run's newest checkpoint."""
        return self.output / "checkpoint.pt"

    @property
    def cache(self) -> Path:
        """Folder of decoded photos, which runs side by side share."""
        return self.output.parent / "cache"


@dataclass(frozen=True)
class Start:
    """Weights that training starts from; without any, random ones.

    ``checkpoint``: of another run of this project. ``authors``: of the paper's authors' code, whose ``normalization``
    follows from the classes if it is None. ``backbone``: backbone weights, which replace a checkpoint's.
    ``teacher``: backbone weights whose features the backbone learns besides.
    """

    checkpoint: Path | None = None
    backbone: Path | None = None
    authors: Path | None = None
    normalization: str | None = None
    teacher: Path | None = None

    def files(self) -> tuple[Path | None, ...]:
        """The files that are read."""
        return self.checkpoint, self.backbone, self.authors, self.teacher


@dataclass(frozen=True)
class FloatRun(Run):
    """A run in floating point.

    ``classes`` None: those in the data that have boxes. ``evaluate_every``: steps between validations, 0: none, on
    ``val_data`` (default: split ``val`` of the folders of ``data``), at most ``evaluate_images`` of it.
    ``mixed``, ``half``, ``loaders``, ``tensorboard``: None takes what suits the device and the packages.
    """

    classes: tuple[str, ...] | None = None
    difficult: bool = False
    start: Start = Start()
    evaluate_every: int = 0
    val_data: tuple[str, ...] | None = None
    evaluate_images: int | None = None
    mixed: bool | None = None
    half: str | None = None
    loaders: int | None = None
    tensorboard: bool | None = None


def training_data(
    sources: Sequence[str], classes: Sequence[str] | None = None, keep_difficult: bool = False
) -> DetectionData:
    """The data set, each class of which has boxes to learn from; None leaves out classes without.

    `CodenetError` for named classes that are unknown or without boxes, and whatever `load_data` finds.
    """
    return load_data(sources, "train", classes, keep_difficult, trainable=True)


def setup_logging(output: Path) -> None:
    """Log to ``output/log.txt`` and the terminal."""
    output.mkdir(parents=True, exist_ok=True)
    handlers: Iterable[logging.Handler] = (_LogFile(output / "log.txt", encoding="utf-8"), logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


class _LogFile(logging.FileHandler):
    """A log that may fail, on a full disk for example, where the checkpoint says so; opened anew for the next line."""

    def handleError(self, record: logging.LogRecord) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def check_output(run: Run, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """`CodenetError` if the output is no place to write to, or has a checkpoint that nothing is said of.

    FileExistsError if it has one that is an input.

    ``overwrite`` removes the checkpoints that are there.
    """
    check_folder(run.output)
    mine = (run.checkpoint, previous(run.checkpoint), run.output / "best.pt")
    for file in mine:
        files.check_output(file, (path for path in inputs if path is not None))
    found = [file for file in mine[:2] if file.exists()]
    if overwrite:
        for file in found:
            file.unlink(missing_ok=True)
    elif found and not run.resume:
        raise CodenetError(
            f"training: {found[0]} is there already: --resume continues it, --overwrite starts anew, "
            f"or give another --output"
        )


def introduce(run: Run, trainer: Trainer, network: NetworkConfig, data: DetectionData) -> None:
    """Say what a run is going to do, and keep all its settings in ``output/settings.json``."""
    config = trainer.config
    left = config.iterations - trainer.step
    logger.info(
        "network %s, photos to %s, %d parameters, on %s; %d photos with %d boxes of %s",
        network.name,
        network.input_text,
        sum(parameter.numel() for parameter in trainer.network.parameters()),
        trainer.device,
        len(data),
        sum(data.counts()),
        ", ".join(data.classes),
    )
    logger.info(
        "%s: %d steps of %d photos, each photo about %.1f times",
        f"resumed at step {trainer.step}" if trainer.step else "new run",
        left,
        config.batch,
        left * config.batch / len(data),
    )
    logger.info(
        "%s every %d steps, Ctrl-C saves one too; settings in %s",
        run.checkpoint,
        run.save_every,
        run.output / "settings.json",
    )
    settings = {"network": network.to_dict(), "classes": list(data.classes), "data": list(run.data)}
    files.write_json(run.output / "settings.json", {**settings, "training": dataclasses.asdict(config)})


def starting_network(start: Start, config: NetworkConfig, classes: tuple[str, ...], images: np.ndarray) -> CoDeNet:
    """The network that training starts with; ``images`` (uint8 ``[N, S, S, 3]``) calibrate the authors' offsets."""
    if start.authors is not None:
        authors = load_authors(start.authors, config, classes, start.normalization)
        return to_rounded(authors, images[:: max(1, len(images) // 16)][:16])
    network = CoDeNet(config, classes)
    if start.checkpoint is not None:
        start_from(network, start.checkpoint)
    if start.backbone is not None:
        load_backbone_weights(network.backbone, start.backbone)
    return network


def _validation(
    run: FloatRun, network: NetworkConfig, classes: tuple[str, ...], device: torch.device
) -> Validation | None:
    """The validation split, cached at the network's input size; None without ``evaluate_every``."""
    if not run.evaluate_every:
        return None
    sources = run.val_data or [split_of(source, "")[0] for source in run.data]
    data = subset(from_first(load_data(sources, "val", classes) if rank() == 0 else None), run.evaluate_images)
    with first_of_machine():
        images = cached_images(data, network.input_size, run.cache, network.fit)
    return Validation(data, images, network, device)


def _suited(config: TrainConfig, run: FloatRun, device: torch.device) -> TrainConfig:
    """``config`` with 16-bit convolutions as the run wants them or the device is fast at."""
    fast = has_fast_bfloat16()
    mixed = (fast or device.type == "cuda") if run.mixed is None else run.mixed
    half = run.half or ("bfloat16" if fast or device.type == "cpu" else "float16")
    return dataclasses.replace(config, mixed=mixed, half=half)


def train(run: FloatRun, network_config: NetworkConfig, config: TrainConfig, worker: int = 0, workers: int = 1) -> None:
    """One process of a training run in floating point, of ``workers`` that share each batch.

    Writes what `Progress` notes and ``checkpoint.pt``. `CodenetError` for data, weights or settings that do not fit.
    """
    setup_logging(run.output)
    torch.manual_seed(config.seed)
    device = pick_device(run.device)
    config = _suited(config, run, device)
    # Read once: annotations of a large set take gigabytes while they are read.
    data = from_first(training_data(run.data, run.classes, run.difficult) if worker == 0 else None)
    with first_of_machine():
        images = cached_images(data, config.cache_size, run.cache)
    network = starting_network(run.start, network_config, data.classes, images)
    network = network.to(device, memory_format=torch.channels_last)
    validation = _validation(run, network.config, data.classes, device)
    distillation = Distillation(network, run.start.teacher) if run.start.teacher is not None else None
    trainer = Trainer(network, config, float_identity(network) | {"data": data.fingerprint()}, distillation)
    if run.resume:
        trainer.resume(run.checkpoint, run.extend)
    if worker == 0:
        introduce(run, trainer, network.config, data)
    batches = Batches(data, images, config, network.config, worker, workers)
    tensorboard = find_spec("tensorboard") is not None if run.tensorboard is None else run.tensorboard
    progress = Progress(run.output, validation, run.evaluate_every, tensorboard)
    loaders = run.loaders if run.loaders is not None else 4 * (device.type == "cuda")
    trainer.run(batches, run.checkpoint, run.save_every, logger.info, progress, loaders)
