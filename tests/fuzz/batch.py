# SPDX-License-Identifier: Apache-2.0
"""Broken files, read one after the other: what became of them, within bounds of time and memory."""

from __future__ import annotations

import resource
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from time import monotonic as _now

import numpy as np

from codenet.errors import CodenetError
from tests.campaign import Entry
from tests.fuzz.targets import TARGETS, Target

BATCH = 200
"""Files in a batch."""

SECONDS = 20.0
"""That one file may take, on a busy machine too."""

MEMORY_FACTOR = 1100
"""Bytes of memory for each byte of a file, besides `Target.memory`: no compression of these files does better (zlib's
best is 1032).
"""

TAKEN = "taken"


class Broken(Exception):
    """What a reader must not do."""


def read_one(target: Target, number: str, folder: Path) -> tuple[bytes, str]:
    """File ``KIND/SEED/BATCH/INDEX``, and its outcome.

    Raises
    ------
    Broken
        Another error than the project's, too long, or too much memory.
    """
    seed, batch, index = map(int, number.split("/")[1:])
    rng = np.random.default_rng([seed, batch, index])
    data = target.case(rng)
    before, began = _peak(), _now()
    try:
        target.read(data, folder, rng)
        outcome = TAKEN
    except CodenetError as error:
        outcome = f"refused: {type(error).__name__}"
        if not str(error).strip():
            raise Broken("an error without a text") from error
    except Exception as error:
        raise Broken(traceback.format_exc()) from error
    seconds, grown = _now() - began, _peak() - before
    if seconds > SECONDS:
        raise Broken(f"{seconds:.0f} s, expected at most {SECONDS:.0f}")
    if grown > target.memory + MEMORY_FACTOR * len(data):
        raise Broken(f"{grown >> 20} MiB for a file of {len(data)} bytes")
    return data, outcome


def _peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def batch(case: str) -> Entry:
    """Read the files of batch ``KIND/SEED/BATCH``, up to the first that is not read as it should be."""
    kind = case.split("/")[0]
    outcomes: Counter[str] = Counter()
    failure = None
    with tempfile.TemporaryDirectory() as folder:
        for index in range(BATCH):
            try:
                outcomes[read_one(TARGETS[kind], f"{case}/{index}", Path(folder))[1]] += 1
            except Broken as error:
                failure = f"{case}/{index}: {error}"
                break
    return {"case": case, "kind": kind, "outcomes": dict(outcomes), "failure": failure}
