# SPDX-License-Identifier: Apache-2.0
"""Flip-flops that nothing reads leave the netlist, and with them what only they read; all else stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hw.flow.open import _spare_slices
from hw.flow.unread import remove


def cell(kind: str, inputs: list[int], output: int) -> dict[str, Any]:
    pins = {f"I{n}": [bit] for n, bit in enumerate(inputs)}
    return {
        "type": kind,
        "port_directions": dict.fromkeys(pins, "input") | {"O": "output"},
        "connections": pins | {"O": [output]},
    }


def chain(last: str, *, port: int) -> dict[str, Any]:
    """Input 2, LUT to 3, flip-flop to 4, LUT to 5, ``last`` to 6; ``port``: what leaves the module."""
    cells = {
        "lut": cell("LUT1", [2], 3),
        "first": cell("FDRE", [3], 4),
        "logic": cell("LUT2", [4, 2], 5),
        "last": cell(last, [5], 6),
    }
    return {"ports": {"i": {"bits": [2]}, "o": {"bits": [port]}}, "cells": cells}


@pytest.mark.parametrize(("port", "left"), [(2, ""), (3, "lut"), (4, "lut first"), (5, "lut first logic")])
def test_nothing_is_left_behind_what_leaves(port: int, left: str) -> None:
    module = chain("FDRE", port=port)
    assert remove(module) == 4 - len(left.split())
    assert list(module["cells"]) == left.split()


@pytest.mark.parametrize("kind", ["RAMB36E1", "DSP48E1", "PS7", "RAM64M", "BUFG"])
def test_what_enters_a_block_stays(kind: str) -> None:
    module = chain(kind, port=2)
    assert remove(module) == 0 and len(module["cells"]) == 4


def test_a_register_that_only_reads_itself_goes() -> None:
    module = chain("FDRE", port=6)
    module["cells"]["counter"] = cell("FDRE", [7, 2], 7)
    assert remove(module) == 1 and "counter" not in module["cells"]


@pytest.mark.parametrize(("module", "left"), [("board", ["lut"]), ("other", ["lut", "first", "logic", "last"])])
def test_a_netlist_is_written_without_them(module: str, left: list[str], tmp_path: Path) -> None:
    """That of the board's module, as the open flow does between synthesis and place and route."""
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {module: chain("LUT1", port=3) | {"netnames": {}}}}))
    _spare_slices(path, "board")
    assert list(json.loads(path.read_text())["modules"][module]["cells"]) == left
