# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.soak [--networks NAME ...] [--count N] [--seed S]``, also ``make soak``: whole frames on the
simulated board, every tensor compared, and the part ``soak`` of ``build/trust.json``; status 1 at the first that
differs, or if the memory of the process grows. Goes on where it was stopped; a change of anything that it is about
starts anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from codenet import command
from codenet.checkout import ROOT, digest, sources
from codenet.errors import ConfigError
from sim.verilator.library import HARNESS, build
from tests.campaign import Entry, Progress, counts, results, table
from tests.soak.frames import FRAMES, NETWORKS, case, resident
from tests.trust import record

GROWTH = 64 << 20
"""Bytes by which the memory of a process may grow after each network's first frames."""


def main(arguments: list[str] | None = None) -> int:
    """Compute frames; returns the status."""
    parser = command.Parser(prog="python -m tests.soak", description="Frame after frame, with any memory timing.")
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME", default=list(NETWORKS), help=f"of {', '.join(NETWORKS)}"
    )
    parser.add_argument("--count", type=int, default=1000, help="frames, of all networks in turn; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of photos and timing; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    return command.main(parser, _work, arguments)


def _work(options: argparse.Namespace) -> int:
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        raise ConfigError(f"no network is named {unknown[0]!r}: expected some of {', '.join(NETWORKS)}")
    for name in options.networks:
        build(NETWORKS[name][0])
    rounds = -(-options.count // (FRAMES * len(options.networks)))
    cases = [f"{name}/{options.seed}/{index}" for index in range(rounds) for name in options.networks]
    entries, progress = [], Progress(len(cases))
    for entry in results("soak", cases, case, _key, jobs=options.jobs):
        if entry["failure"]:
            print(f"{entry['case']}: {entry['failure']}", flush=True)
            return 1
        entries.append(entry)
        progress.add()
    figures = counts(entries)
    cycles, growth = sum(entry["cycles"] for entry in entries), grown(entries, len(options.networks) * options.jobs)
    print(table(figures))
    print(
        f"{cycles} cycles; memory of a process grew by at most {growth / 2**20:.1f} MiB, and is {resident() >> 20} MiB"
    )
    record("soak", {"seed": options.seed, "frames": figures, "cycles": cycles, "growth_bytes": growth})
    return 1 if growth > GROWTH else 0


def grown(entries: Sequence[Entry], first: int) -> int:
    """Bytes by which processes had more memory at the end than after their ``first`` cases: each network once."""
    begun, end = entries[:first], entries[first:]
    largest = max(entry["resident"] for entry in begun)
    return max(0, max((entry["resident"] for entry in end[-first:]), default=largest) - largest)


@cache
def _digest() -> str:
    here = sorted(Path(__file__).parent.glob("*.py"))
    modules = sources("hw.verilog", "sim.verilator", "sim.networks", "codenet.runtime", "codenet.compiler")
    return digest([*modules, *here, *HARNESS, ROOT / "tests" / "networks.py"])


def _key(number: str) -> str:
    return _digest()


if __name__ == "__main__":
    sys.exit(main())
