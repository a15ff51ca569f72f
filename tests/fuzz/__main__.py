# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.fuzz [KIND ...] [--count N] [--seed S]``, also ``make fuzz``: broken files for every reader, and
the part ``fuzz`` of ``build/trust.json``; status 1 at the first that is not read as it should be, with the command that
repeats it. Goes on where it was stopped; a change of readers or of how files are broken starts anew.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

from codenet import command
from codenet.checkout import digest, sources
from tests.campaign import Progress, counts, results, table
from tests.fuzz.batch import BATCH, Broken, batch, read_one
from tests.fuzz.targets import TARGETS
from tests.trust import record

SECONDS = 1200
"""That one batch may take."""


def main(arguments: list[str] | None = None) -> int:
    """Read broken files; returns the status."""
    parser = command.Parser(prog="python -m tests.fuzz", description="Broken files are taken or refused by name.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--count", type=int, default=100_000, help="files of each kind; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="what all is drawn from; default: %(default)s")
    parser.add_argument("--only", metavar="KIND/SEED/BATCH/INDEX", help="just this file, which is kept")
    parser.add_argument("--limit", type=int, default=SECONDS, help="seconds for a batch; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    return command.main(parser, lambda options: _work(parser, options), arguments)


def _work(parser: command.Parser, options: argparse.Namespace) -> int:
    unknown = [kind for kind in options.kinds if kind not in TARGETS]
    if unknown:
        parser.error(f"no kind of file is named {unknown[0]!r}: expected some of {', '.join(TARGETS)}")
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _one(options.only) if options.only else _many(options)
    finally:
        logging.disable(logging.NOTSET)


def _one(number: str) -> int:
    folder = Path(tempfile.mkdtemp(prefix="codenet-fuzz-"))
    try:
        data, outcome = read_one(TARGETS[number.split("/")[0]], number, folder)
    except Broken as error:
        print(f"{error}\nthe file is in {folder}")
        return 1
    print(f"{outcome}; the file of {len(data)} bytes is in {folder}")
    return 0


def _many(options: argparse.Namespace) -> int:
    batches = range(-(-options.count // BATCH))
    cases = [f"{kind}/{options.seed}/{n}" for n in batches for kind in options.kinds or TARGETS]
    entries, progress = [], Progress(len(cases))
    for entry in results("fuzz", cases, batch, _key, jobs=options.jobs, limit=options.limit):
        if entry["failure"]:
            repeat = entry["failure"].partition(":")[0] if "/" in entry["failure"] else f"{entry['case']}/INDEX"
            print(f"{entry['failure']}\nrepeat: python -m tests.fuzz --only {repeat}", flush=True)
            return 1
        entries.append(entry)
        progress.add()
    figures = counts(entries)
    print(table(figures))
    if not options.kinds:
        record("fuzz", {"seed": options.seed, "by_kind": figures})
    return 0


@cache
def _digest() -> str:
    here = sorted(Path(__file__).parent.glob("*.py"))
    return digest([*sources("codenet.runtime", "codenet.compiler", "models.data", "models.network"), *here])


def _key(case: str) -> str:
    return _digest()


if __name__ == "__main__":
    sys.exit(main())
