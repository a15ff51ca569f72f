# SPDX-License-Identifier: Apache-2.0
"""Training of the floating-point detector: ``python -m models.train --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from codenet import command
from codenet.fit import FITS, STRETCH
from models.command import number
from models.data import LISTS, Augmentation, named_classes
from models.network import CONFIGS, SIDE_UNIT, NetworkConfig, get_config
from models.pretrained import NORMALIZATIONS
from models.training import BOX_RATES, FloatRun, Start, TrainConfig, check_output, start_workers, train
from models.training.command import add_common_arguments, input_size, run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of floating-point training alone."""
    defaults, pictures = TrainConfig(), Augmentation()
    add = parser.add_argument
    add("--config", choices=list(CONFIGS), default="a")
    add(
        "--size",
        type=input_size,
        metavar="SIDE|HEIGHTxWIDTH",
        help=f"of the input in pixels, multiples of {SIDE_UNIT} (default: the configuration's)",
    )
    add(
        "--fit",
        choices=FITS,
        default=STRETCH,
        help="photos fill the input (default), or keep their aspect ratio, with grey beside them",
    )
    add(
        "--classes",
        nargs="+",
        default=["auto"],
        help=f"names, or one of {', '.join(LISTS)}; auto (default): those in the data",
    )
    add("--difficult", action="store_true", help="train on VOC's difficult boxes too")
    add(
        "--warmup",
        type=number(int, 0),
        default=defaults.warmup,
        metavar="STEPS",
        help="steps with a growing learning rate",
    )
    start = parser.add_argument_group("start")
    start.add_argument(
        "--backbone",
        "--trunk",
        type=Path,
        metavar="FILE",
        help="backbone weights: torchvision's or the original ShuffleNetV2 layout",
    )
    start.add_argument(
        "--teacher", type=Path, metavar="FILE", help="backbone weights whose features the backbone learns too"
    )
    # torchrun takes --start for an abbreviation of its own --start-method.
    start.add_argument(
        "--start-from",
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="checkpoint of another run to start from; --backbone then replaces its backbone",
    )
    start.add_argument(
        "--start-authors", type=Path, metavar="FILE", help="checkpoint of the authors' code to start from"
    )
    start.add_argument(
        "--normalization", choices=list(NORMALIZATIONS), help="of --start-authors (default: by the classes)"
    )
    start.add_argument(
        "--backbone-rate",
        "--trunk-rate",
        type=number(float, 0),
        default=1.0,
        help="multiplies the backbone's learning rate",
    )
    start.add_argument("--slope", type=number(float, 0, 1), default=defaults.slope, help="negative slope at the start")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--mixed", action=argparse.BooleanOptionalAction, help="16-bit convolutions (default: where fast)"
    )
    machine.add_argument("--half", choices=("bfloat16", "float16"), help="which 16 bits (default: as the device has)")
    machine.add_argument(
        "--loaders", type=number(int, 0), help="processes that prepare batches ahead (default: 4 with a GPU, else 0)"
    )
    look = parser.add_argument_group("augmentation")
    look.add_argument("--scale", type=float, nargs=2, default=pictures.scale, help="of the view, in sides of the image")
    look.add_argument("--aspect", type=float, default=pictures.aspect, help="largest change of the aspect ratio")
    look.add_argument("--jitter", type=float, default=pictures.jitter, help="of brightness, contrast, saturation")
    look.add_argument("--hue", type=float, default=pictures.hue, help="largest turn of the colours, 0 to 0.5")
    look.add_argument("--mosaic", type=float, default=pictures.mosaic, help="how likely four images share a picture")
    look.add_argument("--mosaic-end", type=float, default=pictures.mosaic_end, help="part of the run that ends mosaics")
    look.add_argument(
        "--cache-size",
        type=number(int, 1),
        help="side at which images are cached (default: the network's longer one, at least 320)",
    )
    check = parser.add_argument_group("validation")
    check.add_argument(
        "--evaluate-every", type=number(int, 0), default=0, metavar="STEPS", help="validate so often (0: never)"
    )
    check.add_argument(
        "--val-data", nargs="+", metavar="FOLDER[:SPLIT]", help="default: the folders of --data, split val"
    )
    check.add_argument(
        "--evaluate-images", type=number(int, 1), help="validate on so many images, evenly spread over those with boxes"
    )
    check.add_argument("--tensorboard", action=argparse.BooleanOptionalAction, help="default: if the package is there")


def make_config(arguments: argparse.Namespace) -> TrainConfig:
    """Settings of a run from its arguments, but for what suits the device."""
    return TrainConfig(
        arguments.iterations,
        arguments.batch,
        arguments.rate,
        warmup=arguments.warmup,
        slope=arguments.slope,
        seed=arguments.seed,
        cache_size=arguments.cache_size or max(TrainConfig.cache_size, *make_network(arguments).input_size),
        rates=(*BOX_RATES, ("backbone.", arguments.backbone_rate)),
        augmentation=Augmentation(
            scale=tuple(arguments.scale),
            aspect=arguments.aspect,
            jitter=arguments.jitter,
            hue=arguments.hue,
            mosaic=arguments.mosaic,
            mosaic_end=arguments.mosaic_end,
        ),
    )


def make_network(arguments: argparse.Namespace) -> NetworkConfig:
    """The network's configuration from a run's arguments."""
    config = get_config(arguments.config)
    return config.replace(size=arguments.size or config.size, fit=arguments.fit)


def make_run(arguments: argparse.Namespace) -> FloatRun:
    """Where a run reads, writes and computes, from its arguments."""
    return FloatRun(
        **run_options(arguments),
        classes=named_classes(arguments.classes),
        difficult=arguments.difficult,
        start=Start(
            arguments.start_from,
            arguments.backbone,
            arguments.start_authors,
            arguments.normalization,
            arguments.teacher,
        ),
        evaluate_every=arguments.evaluate_every,
        val_data=None if arguments.val_data is None else tuple(arguments.val_data),
        evaluate_images=arguments.evaluate_images,
        mixed=arguments.mixed,
        half=arguments.half,
        loaders=arguments.loaders,
        tensorboard=arguments.tensorboard,
    )


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.Parser(prog="python -m models.train", description=__doc__)
    add_common_arguments(parser, TrainConfig())
    add_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    run, config = make_run(arguments), make_config(arguments)
    check_output(run, arguments.overwrite, run.start.files())
    job = functools.partial(train, run, make_network(arguments), config)
    start_workers(job, run.output, arguments.workers, run.device)
    print(f"done: {run.checkpoint}; next: python -m models.qat, or python -m models.evaluate, on it")


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for arguments or data that do not fit, 130 if interrupted."""
    return command.run("models.train", lambda: _run(make_parser().parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
