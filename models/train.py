"""Training of the floating-point detector: ``python -m models.train --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from codenet.errors import CodenetError
from models.command import exit_status
from models.data import DetectionData, cached_images, load_data, split_of
from models.data.augment import Augmentation
from models.data.classes import LISTS, named_classes
from models.network.checkpoints import float_identity, load_checkpoint, load_network, previous, start_from
from models.network.config import CONFIGS, NetworkConfig, get_config
from models.network.detector import CoDeNet
from models.pretrained.authors import NORMALIZATIONS, load_authors, to_rounded
from models.pretrained.shufflenet import load_trunk
from models.training.batches import Batches
from models.training.distill import Distillation
from models.training.distributed import first_of_machine, from_first, pick_device, rank, start_workers
from models.training.losses import WEIGHTS
from models.training.progress import Progress
from models.training.schedule import BOX_RATES, TrainConfig
from models.training.trainer import Trainer, parameter_groups
from models.training.validation import Validation, subset

# What other modules know from here.
__all__ = [
    "Batches",
    "TrainConfig",
    "Trainer",
    "add_common_arguments",
    "check_output",
    "float_identity",
    "has_fast_bfloat16",
    "load_checkpoint",
    "load_network",
    "parameter_groups",
    "setup_logging",
    "start_workers",
]

logger = logging.getLogger(__name__)


def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 at more than float32's speed."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def setup_logging(output: Path) -> None:
    """Log to ``output/log.txt`` and the terminal."""
    output.mkdir(parents=True, exist_ok=True)
    handlers: Iterable[logging.Handler] = (logging.FileHandler(output / "log.txt"), logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


def add_common_arguments(parser: argparse.ArgumentParser, defaults: TrainConfig) -> None:
    """Arguments that floating-point and quantization-aware training share."""
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER[:SPLIT]",
        help="folders in COCO JSON, VOC XML or YOLO format that are joined, and their splits (default: train)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints, log and curves")
    parser.add_argument("--resume", action="store_true", help="continue from OUTPUT/checkpoint.pt if there is one")
    parser.add_argument(
        "--extend", action="store_true", help="with --resume: go on with other settings than the checkpoint's"
    )
    parser.add_argument("--overwrite", action="store_true", help="start anew where OUTPUT has a checkpoint")
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--rate", type=float, default=defaults.rate)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--save-every", type=int, default=100, metavar="STEPS", help="between checkpoints: what a kill can lose"
    )
    parser.add_argument(
        "--workers", type=int, help="processes that share a batch, a thread or GPU each (default: one a GPU, else 2)"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:NUMBER")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of floating-point training alone."""
    defaults, pictures = TrainConfig(), Augmentation()
    add = parser.add_argument
    add("--config", choices=list(CONFIGS), default="a")
    add(
        "--classes",
        nargs="+",
        default=["auto"],
        help=f"names, or one of {', '.join(LISTS)}; auto (default): those in the data",
    )
    add("--difficult", action="store_true", help="train on VOC's difficult boxes too")
    add("--warmup", type=int, default=defaults.warmup, metavar="STEPS", help="steps with a growing learning rate")
    start = parser.add_argument_group("start")
    start.add_argument("--trunk", type=Path, help="backbone weights: torchvision's or the original ShuffleNetV2 layout")
    start.add_argument("--teacher", type=Path, help="trunk weights whose features the backbone learns too")
    start.add_argument(
        "--start", type=Path, help="checkpoint of another run to start from; --trunk then replaces its backbone"
    )
    start.add_argument(
        "--start-authors", type=Path, metavar="FILE", help="checkpoint of the authors' code to start from"
    )
    start.add_argument(
        "--normalization", choices=list(NORMALIZATIONS), help="of --start-authors (default: by the classes)"
    )
    start.add_argument("--trunk-rate", type=float, default=1.0, help="multiplies the backbone's learning rate")
    start.add_argument("--slope", type=float, default=defaults.slope, help="negative slope at the start")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--mixed", action=argparse.BooleanOptionalAction, help="16-bit convolutions (default: where fast)"
    )
    machine.add_argument("--half", choices=("bfloat16", "float16"), help="which 16 bits (default: as the device has)")
    machine.add_argument(
        "--loaders", type=int, help="processes that prepare batches ahead (default: 4 with a GPU, else 0)"
    )
    look = parser.add_argument_group("augmentation")
    look.add_argument("--scale", type=float, nargs=2, default=pictures.scale, help="of the view, in sides of the image")
    look.add_argument("--aspect", type=float, default=pictures.aspect, help="largest change of the aspect ratio")
    look.add_argument("--jitter", type=float, default=pictures.jitter, help="of brightness, contrast, saturation")
    look.add_argument("--hue", type=float, default=pictures.hue, help="largest turn of the colours, 0 to 0.5")
    look.add_argument("--mosaic", type=float, default=pictures.mosaic, help="how likely four images share a picture")
    look.add_argument("--mosaic-end", type=float, default=pictures.mosaic_end, help="part of the run that ends mosaics")
    look.add_argument(
        "--cache-size", type=int, help="side at which images are cached (default: the network's, at least 320)"
    )
    check = parser.add_argument_group("validation")
    check.add_argument("--evaluate-every", type=int, default=0, metavar="STEPS", help="validate so often (0: never)")
    check.add_argument(
        "--val-data", nargs="+", metavar="FOLDER[:SPLIT]", help="default: the folders of --data, split val"
    )
    check.add_argument("--evaluate-images", type=int, help="validate on so many images, evenly spread")
    check.add_argument("--tensorboard", action=argparse.BooleanOptionalAction, help="default: if the package is there")


def make_config(arguments: argparse.Namespace, device: torch.device) -> TrainConfig:
    """Settings of a run from its arguments."""
    fast = has_fast_bfloat16()
    return TrainConfig(
        arguments.iterations,
        arguments.batch,
        arguments.rate,
        warmup=arguments.warmup,
        slope=arguments.slope,
        seed=arguments.seed,
        cache_size=arguments.cache_size or max(TrainConfig.cache_size, get_config(arguments.config).size),
        mixed=(fast or device.type == "cuda") if arguments.mixed is None else arguments.mixed,
        rates=(*BOX_RATES, ("backbone.", arguments.trunk_rate)),
        augmentation=Augmentation(
            scale=tuple(arguments.scale),
            aspect=arguments.aspect,
            jitter=arguments.jitter,
            hue=arguments.hue,
            mosaic=arguments.mosaic,
            mosaic_end=arguments.mosaic_end,
        ),
        half=arguments.half or ("bfloat16" if fast or device.type == "cpu" else "float16"),
    )


def load_training_data(arguments: argparse.Namespace) -> DetectionData:
    """The data set, each class of which has boxes to learn from; ``--classes auto`` leaves out those without."""
    return load_data(arguments.data, "train", named_classes(arguments.classes), arguments.difficult, trainable=True)


def load_validation(
    arguments: argparse.Namespace, network: NetworkConfig, classes: tuple[str, ...], device: torch.device
) -> Validation | None:
    """The validation split, cached at the network's size; None without ``--evaluate-every``."""
    if not arguments.evaluate_every:
        return None
    sources = arguments.val_data or [split_of(source, "")[0] for source in arguments.data]
    data = subset(from_first(load_data(sources, "val", classes) if rank() == 0 else None), arguments.evaluate_images)
    with first_of_machine():
        images = cached_images(data, network.size, arguments.output.parent / "cache")
    return Validation(data, images, network, device)


def starting_network(arguments: argparse.Namespace, classes: tuple[str, ...], images: np.ndarray) -> CoDeNet:
    """The network that training starts with: fresh, of another run, the authors', and with a trunk."""
    config = get_config(arguments.config)
    if arguments.start_authors is not None:
        authors = load_authors(arguments.start_authors, config, classes, arguments.normalization)
        return to_rounded(authors, images[:: max(1, len(images) // 16)][:16])
    network = CoDeNet(config, classes)
    if arguments.start is not None:
        start_from(network, arguments.start)
    if arguments.trunk is not None:
        load_trunk(network.backbone, arguments.trunk)
    return network


def train(arguments: argparse.Namespace, worker: int) -> None:
    """One worker of a training run."""
    setup_logging(arguments.output)
    torch.manual_seed(arguments.seed)
    device = pick_device(arguments.device)
    config = make_config(arguments, device)
    # Read once: annotations of a large set take gigabytes while they are read.
    data = from_first(load_training_data(arguments) if worker == 0 else None)
    with first_of_machine():
        images = cached_images(data, config.cache_size, arguments.output.parent / "cache")
    network = starting_network(arguments, data.classes, images)
    network = network.to(device, memory_format=torch.channels_last)
    validation = load_validation(arguments, network.config, data.classes, device)
    distillation = Distillation(network, arguments.teacher) if arguments.teacher is not None else None
    trainer = Trainer(network, config, float_identity(network) | {"data": data.fingerprint()}, distillation)
    path = arguments.output / "checkpoint.pt"
    resumed = arguments.resume and trainer.resume(path, arguments.extend)
    if worker == 0:
        logger.info("network %s, %s, %d images, loss weights %s", network.config, config, len(data), WEIGHTS)
        logger.info(
            "classes %s; %s", ", ".join(data.classes), f"resumed at step {trainer.step}" if resumed else "new run"
        )
    batches = Batches(data, images, config, network.config, worker, arguments.workers)
    tensorboard = find_spec("tensorboard") is not None if arguments.tensorboard is None else arguments.tensorboard
    progress = Progress(arguments.output, validation, arguments.evaluate_every, tensorboard)
    loaders = arguments.loaders if arguments.loaders is not None else 4 * (device.type == "cuda")
    trainer.run(batches, path, arguments.save_every, logger.info, progress, loaders)


def check_output(arguments: argparse.Namespace) -> None:
    """`CodenetError` if the output has a checkpoint, and the arguments do not say what to do with it."""
    path = arguments.output / "checkpoint.pt"
    found = [file for file in (path, previous(path)) if file.exists()]
    if arguments.overwrite:
        for file in found:
            file.unlink(missing_ok=True)
    elif found and not arguments.resume:
        raise CodenetError(
            f"training: {found[0]} is there already: --resume continues it, --overwrite starts anew, or give another --output"
        )


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments)
    start_workers(arguments, train)


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for arguments or data that do not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser, TrainConfig())
    add_arguments(parser)
    arguments = parser.parse_args(words)
    return exit_status(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
