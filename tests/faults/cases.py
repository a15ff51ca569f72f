# SPDX-License-Identifier: Apache-2.0
"""Faults by their number: the kinds in turn, everything else drawn from the seed."""

from __future__ import annotations

import traceback

import numpy as np

from sim.verilator.board import READ, WRITE
from tests.campaign import Entry
from tests.faults.bench import Bench, Failure
from tests.faults.kinds import KINDS


def case(number: str) -> Entry:
    """Suffer one fault, ``SEED/INDEX``, on a board of its own."""
    seed, index = map(int, number.split("/"))
    kind = list(KINDS)[index % len(KINDS)]
    bench = Bench(np.random.default_rng([seed, index]))
    outcome, failure = "failure", None
    try:
        outcome = KINDS[kind](bench)
        bench.check_bus()
        bench.check_next()
    except Failure as error:
        failure = str(error)
    except Exception:
        failure = traceback.format_exc()
    strays = [bench.device.board.strays(kind) for kind in (READ, WRITE)]
    bench.close()
    return {
        "case": number,
        "kind": kind,
        "fault": bench.text,
        "outcomes": {outcome: 1},
        "strays": strays,
        "failure": failure,
    }
