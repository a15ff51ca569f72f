# SPDX-License-Identifier: Apache-2.0
"""What a set of dilations saves in cycles: ``python -m sim.dilation_sets --configs a c [--offsets offsets.json]``.

Networks that keep to a set, compiled, and the cycle model's frame. A set with gaps costs a small step
more for each deformable layer (docs/numbers.md), and saves the eight cycles that the window takes longer for dilations
that are multiples of 3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codenet import command, compiler
from codenet.config import CONFLICT_FREE, MAX_DILATION
from codenet.program import Program
from sim.cycles import equally_frequent, predict
from sim.networks import CONFIGURATIONS, letters
from sim.performance.plan import read_dilations

ALL = tuple(range(MAX_DILATION + 1))

SETS = (ALL, (0, *CONFLICT_FREE), CONFLICT_FREE)
"""All dilations; the ones without 3 and 6, of which only 0 is slow; the ones that take one cycle."""


@dataclass(frozen=True)
class SetCost:
    """A frame of a configuration whose network keeps to ``dilations``."""

    configuration: str
    dilations: tuple[int, ...]
    steps: int
    cycles: int


def moved(frequencies: np.ndarray, dilations: Sequence[int]) -> np.ndarray:
    """Frequencies ``[8]`` after every dilation has gone to the nearest of ``dilations``, the larger one of two equally
    near.
    """
    result = np.zeros(len(ALL))
    for d, frequency in enumerate(frequencies):
        result[min(dilations, key=lambda member: (abs(member - d), -member))] += frequency
    return result


def cost(
    configuration: str, dilations: tuple[int, ...], program: Program, known: Mapping[int, np.ndarray] | None
) -> SetCost:
    """The cycle model's frame of ``program``; ``known`` dilations by step go to the nearest member, else all members
    are equally frequent.
    """
    frequencies = equally_frequent(program, dilations)
    if known is not None:
        frequencies = {number: moved(known[number], dilations) for number in frequencies}
    return SetCost(configuration, dilations, len(program.descriptors), predict(program, None, frequencies).cycles)


def measure(configuration: str, offsets: Path | None) -> list[SetCost]:
    """A frame for each of `SETS`.

    Raises
    ------
    FormatError
        ``offsets`` are not those of such a network.
    """
    from models.network.config import get_config
    from models.quantization.outline import outline

    found = []
    for dilations in SETS:
        config = get_config(configuration).replace(dilations=dilations)
        program = compiler.compile(outline(config))
        known = None if offsets is None else read_dilations(offsets, program)
        found.append(cost(configuration, dilations, program, known))
    return found


def table(costs: Sequence[SetCost]) -> str:
    """Markdown; the difference is to the first of each configuration, which has all dilations."""
    lines = ["| configuration | dilations | steps | cycles | difference |", "|---|---|---|---|---|"]
    first: dict[str, int] = {}
    for item in costs:
        start = first.setdefault(item.configuration, item.cycles)
        members = ", ".join(map(str, item.dilations))
        lines.append(
            f"| {item.configuration} | {members} | {item.steps} | {item.cycles:,} | "
            f"{100 * (item.cycles / start - 1):+.1f} % |"
        )
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> None:
    print(table([item for name in options.configs for item in measure(name, options.offsets)]))


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for offsets that do not fit."""
    parser = command.Parser(prog="python -m sim.dilation_sets", description=__doc__.splitlines()[0])
    parser.add_argument("--configs", type=letters, default="ac", help=f"letters of {CONFIGURATIONS} (ac)")
    parser.add_argument(
        "--offsets", type=Path, help="offsets.json of models.offsets (default: members equally frequent)"
    )
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
