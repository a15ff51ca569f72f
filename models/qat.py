# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware fine-tuning: ``python -m models.qat FLOAT_CHECKPOINT --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from pathlib import Path

from codenet import command
from models.quantization import add_arguments, from_arguments
from models.training import Run, check_output, start_workers
from models.training.command import add_common_arguments, run_options
from models.training.fine_tune import DEFAULTS, fine_tune


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command.Parser(prog="python -m models.qat", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    add_common_arguments(parser, DEFAULTS)
    parser.add_argument(
        "--distill",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn features and outputs of the floating-point network too (default: yes)",
    )
    add_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    run, precision = Run(**run_options(arguments)), from_arguments(arguments)
    config = dataclasses.replace(
        DEFAULTS,
        iterations=arguments.iterations,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
    )
    check_output(run, arguments.overwrite, [arguments.checkpoint])
    job = functools.partial(fine_tune, arguments.checkpoint, run, config, precision, arguments.distill)
    start_workers(job, run.output, arguments.workers, run.device)
    print(f"done: {run.checkpoint}; next: python -m models.export {run.checkpoint} -o FILE.cdn")


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint or data that do not fit, 130 if interrupted."""
    return command.run("models.qat", lambda: _run(make_parser().parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
