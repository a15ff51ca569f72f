# SPDX-License-Identifier: Apache-2.0
"""Give a trained network another stem: ``python -m models.restem CHECKPOINT --config e --data DATA --output FOLDER``.

The new stem and the first stage, or more of them, learn, on photos and without boxes, to compute what the original's
did; all that follows stays as it is. FOLDER/float.pt is a checkpoint to fine-tune from.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from pathlib import Path

import torch

from codenet import command
from models.command import check_folder, check_outputs, number
from models.data import Augmentation, cached_images
from models.network import CONFIGS, get_config, load_network
from models.training import pick_device
from models.training.resident import Budget, Recipe, fit_stem, resident_photos, with_stem, write_float
from models.training.run import setup_logging, training_data

logger = logging.getLogger(__name__)

#: Views near what the network will see, on which the original is best.
_AUGMENTATION = Augmentation(scale=(0.6, 1.2), aspect=1.2, jitter=0.2, hue=0.02)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.Parser(prog="python -m models.restem", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("checkpoint", type=Path, help="in floating point")
    add("--config", choices=list(CONFIGS), required=True, help="equal but for the stem: e for a d, b for an a")
    add("--data", nargs="+", required=True, metavar="FOLDER[:SPLIT]", help="as of models.train; boxes are not used")
    add("--output", type=Path, required=True, help="folder for the checkpoint, decoded photos and the log")
    add("--stages", type=int, choices=(1, 2, 3), default=1, help="that learn besides the stem (1)")
    add("--minutes", type=number(float, 0), default=12.0, help="of training (12)")
    add("--steps", type=number(int, 1), help="steps instead: the same length on any machine")
    add("--batch", type=number(int, 2), default=8, help="pictures a step (8)")
    add("--rate", type=number(float, 0), default=3e-3, help="highest learning rate (0.003)")
    add("--seed", type=number(int, 0), default=1)
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:NUMBER")
    return parser


def _run(options: argparse.Namespace) -> None:
    original, config = load_network(options.checkpoint), get_config(options.config)
    network = with_stem(original, config)
    check_folder(options.output)
    output = options.output / "float.pt"
    check_outputs([output], [options.checkpoint])
    setup_logging(options.output)
    torch.manual_seed(options.seed)
    begin = time.monotonic()
    data = training_data(options.data, original.classes)
    images = cached_images(data, max(config.input_size), options.output / "cache")
    photos = resident_photos(data, images, pick_device(options.device))
    logger.info("%d photos after %.1f s", len(photos), time.monotonic() - begin)
    recipe = dataclasses.replace(
        Recipe(), batch=options.batch, rate=options.rate, seed=options.seed, augmentation=_AUGMENTATION
    )
    budget = Budget(60 * options.minutes, options.steps)
    write_float(fit_stem(network, original, photos, recipe, budget, options.stages), output)
    print(f"{output}: next: python -m models.sprint {config.name}={output} --original {options.checkpoint} ...")


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint or data that do not fit, 130 if interrupted."""
    return command.run("models.restem", lambda: _run(make_parser().parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
