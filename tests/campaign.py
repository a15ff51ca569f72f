# SPDX-License-Identifier: Apache-2.0
"""Runs of many cases: in several processes, resumed where they were left, with a table of what came out."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from codenet.checkout import BUILD

Entry = dict[str, Any]
"""What a case gave: ``case``, its name; ``kind``; ``outcomes``, how often each came; ``failure``: what went wrong that
must not, else ``None``; and what else there is to say.
"""


class Hung(BaseException):
    """A case takes longer than any may."""


def results(
    name: str,
    cases: Sequence[str],
    work: Callable[[str], Entry],
    key: Callable[[str], str],
    *,
    jobs: int = 1,
    limit: int = 0,
) -> Iterator[Entry]:
    """Entries of ``cases``: first those that ``build/NAME.jsonl`` has of earlier runs, then the others, as they come.

    Parameters
    ----------
    work:
        Does a case; a function of a module, for other processes. With one job and no limit it is called in this one.
    key:
        Digest of what a case depends on: entries of another key do not count. Failures are not kept.
    limit:
        Seconds after which a case has failed; 0: none.
    """
    path = BUILD / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = _kept(path.read_text().splitlines() if path.exists() else [])
    known = {case: kept[case] for case in cases if case in kept and kept[case]["key"] == key(case)}
    yield from known.values()
    with open(path, "a") as file:
        for entry in _work([case for case in cases if case not in known], work, jobs, limit):
            if entry["failure"] is None:
                file.write(json.dumps(entry | {"key": key(entry["case"])}) + "\n")
                file.flush()
            yield entry


def _kept(lines: Sequence[str]) -> dict[str, Entry]:
    entries = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # Of a run that was killed.
            continue
        entries[entry["case"]] = entry
    return entries


def _work(cases: list[str], work: Callable[[str], Entry], jobs: int, limit: int) -> Iterator[Entry]:
    if jobs == 1 and not limit:
        yield from map(work, cases)
        return
    with multiprocessing.get_context("fork").Pool(jobs, _begin, (work, limit)) as pool:
        yield from pool.imap_unordered(_limited, cases)


_job: tuple[Callable[[str], Entry], int]


def _begin(work: Callable[[str], Entry], limit: int) -> None:
    global _job
    _job = work, limit
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _limited(case: str) -> Entry:
    work, limit = _job

    def stop(*_: object) -> None:
        raise Hung(f"no end within {limit} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        return work(case)
    except Hung as hung:
        return {"case": case, "kind": "?", "outcomes": {"hung": 1}, "failure": str(hung)}
    finally:
        signal.alarm(0)


Counts = dict[str, dict[str, int]]


def counts(entries: Sequence[Entry]) -> Counts:
    """How often each outcome came, by kind."""
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        total[entry["kind"]].update(entry["outcomes"])
    return {kind: dict(sorted(outcomes.items())) for kind, outcomes in sorted(total.items())}


def table(figures: Counts) -> str:
    """:func:`counts` for people."""
    lines = []
    for kind, outcomes in figures.items():
        lines.append(f"{kind}: {sum(outcomes.values())}")
        lines += [f"  {number:8} {outcome}" for outcome, number in outcomes.items()]
    return "\n".join(lines)


class Progress:
    """A line now and then: how many of how many."""

    def __init__(self, total: int, seconds: float = 30.0) -> None:
        self.total, self.seconds, self.done = total, seconds, 0
        self.began = self.last = time.monotonic()

    def add(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if now - self.last > self.seconds:
            self.last = now
            print(f"{self.done} of {self.total}, {now - self.began:.0f} s", flush=True)
