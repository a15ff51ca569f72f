# SPDX-License-Identifier: Apache-2.0
"""Resources and paths of the accelerator.

``python -m hw.synthesis budget`` (``make synth``): resources of each component and of the whole as a table and as
``build/synth.json``; ends with status 1 if the whole is over budget. ``--board ultra96`` (``make synth-ultra96``): the
same of the larger accelerator on the paper's chip. ``python -m hw.synthesis timing`` (``make timing``): the longest
paths, and place and route for the ECP5.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from codenet import command
from hw.chips import XC7Z020, Usage
from hw.lib.cells import Series7
from hw.synthesis import place, wires
from hw.synthesis.components import COMPONENTS, TOTAL, component, to_rtlil
from hw.synthesis.levels import Levels, unregistered
from hw.synthesis.targets import TARGETS, Target
from hw.synthesis.usage import over_budget, table, usage
from hw.synthesis.yosys import ECP5, XC7, read_netlist, synthesize

DEFAULT = "pynq-z2"

PLACED = ("registers", "sequencer", "profiler", "parameters", "loader", "vector_buffer", "storer", "peaks")
"""What is placed by default, in a minute. The others have multipliers and shift registers that the ECP5 has not."""


def netlists(names: list[str], target: Target = TARGETS[DEFAULT], command: str | None = None) -> dict[str, Path]:
    """Netlists of components of a target's accelerator, by its own ``command`` or another one."""
    command = command or target.command
    platform = Series7() if command == XC7 and target.chip == XC7Z020 else None
    texts = {name: to_rtlil(component(name, target.chip.config, target.chip.array_slices), platform) for name in names}
    paths = synthesize({f"{target.label}{name}": text for name, text in texts.items()}, command)
    return {name: paths[f"{target.label}{name}"] for name in names}


def budget(names: list[str], target: Target, report: Path) -> int:
    """Print the table; write ``report`` if the whole is among ``names``. Returns the exit status."""
    used = {name: usage(read_netlist(path)) for name, path in netlists(names, target).items()}
    other: dict[str, Usage] = {}
    if TOTAL in used:
        for family, command in target.other.items():
            other[family] = usage(read_netlist(netlists([TOTAL], target, command)[TOTAL]))
    rows = [*used.items(), *((f"{TOTAL}, {family}", found) for family, found in other.items())]
    print(table([*rows, ("budget", target.chip.budget), ("chip", target.chip.resources)]))
    if TOTAL not in used:
        return 0
    total = used.pop(TOTAL)
    values = {
        "config": target.chip.config.to_dict(),
        **total.to_dict(),
        "budget": target.chip.budget.to_dict(),
        "components": {name: u.to_dict() for name, u in used.items()},
        **{family: found.to_dict() for family, found in other.items()},
    }
    report.write_text(json.dumps(values, indent=2) + "\n")
    lines = over_budget(total, target.chip.budget)
    for line in lines:
        print(f"over budget: {line}", file=sys.stderr)
    return 1 if lines else 0


def timing(names: list[str], placed: list[str], paths: int) -> int:
    """Print the longest paths, what is not registered and what drives most, then the clocks of place and route.

    Returns the exit status: 1 if a net of the whole drives more than it may.
    """
    lines = []
    for name, path in netlists(names).items():
        netlist = read_netlist(path)
        print(f"{name}")
        for line in [*map(str, Levels(netlist).longest(paths)), *unregistered(netlist), *wires.report(netlist)]:
            print(f"  {line}")
        lines += wires.over_fan_out(netlist) if name == TOTAL else []
    for line in lines:
        print(f"over budget: {line}", file=sys.stderr)
    if placed and not place.available():
        print(f"{place.TOOL} is not installed: no place and route")
        placed = []
    for name, path in netlists(placed, command=ECP5).items():
        result = place.place(path)
        print(f"{name}: {f'{result.mhz:.0f} MHz on the ECP5' if result.mhz else result.note}")
    return 1 if lines else 0


def _run(options: argparse.Namespace) -> int:
    if options.command == "budget":
        target = TARGETS[options.board]
        return budget(options.components, target, options.output or target.report)
    return timing(options.components, options.place, options.paths)


def main(arguments: list[str] | None = None) -> int:
    parser = command.Parser(prog="python -m hw.synthesis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    everything = [*COMPONENTS, TOTAL]
    for name in ("budget", "timing"):
        commands.add_parser(name).add_argument(
            "--components", nargs="+", choices=everything, default=everything, metavar="NAME", help="default: all"
        )
    board = commands.choices["budget"].add_argument
    board("--board", choices=sorted(TARGETS), default=DEFAULT, help="whose accelerator and chip (default %(default)s)")
    board("-o", "--output", type=Path, help="default: build/synth.json, or build/synth-BOARD.json")
    commands.choices["timing"].add_argument("--paths", type=int, default=3, help="paths of each (default %(default)s)")
    commands.choices["timing"].add_argument(
        "--place",
        nargs="*",
        choices=list(COMPONENTS),
        default=list(PLACED),
        metavar="NAME",
        help="default: the smaller ones",
    )
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
