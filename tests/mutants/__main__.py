# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.mutants [--files PATTERN ...] [--count N] [--seed S]``, also ``make mutants``: which of a sample of
mutants the tests of the mutated file kill, and the part ``mutants`` of ``build/trust.json``; status 1 if one survives
that is not in the list of equivalent ones. Goes on where it was stopped; a file that changes, or its tests, starts
anew.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache

from codenet import command
from codenet.errors import ConfigError
from tests.campaign import Entry, Progress, counts, results, table
from tests.mutants.catalog import LIST, area, equivalents, find, sources
from tests.mutants.mutate import sample
from tests.mutants.run import EQUIVALENT, SURVIVED, Tree, key_of
from tests.trust import record


def main(arguments: list[str] | None = None) -> int:
    """Try mutants; returns the status."""
    parser = command.Parser(prog="python -m tests.mutants", description="Do the tests notice a change of the sources?")
    parser.add_argument(
        "--files", nargs="+", metavar="PATTERN", default=[], help="paths such as 'hw/dma/*'; default: all"
    )
    parser.add_argument("--count", type=int, default=1000, help="mutants, of all files; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; default: %(default)s")
    parser.add_argument("--stages", type=int, choices=(1, 2, 3), default=3, help="of tests: of the file, room, all")
    parser.add_argument("--only", metavar="NAME", help="just this mutant, as it is printed")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    return command.main(parser, _work, arguments)


def _work(options: argparse.Namespace) -> int:
    global _stages
    _stages = options.stages
    chosen = sources(options.files)
    if not chosen:
        raise ConfigError(f"--files {' '.join(options.files)}: no source matches")
    names = [options.only] if options.only else [m.name for m in sample(chosen, options.count, options.seed)]
    entries, progress = [], Progress(len(names))
    limit = 0 if options.jobs == 1 else 3600 * 4
    for entry in results("mutants", names, case, _key, jobs=options.jobs, limit=limit):
        entries.append(entry)
        progress.add()
        if SURVIVED in entry["outcomes"] or options.only:
            print(f"{', '.join(entry['outcomes'])}: {entry['case']}\n    {entry['by']}", flush=True)
    figures = counts(entries)
    print(table(figures))
    if not options.only:
        record("mutants", {"seed": options.seed, "count": len(entries), "by_area": figures})
    return 1 if any(SURVIVED in entry["outcomes"] for entry in entries) else 0


_stages = 3


def case(name: str) -> Entry:
    """Try one mutant."""
    mutation = find(name)
    if name in equivalents(LIST.read_text()):
        outcome, by = EQUIVALENT, ""
    else:
        outcome, by = _tree().suffer(mutation, _stages)
    return {"case": name, "kind": area(mutation.path), "outcomes": {outcome: 1}, "by": by, "failure": None}


@cache
def _tree() -> Tree:
    return Tree()


def _key(name: str) -> str:
    listed = name in equivalents(LIST.read_text())
    return f"{key_of(name.partition(' ')[0])} {_stages}{' listed' if listed else ''}"


if __name__ == "__main__":
    sys.exit(main())
