# SPDX-License-Identifier: Apache-2.0
"""Search for the shape of the accelerator (:mod:`sim.performance.search`).

``python -m sim.search [--configs ac] [--target xc7z020]`` lists every shape, and which is chosen.
"""

from __future__ import annotations

import argparse
import sys

from codenet import command
from sim.networks import CONFIGURATIONS, letters, load_kept
from sim.performance.search import choose, search, search_report, search_table
from sim.performance.targets import TARGETS


def _run(options: argparse.Namespace) -> None:
    target = TARGETS[options.target]
    candidates = search({name: load_kept(name) for name in options.configs}, target)
    print(search_table(search_report(candidates, choose(candidates), target)))


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = command.Parser(prog="python -m sim.search", description="Search for the shape of the accelerator.")
    parser.add_argument(
        "--configs", type=letters, default="ac", help=f"letters of {CONFIGURATIONS}: the networks (default ac)"
    )
    parser.add_argument("--target", choices=sorted(TARGETS), default="xc7z020", help="chip (default xc7z020)")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
