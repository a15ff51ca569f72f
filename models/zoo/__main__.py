# SPDX-License-Identifier: Apache-2.0
"""Shipped detectors: ``python -m models.zoo list``, ``add`` (from trained checkpoints) and ``card`` (write a card
anew).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codenet import command
from models.command import number
from models.zoo import SHELF
from models.zoo.shelve import add, read_about, update_card


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names and files")
    adding = commands.add_parser("add", help="make program, graph, floating-point network and card of a detector")
    adding.add_argument("float", type=Path, help="checkpoint of python -m models.train")
    adding.add_argument("quantized", type=Path, help="checkpoint of python -m models.qat that started from it")
    adding.add_argument("--name", required=True, help="for example a: the files are codenet-a.*")
    adding.add_argument("--data", type=Path, required=True, help="folder to evaluate on")
    adding.add_argument("--split", default="val")
    adding.add_argument("--workers", type=number(int, 1), default=1, help="processes that evaluate")
    adding.add_argument("--limit", type=number(int, 1), help="evaluate on the first images only")
    writing = commands.add_parser("card", help="write a card anew")
    writing.add_argument("name")
    writing.add_argument(
        "--cycles", type=number(int, 1), help="cycles of a frame in RTL simulation, from make sim or make bench"
    )
    for described in (adding, writing):
        described.add_argument("--about", type=Path, help="JSON with data, started_from, commands (a list), limits")
    return parser.parse_args(arguments)


def _list() -> None:
    for name in SHELF.names():
        files = [SHELF.file(name, suffix) for suffix in (".cdn", ".cdg", ".pt", ".md")]
        print(
            name, *(f"{path.name} ({path.stat().st_size / 1e6:.2f} MB)" for path in files if path.is_file()), sep="  "
        )


def _add(options: argparse.Namespace) -> None:
    about = read_about(options.about)
    record = add(
        options.float,
        options.quantized,
        options.name,
        options.data,
        options.split,
        about,
        options.workers,
        options.limit,
        SHELF,
    )
    for key, score in record["scores"].items():
        print(f"{key:10} AP50 {score['ap50']:.3f} AP {score['ap']:.3f} images {score['images']}")
    print(f"then: make sim CONFIG={options.name}; python -m models.zoo card {options.name} --cycles CYCLES")


def _run(options: argparse.Namespace) -> None:
    if options.command == "list":
        _list()
    elif options.command == "card":
        print(update_card(options.name, options.cycles, read_about(options.about), SHELF), end="")
    else:
        _add(options)


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for checkpoints or data that do not fit."""
    return command.run("models.zoo", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
