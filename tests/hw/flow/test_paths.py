# SPDX-License-Identifier: Apache-2.0
"""The slowest paths, one between any two components."""

from __future__ import annotations

import pytest

from hw.flow import paths
from hw.flow.paths import MOST, SlowPath

LIST = """\
1017 of 84557 endpoints fail; per start cell the worst path: delay = logic + wire (ns), nets as delay:fan-out:name
  1 slack -1.31 delay 7.98 = 1.39 + 6.59 levels 1
     from codenet.accelerator.pointwise.weights3.piece0 (RAMB36E1_RAMB36E1)
       3.80:1:codenet.accelerator.pointwise.array.i_weights$238[1031] (RAMB36E1_RAMB36E1.DOADO3)
       2.79:1:$abc$1587670$aiger$o111540 (SLICE_LUTX.O5)
     to codenet.accelerator.pointwise.array.slices_0_16.slice_1.A3 (DSP48E1_DSP48E1) setup 0.36
  2 slack -1.26 delay 7.92 = 0.60 + 7.32 levels 0
     from $auto$ff.cc:337:slice$87877 (SLICE_FFX)
       7.32:8:codenet.accelerator.step[219] (SLICE_FFX.Q)
     to $auto$ff.cc:337:slice$114977.D (SLICE_FFX) setup 0.08
"""


def test_a_list() -> None:
    """Registers are called by the net that they drive."""
    cells = {"$auto$ff.cc:337:slice$114977": {"connections": {"D": [1], "Q": [3]}}}
    names = {"codenet.accelerator.window.here": {"bits": [2, 3]}}
    first, second = paths.of_list(LIST, {"cells": cells, "netnames": names})
    assert first.to_dict() == {
        "components": ["pointwise", "pointwise"],
        "source": "codenet.accelerator.pointwise.array.i_weights$238[1031]",
        "destination": "codenet.accelerator.pointwise.array.slices_0_16.slice_1.A3",
        "logic": 1.39,
        "wire": 6.59,
    }
    assert second == SlowPath("codenet.accelerator.step[219]", "codenet.accelerator.window.here[1].D", 0.6, 7.32)
    assert second.components == ["accelerator", "window"]


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


def section(clock: str, net: bool = True, sink: bool = True, times: bool = True) -> str:
    """What nextpnr says of one clock, or a part of it."""
    lines = [f"Info: Critical path report for clock '{clock}' (posedge -> posedge):"]
    lines += ["Info:  0.5  1.2    Net first.q budget 6.6 ns (1,2) -> (3,4)"] * net
    lines += ["Info:                Sink between.A1", "Info:                Sink last.D"] * sink
    lines += ["Info: 1.39 ns logic, 6.59 ns routing"] * times
    return "\n".join(lines) + "\n"


def test_a_log_of_nextpnr() -> None:
    """The last report of each clock counts; one that lacks anything is left out."""
    log = section("a", net=False) + section("b", sink=False) + section("c", times=False)
    assert paths.of_nextpnr(log) == []
    assert paths.of_nextpnr(section("a").replace("6.59", "9.9") + log + section("a")) == [
        SlowPath("first.q", "last.D", 1.39, 6.59)
    ]
