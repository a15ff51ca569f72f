# SPDX-License-Identifier: Apache-2.0
"""Resets of few flip-flops become logic, with the same next state."""

from __future__ import annotations

import pytest

from hw.flow.resets import as_logic


def module(kind, count, enable="1", data=2, reset=3):
    pin = {"FDRE": "R", "FDSE": "S"}[kind]
    cells = {
        f"f{n}": {"type": kind, "connections": {"C": [9], "CE": [enable], "D": [data], pin: [reset], "Q": [10 + n]}}
        for n in range(count)
    }
    return {"cells": cells, "netnames": {"all": {"bits": list(range(2, 10 + count))}}}


@pytest.mark.parametrize(("kind", "following"), [("FDRE", lambda d, r: d & ~r & 1), ("FDSE", lambda d, r: d | r)])
def test_the_lut_gives_what_the_reset_gave(kind, following):
    made = module(kind, 3)
    assert as_logic(made) == 3
    for n in range(3):
        flip_flop, lut = made["cells"][f"f{n}"], made["cells"][f"f{n}.{'R' if kind == 'FDRE' else 'S'}"]
        assert flip_flop["connections"]["R" if kind == "FDRE" else "S"] == ["0"]
        assert flip_flop["connections"]["D"] == lut["connections"]["O"] and lut["connections"]["O"][0] > 12
        assert (lut["connections"]["I0"], lut["connections"]["I1"]) == ([2], [3])
        table = int(lut["parameters"]["INIT"], 2)
        assert [table >> (r << 1 | d) & 1 for d in (0, 1) for r in (0, 1)] == [
            following(d, r) for d in (0, 1) for r in (0, 1)
        ]
    outputs = [made["cells"][name]["connections"]["O"][0] for name in made["cells"] if "." in name]
    assert len(set(outputs)) == 3


@pytest.mark.parametrize(
    "kept",
    [
        module("FDRE", 4),  # Enough of them.
        module("FDRE", 2, enable=5),  # The reset would have to win over the enable.
        module("FDRE", 2, reset="0"),
        module("FDRE", 2, data="1"),
    ],
    ids=["four", "enable", "no reset", "constant"],
)
def test_others_stay(kept):
    before = str(kept)
    assert as_logic(kept) == 0
    assert str(kept) == before
