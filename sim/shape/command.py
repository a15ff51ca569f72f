# SPDX-License-Identifier: Apache-2.0
"""Network shapes for a frame rate on a chip: ``python -m models.shape --fps 150 [--chip xc7z020] [--shapes 300]``.

Prints the most accurate by estimate; writes all to ``search.json`` and ``front.svg`` in the output folder. Cycles are
kept there: a stopped search goes on with the same command.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from codenet import command, files
from codenet.checkout import BUILD
from codenet.config import AcceleratorConfig
from models.command import check_folder, duration, interrupt_on_termination, number
from sim.performance.targets import TARGETS, Target
from sim.shape.cost import Costs
from sim.shape.proxy import Detector, Proxy, paper, shipped
from sim.shape.report import chart, known, report, table
from sim.shape.search import Search
from sim.shape.shapes import SIZES, SPACE
from sim.timing import DramTiming

REPORT_SECONDS = 10.0
"""Between two lines of progress."""


def accelerator(chip: AcceleratorConfig, changes: list[str]) -> AcceleratorConfig:
    """``chip`` with ``FIELD=VALUE`` changed; `ConfigError` for another field or value."""
    values = dict(change.partition("=")[::2] for change in changes)
    return AcceleratorConfig.from_dict(
        {**chip.to_dict(), **{name: int(text) if text.isdecimal() else text for name, text in values.items()}}
    )


class Progress:
    """Says on standard error how long a search takes, once it has measured a few shapes, and how far it is."""

    def __init__(self, search: Search, shapes: int) -> None:
        self.search, self.shapes = search, shapes
        self.begin = self.last = time.monotonic()

    def __call__(self) -> None:
        now, measured = time.monotonic(), self.search.costs.measured
        if measured and now >= self.last + REPORT_SECONDS:
            self.last = now
            left = (now - self.begin) / measured * (self.shapes - self.search.seen)
            print(
                f"{self.search.seen} of {self.shapes} shapes, at most {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )


def rates(search: Search, detectors: list[Detector]) -> list[tuple[Detector, float]]:
    """Frames a second of trained detectors: the paper's own; of shipped ones by the cycles of their record, which are
    of the default accelerator and memory, otherwise by the cycle model.
    """
    usual = search.costs.accelerator == AcceleratorConfig() and search.costs.timing == DramTiming()
    found = []
    for detector in detectors:
        cycles = detector.cycles if usual and detector.cycles else search.costs[detector.shape].cycles
        if detector.fps is not None:
            found.append((detector, detector.fps))
        elif cycles is not None:
            found.append((detector, search.clock_mhz * 1e6 / cycles))
    return found


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m sim.shape", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fps", type=number(float, 0.1), nargs="+", required=True, metavar="N", help="wanted frames a second"
    )
    parser.add_argument("--chip", choices=sorted(TARGETS), default="xc7z020", help="chip (default xc7z020)")
    parser.add_argument("--clock", type=number(float, 1), metavar="MHZ", help="clock (default: the chip's)")
    parser.add_argument(
        "--accelerator",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="sizes that differ from the chip's accelerator, for example outputs=48 weight_depth=1024",
    )
    parser.add_argument(
        "--sizes", nargs="+", type=int, choices=SIZES, default=SIZES, metavar="PIXELS", help="sides of the input"
    )
    parser.add_argument(
        "--shapes", type=number(int, 1), default=300, help="how many to look at for each frame rate (300)"
    )
    parser.add_argument("--best", type=number(int, 1), default=10, help="how many to print of each (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (0)")
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "shape", help="folder (default build/shape)")
    return parser.parse_args(arguments)


def _search(options: argparse.Namespace, target: Target, clock: float) -> Search:
    costs = Costs(options.output, accelerator(target.chip.config, options.accelerator), target.timing(clock))
    space = {**SPACE, "size": tuple(sorted(set(options.sizes)))}
    search = Search(costs, Proxy([*shipped(), *paper()]), clock, space, options.seed)
    shapes = options.shapes * len(options.fps)
    print(search.proxy)
    print(f"{shapes} shapes, about a second each but for those of {len(costs.kept)} that {costs.path} has", flush=True)
    progress = Progress(search, shapes)
    try:
        for fps in options.fps:
            search.run(fps, options.shapes, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{search.seen} of {shapes} shapes; the same command goes on from there") from None
    return search


def _run(options: argparse.Namespace) -> None:
    interrupt_on_termination()
    check_folder(options.output)
    target = TARGETS[options.chip]
    clock = target.clock_mhz if options.clock is None else options.clock
    search = _search(options, target, clock)
    best = {fps: search.best(fps, options.best) for fps in options.fps}
    outputs = search.costs.accelerator.outputs
    title = f"networks on {target.chip.name}, 16x{outputs} at {clock:g} MHz: cycle model"
    drawing = chart(title, search, best, rates(search, search.proxy.detectors))
    files.write_json(options.output / "search.json", report(search, best, target.chip.name))
    files.write(options.output / "front.svg", drawing)
    print(f"{search.seen} shapes, of which the compiler refuses {len(search.refused)}")
    for fps, found in best.items():
        print(f"\n{fps:g} frames a second or more:\n", table(found, outputs), sep="\n")
    print("\nThe configurations:\n", table(known(search), outputs), sep="\n")
    print(f"\nwritten: {options.output / 'search.json'}, {options.output / 'front.svg'}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a bad argument and for a frame rate that nothing reaches, 130 for Ctrl-C."""
    return command.run("sim.shape", lambda: _run(_parse(arguments)))
