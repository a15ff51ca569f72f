# SPDX-License-Identifier: Apache-2.0
"""The slowest paths by the delays that nextpnr writes, one between any two components."""

from __future__ import annotations

from typing import Any

import pytest

from hw.flow import paths
from hw.flow.paths import MOST, SlowPath
from hw.flow.sdf import Delays

Q, LUT, SETUP = 518, 124, 80


def flip_flop(name: str) -> str:
    return f"""\
    (CELLTYPE "SLICE_FFX")
    (INSTANCE {name})
        (IOPATH CK Q ({Q}:{Q}:{Q}) ({Q}:{Q}:{Q}))
      (SETUPHOLD (posedge D) (posedge CK) ({SETUP}:{SETUP}:{SETUP}) (100:100:100))
      (SETUPHOLD (negedge D) (posedge CK) ({SETUP}:{SETUP}:{SETUP}) (100:100:100))
"""


def lut(name: str) -> str:
    delays = "".join(f"        (IOPATH A{n} O6 ({LUT - 20}:{LUT - 10}:{LUT}) (1:1:1))\n" for n in (1, 2, 3))
    return f'    (CELLTYPE "SLICE_LUTX")\n    (INSTANCE {name})\n{delays}'


def net(source: str, sink: str, delay: int) -> str:
    return f"        (INTERCONNECT {source} {sink} ({delay}:{delay}:{delay}) ({delay}:{delay}:{delay}))\n"


def sdf(*parts: str) -> Delays:
    return Delays.read("".join(parts).splitlines())


def routed(*names: str) -> dict[str, Any]:
    """Flip-flops ``f0``, ``f1`` ..., each of which drives a net of the name given."""
    directions = {"D": "input", "Q": "output"}
    return {
        "cells": {
            f"$f[{n}]": {"connections": {"D": [100 + n], "Q": [n]}, "port_directions": directions}
            for n in range(len(names))
        },
        "netnames": {name: {"bits": [n]} for n, name in enumerate(names)},
    }


FLIP_FLOPS = [f"\\$f\\[{n}\\]" for n in range(3)]
NAMES = ["c.accelerator.window.a[3]", "c.accelerator.expand", "c.accelerator.peaks.b.c"]


def test_the_slowest_way_wins() -> None:
    """From ``f0`` and ``f1`` through a LUT to ``f2``; a constant, however slow, is no start."""
    f0, f1, f2 = FLIP_FLOPS
    delays = sdf(
        net(f"{f0}/Q", "l/A1", 900),
        net(f"{f1}/Q", "l/A2", 1200),
        net("\\$gnd/O6", "l/A3", 9000),
        net("l/O6", f"{f2}/D", 300),
        net(f"{f2}/Q", f"{f0}/D", 700),
        *map(flip_flop, FLIP_FLOPS),
        lut("l"),
    )
    found = paths.of_sdf(delays, routed(*NAMES))
    logic = (Q + LUT + SETUP) / 1e3
    assert found == [
        SlowPath("c.accelerator.expand", "c.accelerator.peaks.b.c.D", round(logic, 2), 1.5),
        SlowPath("c.accelerator.peaks.b.c", "c.accelerator.window.a[3].D", round(logic - LUT / 1e3, 2), 0.7),
    ]
    assert [path.components for path in found] == [["accelerator", "peaks"], ["peaks", "window"]]


def test_a_loop_of_logic_ends() -> None:
    f0, f1, _ = FLIP_FLOPS
    nets = [net(f"{f0}/Q", "l/A1", 1), net("l/O6", "l/A2", 1), net("l/O6", f"{f1}/D", 1)]
    (path,) = sdf(*nets, flip_flop(f0), flip_flop(f1), lut("l")).slowest()
    assert (path.start, path.logic, path.wire) == (("$f[0]", "Q"), Q + LUT + SETUP, 2)


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("codenet.accelerator.window.bank0.piece1.DIADI4", "window"),
        ("codenet.accelerator.step_window_1[69].D", "accelerator"),
        ("accelerator/storer/queue/level_reg[0]/CE", "storer"),
        ("accelerator/expand_reg/D", "accelerator"),
        ("bridge.state.D", None),
        ("$auto$ff.cc:337:slice$91536.D", None),
    ],
)
def test_components_of_names(name: str, component: str | None) -> None:
    assert SlowPath(name, name, 0, 0).components == [component] * 2


def test_one_path_between_two_components() -> None:
    ends = [f"accelerator.unit{n // 2}.a.b" for n in range(4 * MOST)]
    found = paths.by_component(SlowPath(end, end, 0, -n) for n, end in enumerate(ends))
    assert [path.wire for path in found] == [-2 * n for n in range(MOST)]
