# SPDX-License-Identifier: Apache-2.0
"""Train detectors for a given time, on one GPU to the full: ``python -m models.sprint --minutes 8 a=START.pt ...``.

Photos lie on the device, batches are made there, and a step is one captured graph. Each positional argument is a lane,
a process that trains its networks one after another; lanes share the device. Every network is trained in floating
point, then quantized, and both are written: OUTPUT/NAME/float.pt and OUTPUT/NAME/quantized.pt, checkpoints as those of
models.train and models.qat. A start of a narrower configuration is widened.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from codenet import command
from codenet.errors import CodenetError
from models.command import check_folder, number
from models.data import LISTS, DetectionData, cached_images, named_classes
from models.data.teacher import TeacherBoxes, with_teacher
from models.network import CONFIGS, CoDeNet, NetworkConfig, get_config, load_checkpoint, load_network
from models.training import pick_device, run_processes
from models.training.distill import check_original, check_teacher
from models.training.distill_detector import feature_names
from models.training.resident import (
    Budget,
    Recipe,
    resident_photos,
    square_side,
    train_float,
    train_quantized,
    write_float,
)
from models.training.run import setup_logging, training_data
from models.widen import widen

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A network to train: its configuration, the floating-point checkpoint it starts from, its part of the time."""

    config: NetworkConfig
    start: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str, output: Path) -> Job:
        """``NAME=CHECKPOINT``, or ``NAME=@OTHER``: from what this run made of another network, in ``output``.

        ``NAME*2`` has twice the time of others of its lane. `CodenetError` for anything else, and for a checkpoint that
        is none to start from.
        """
        match = re.fullmatch(r"(\w+)(?:\*(\d+(?:\.\d+)?))?=(@?)(.+)", text)
        if match is None or match[1] not in CONFIGS:
            raise CodenetError(
                f"job {text!r}: expected NAME=CHECKPOINT, NAME=@OTHER or NAME*WEIGHT=..., names being "
                f"{', '.join(CONFIGS)}"
            )
        name, weight, same_run, start = match.groups()
        if not same_run:
            square_side(load_network(Path(start)).config)
        return cls(get_config(name), output / start / "float.pt" if same_run else Path(start), float(weight or 1))


@dataclass(frozen=True)
class Lane:
    """What a process trains, and until when (`time.time`, which processes share); ``steps`` replaces the time."""

    jobs: tuple[Job, ...]
    output: Path
    recipe: Recipe
    device: str
    batch: int | None
    deadline: float
    quantized_share: float
    steps: int | None


def starting_network(job: Job, classes: tuple[str, ...]) -> CoDeNet:
    """The job's network with its start's weights, widened where it is wider and pruned where it is narrower.

    `CodenetError` for a checkpoint of other classes, or of a network that cannot become this one.
    """
    found = tuple(load_checkpoint(job.start)["classes"])
    if found != classes:
        raise CodenetError(f"checkpoint {job.start}: classes are {found}, expected {classes}")
    network = load_network(job.start)
    return network if network.config == job.config else widen(network, job.config, prune=True)


def _run_job(job: Job, lane: Lane, data: DetectionData, images: np.ndarray, seconds: float) -> None:
    output = lane.output / job.config.name
    setup_logging(output)
    device = pick_device(lane.device)
    torch.manual_seed(lane.recipe.seed)
    start = time.monotonic()
    photos = resident_photos(data, images, device)
    network = starting_network(job, data.classes).to(device)
    logger.info("%s: %d photos on %s after %.1f s", job.config.name, len(photos), device, time.monotonic() - start)
    recipe = replace(lane.recipe, batch=lane.batch or (64 if square_side(job.config) <= 320 else 32))
    if lane.quantized_share < 1:
        share = Budget(max(1.0, seconds * (1 - lane.quantized_share) - (time.monotonic() - start)), lane.steps)
        network = train_float(network, photos, recipe, share, output / "float.pt")
    else:
        write_float(network, output / "float.pt")
    left = max(1.0, seconds - (time.monotonic() - start))
    train_quantized(network, photos, recipe, Budget(left, lane.steps), output / "quantized.pt")
    logger.info("%s: done after %.1f s", job.config.name, time.monotonic() - start)


def _run_lane(lanes: list[Lane], data: DetectionData, cache: Path, position: int) -> None:
    lane = lanes[position]
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // len(lanes))))
    for done, job in enumerate(lane.jobs):
        images = cached_images(data, _cache_size(job.config), cache)
        share = job.weight / sum(other.weight for other in lane.jobs[done:])
        seconds = (lane.deadline - time.time()) * share
        _run_job(job, lane, data, images, seconds)


def _cache_size(config: NetworkConfig) -> int:
    """Side at which photos are kept: a view of a part of one should not be blurred."""
    return max(320, square_side(config))


def _data(options: argparse.Namespace) -> DetectionData:
    data = training_data(options.data, named_classes(options.classes))
    if options.teacher is not None:
        data = with_teacher(data, TeacherBoxes.load(options.teacher), incomplete=options.incomplete)
    return data


def _check_teachers(recipe: Recipe, configs: Sequence[NetworkConfig], classes: tuple[str, ...]) -> None:
    """`CodenetError` for a network to learn from whose outputs, or features, are not those of each of ``configs``."""
    checks: dict[Path, Callable[..., None]] = dict.fromkeys(recipe.teachers, check_teacher)
    if recipe.original is not None:
        checks[recipe.original] = check_original
    for path, check in checks.items():
        network = load_network(path)
        for config in configs:
            check(path, network, config, classes)


def _run(options: argparse.Namespace) -> None:
    if options.teachers and options.original is not None:
        raise CodenetError("--teachers and --original, expected one of them: each is what fine-tuning learns from")
    begin = time.time()
    check_folder(options.output)
    if options.detector is not None:
        feature_names(options.detector)
    recipe = replace(
        Recipe(),
        rate=options.rate,
        quantized_rate=options.quantized_rate,
        mosaics=options.mosaic,
        compiled=options.compile,
        seed=options.seed,
        cycles=options.cycles,
        detector=options.detector,
        teachers=tuple(options.teachers),
        original=options.original,
    )
    lanes = [
        Lane(
            tuple(Job.parse(text, options.output) for text in words.split(",")),
            options.output,
            recipe,
            options.device,
            options.batch,
            begin + 60 * options.minutes,
            options.quantized_share,
            options.steps,
        )
        for words in options.lanes
    ]
    setup_logging(options.output)
    data = _data(options)
    _check_teachers(recipe, [job.config for lane in lanes for job in lane.jobs], data.classes)
    for size in sorted({_cache_size(job.config) for lane in lanes for job in lane.jobs}):
        cached_images(data, size, options.output / "cache")
    logger.info("%d photos decoded after %.1f s", len(data), time.time() - begin)
    run_processes(functools.partial(_run_lane, lanes, data, options.output / "cache"), len(lanes), options.output)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.Parser(prog="python -m models.sprint", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("lanes", nargs="+", metavar="NAME=START[,...]", help="networks of a process, in turn; START: file, @NAME")
    add("--data", nargs="+", required=True, metavar="FOLDER[:SPLIT]", help="as of models.train")
    add("--classes", nargs="+", default=["auto"], help=f"names, or one of {', '.join(LISTS)}")
    add("--teacher", type=Path, metavar="FILE", help="boxes of a teacher, from models.teacher")
    add(
        "--incomplete",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="of --data: there, the teacher's boxes alone count",
    )
    add("--output", type=Path, required=True, help="folder for checkpoints and logs")
    add("--minutes", type=number(float, 0), default=8.0, help="until all is done, decoding included")
    add("--steps", type=number(int, 1), help="steps of each run instead: the same length on any machine")
    add(
        "--quantized-share",
        type=number(float, 0, 1),
        default=0.3,
        help="part of a network's time for fine-tuning; 1: of the start as it is (0.3)",
    )
    add("--batch", type=number(int, 1), help="pictures a step (default: 64, or 32 of more than 320 pixels)")
    add("--rate", type=number(float, 0), default=Recipe.rate, help="highest learning rate")
    add("--quantized-rate", type=number(float, 0), default=Recipe.quantized_rate, help="of fine-tuning")
    add("--mosaic", type=number(float, 0, 1), default=Recipe.mosaics, help="part of the pictures that are mosaics")
    add(
        "--cycles",
        type=number(int, 1),
        default=1,
        help="times that the learning rate rises; averages of their ends are tried",
    )
    add("--detector", type=Path, metavar="ONNX", help="file of a YOLOX whose features are learned, too")
    add(
        "--teachers",
        nargs="+",
        type=Path,
        default=[],
        metavar="CHECKPOINT",
        help="networks of the same classes and size, in floating point, whose mean outputs fine-tuning learns",
    )
    add(
        "--original",
        type=Path,
        metavar="CHECKPOINT",
        help="network in floating point whose features and outputs fine-tuning learns, instead of the start's",
    )
    add("--compile", action=argparse.BooleanOptionalAction, default=False, help="torch.compile")
    add("--seed", type=number(int, 0), default=Recipe.seed)
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:NUMBER")
    return parser


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for arguments or data that do not fit, 130 if interrupted."""
    return command.run("models.sprint", lambda: _run(make_parser().parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
