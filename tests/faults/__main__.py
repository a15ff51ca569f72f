# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.faults [--count N] [--seed S]``, also ``make faults``: single faults, counted by kind and outcome,
and the part ``faults`` of ``build/trust.json``; status 1 at the first that ends as none may, with the command that
repeats it. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import cache
from pathlib import Path

from codenet import command
from codenet.checkout import ROOT, digest, sources
from sim.verilator.library import HARNESS
from tests.campaign import Entry, Progress, counts, results, table
from tests.faults.bench import library
from tests.faults.cases import case
from tests.faults.kinds import KINDS
from tests.trust import record

SECONDS = 300
"""On the wall, for one fault."""


def main(arguments: list[str] | None = None) -> int:
    """Suffer faults; returns the status."""
    parser = command.Parser(prog="python -m tests.faults", description="Faults on the simulated board, one at a time.")
    parser.add_argument("--count", type=int, default=10_000, help="faults, of all kinds in turn; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="what all is drawn from; default: %(default)s")
    parser.add_argument("--only", type=int, metavar="INDEX", help="just this one, and say what it is")
    parser.add_argument("--limit", type=int, default=SECONDS, help="seconds for a fault; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    return command.main(parser, _work, arguments)


def _work(options: argparse.Namespace) -> int:
    logger = logging.getLogger("codenet")
    level = logger.level
    logger.setLevel(logging.ERROR)  # Of interrupts that are lost, there are many.
    try:
        return _suffer(options)
    finally:
        logger.setLevel(level)


def _suffer(options: argparse.Namespace) -> int:
    library()
    if options.only is not None:
        entry = case(f"{options.seed}/{options.only}")
        print(_text(entry))
        return 1 if entry["failure"] else 0
    cases = [f"{options.seed}/{index}" for index in range(options.count)]
    entries, progress = [], Progress(len(cases))
    for entry in results("faults", cases, case, _key, jobs=options.jobs, limit=options.limit):
        if entry["failure"]:
            index = entry["case"].split("/")[1]
            print(f"{_text(entry)}\nrepeat: python -m tests.faults --seed {options.seed} --only {index}", flush=True)
            return 1
        entries.append(entry)
        progress.add()
    figures = counts(entries)
    print(table(figures))
    strays = [sum(entry["strays"][n] > 0 for entry in entries) for n in (0, 1)]
    print(f"of bits of descriptors and parameters, {strays[0]} made it read and {strays[1]} write outside its memory")
    record(
        "faults",
        {
            "seed": options.seed,
            "count": len(entries),
            "by_kind": figures,
            "reading_outside": strays[0],
            "writing_outside": strays[1],
        },
    )
    return 0


def _text(entry: Entry) -> str:
    end = f"failed: {entry['failure']}" if entry["failure"] else ", ".join(entry["outcomes"])
    return f"fault {entry['case']}, {entry['kind']}: {entry.get('fault', '')}: {end}"


@cache
def _digest() -> str:
    here = sorted(Path(__file__).parent.glob("*.py"))
    modules = sources("hw.verilog", "sim.verilator", "codenet.runtime", "codenet.compiler", "codenet.golden")
    return digest([*modules, *here, *HARNESS, ROOT / "tests" / "networks.py"], str(list(KINDS)))


def _key(number: str) -> str:
    return _digest()


if __name__ == "__main__":
    sys.exit(main())
