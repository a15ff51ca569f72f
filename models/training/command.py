# SPDX-License-Identifier: Apache-2.0
"""Arguments that the commands of training share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models.command import number
from models.network.config import ACCELERATED_SIDES, SIDE_UNIT
from models.training.config import TrainConfig


def add_common_arguments(parser: argparse.ArgumentParser, defaults: TrainConfig) -> None:
    """Arguments that floating-point and quantization-aware training share; `run_options` reads most of them."""
    add = parser.add_argument
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER[:SPLIT]",
        help="folders in COCO JSON, VOC XML or YOLO format that are joined, and their splits (default: train)",
    )
    add("--output", type=Path, required=True, help="folder for checkpoints, log and curves")
    add("--resume", action="store_true", help="continue from OUTPUT/checkpoint.pt if there is one")
    add("--extend", action="store_true", help="with --resume: go on with other settings than the checkpoint's")
    add("--overwrite", action="store_true", help="start anew where OUTPUT has a checkpoint")
    add("--iterations", type=number(int, 1), default=defaults.iterations)
    add("--batch", type=number(int, 1), default=defaults.batch)
    add("--rate", type=number(float, 0), default=defaults.rate, help="learning rate after the warm-up")
    add("--seed", type=number(int, 0), default=defaults.seed)
    add(
        "--save-every",
        type=number(int, 1),
        default=100,
        metavar="STEPS",
        help="between checkpoints: what a kill can lose",
    )
    add(
        "--workers",
        type=number(int, 1),
        help="processes that share a batch, a thread or GPU each (default: one a GPU, else 2)",
    )
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:NUMBER")


def input_size(text: str) -> int | tuple[int, int]:
    """Type of an argument: the side of a square input, or its height and width, ``384x640``."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) in ACCELERATED_SIDES for side in sides):
        low, high = ACCELERATED_SIDES[0], ACCELERATED_SIDES[-1]
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected a side, or HEIGHTxWIDTH, of multiples of {SIDE_UNIT} from {low} to {high}"
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def run_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of `models.training.run.Run` from the arguments."""
    return {
        "data": tuple(arguments.data),
        "output": arguments.output,
        "resume": arguments.resume,
        "extend": arguments.extend,
        "save_every": arguments.save_every,
        "device": arguments.device,
    }
