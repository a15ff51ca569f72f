# SPDX-License-Identifier: Apache-2.0
"""The search for the accelerator's shape."""

from __future__ import annotations

import dataclasses
import json

import pytest

from codenet.config import AcceleratorConfig
from codenet.errors import FormatError
from hw.chips import Usage
from sim import search as command
from sim.performance import search as performance_search
from sim.performance.search import Candidate, choose, evaluate, pareto, search, search_report, search_table, shapes
from sim.performance.targets import TARGETS, Clock, clock_of
from tests import networks


def candidate(score: float, bram36: float, excess: tuple[str, ...] = (), outputs: int = 32) -> Candidate:
    config = AcceleratorConfig(outputs=outputs)
    return Candidate(config, {"a": score}, {}, Usage(1, 1, 1, bram36), "estimate", excess, Clock(150.0, "guess"))


def test_shapes_are_all_combinations():
    found = list(shapes({"outputs": (16, 24), "window_depth": (512, 1024, 2048)}))
    assert len(found) == len(set(found)) == 6
    assert {config.weight_depth for config in found} == {AcceleratorConfig().weight_depth}


def test_chosen_is_the_fastest_that_fits():
    fits, larger, slower = candidate(100, 90), candidate(120, 150, ("bram36",)), candidate(80, 50)
    assert choose([larger, fits, slower]) is fits
    assert choose([larger]) is None
    # Within 1 %: the smaller one.
    near = candidate(99.5, 60)
    assert choose([fits, near, slower]) is near
    refused = dataclasses.replace(fits, refused={"e": "too large"})
    assert refused.score == 0 and choose([refused, slower]) is slower


def test_score_is_the_geometric_mean():
    assert dataclasses.replace(candidate(1, 1), fps={"a": 100.0, "c": 25.0}).score == pytest.approx(50)


def test_pareto_front():
    points = [candidate(10, 5), candidate(20, 6), candidate(15, 7), candidate(30, 9), candidate(12, 5)]
    front = pareto(points, "bram36")
    assert [entry.resources.bram36 for entry in front] == [5, 6, 9]
    assert [entry.score for entry in front] == pytest.approx([12, 20, 30])


def test_search_over_networks():
    """Large arrays are faster; a network that cannot be compiled for a shape is refused by name, not skipped."""
    graphs = {"tiny": networks.network(32), "a": networks.codenet("a", size=64)}
    found = search(graphs, TARGETS["xc7z020"], {"outputs": (8, 32)})
    assert len(found) == 2 and [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    small, large = sorted(found, key=lambda c: c.config.outputs)
    assert large.fps["a"] > small.fps["a"] > 0
    assert large.score == pytest.approx((large.fps["tiny"] * large.fps["a"]) ** 0.5)
    tight = evaluate(
        dataclasses.replace(AcceleratorConfig.small(), window_depth=16, weight_depth=16), graphs, TARGETS["xc7z020"]
    )
    assert tight.score == 0 and tight.refused and all("expected at most" in reason for reason in tight.refused.values())


def test_table_shows_every_shape():
    fits, larger = candidate(100, 90, outputs=24), candidate(120, 150, ("bram36",))
    text = search_table(search_report([larger, fits], fits, TARGETS["xc7z020"]))
    rows = text.splitlines()[2:]
    assert len(rows) == 2
    assert "too much bram36" in rows[0] and "120.0" in rows[0] and "estimate" in rows[0]
    assert "**chosen**" in rows[1] and "16x24" in rows[1]
    assert all(row.count("|") == text.splitlines()[0].count("|") for row in text.splitlines())


def shelf_of(folder, **frequencies: float):
    """Reports of routed designs for an xc7z020, by outputs, and one of another chip."""
    entries = {f"x{outputs}": ("xc7z020clg400-1", int(outputs[1:]), mhz) for outputs, mhz in frequencies.items()}
    for name, (part, outputs, mhz) in {**entries, "other": ("xczu3eg-sbva484-1-i", 40, 300.0)}.items():
        (folder / name).mkdir(parents=True)
        content = {"part": part, "config": AcceleratorConfig(outputs=outputs).to_dict(), "constraint": mhz}
        (folder / name / "report.json").write_text(json.dumps(content))
    return folder


def test_a_routed_shape_has_its_own_clock_and_others_that_of_the_nearest(tmp_path):
    target, shelf = TARGETS["xc7z020"], shelf_of(tmp_path / "shelf", n16=160.0, n32=111.0)
    assert clock_of(AcceleratorConfig(outputs=32), target, shelf) == Clock(111.0, "routed")
    assert clock_of(AcceleratorConfig(outputs=40), target, shelf) == Clock(111.0, "guess: that of 16x32")
    assert clock_of(AcceleratorConfig(outputs=16, window_depth=512), target, shelf).mhz == 160.0
    assert clock_of(AcceleratorConfig(), target, tmp_path / "empty") == Clock(target.clock_mhz, "guess")
    (shelf / "other" / "report.json").write_text("{}")
    with pytest.raises(FormatError):
        clock_of(AcceleratorConfig(), target, shelf)


def test_frame_rates_are_at_the_shapes_own_clock(monkeypatch, tmp_path):
    shelf = shelf_of(tmp_path, n32=75.0)
    monkeypatch.setattr(performance_search, "clock_of", lambda config, target: clock_of(config, target, shelf))
    graphs = {"tiny": networks.network(32)}
    found = evaluate(AcceleratorConfig(), graphs, TARGETS["xc7z020"])
    asked = evaluate(AcceleratorConfig(), graphs, TARGETS["xc7z020"], 75.0)
    assert found.clock == Clock(75.0, "routed") and found.fps == asked.fps
    row = search_table(search_report([found], None, TARGETS["xc7z020"])).splitlines()[2]
    assert "| 75.0, routed |" in row


def test_command(capsys, monkeypatch):
    monkeypatch.setattr(command, "load_kept", lambda name: networks.network(32, seed=ord(name)))
    monkeypatch.setattr(command, "search", lambda graphs, target: search(graphs, target, {"outputs": (8, 16)}))
    assert command.main(["--configs", "ab"]) == 0
    out = capsys.readouterr().out
    assert "a, fps | b, fps" in out and out.count("\n| 16x") == 2 and out.count("chosen") == 1
    with pytest.raises(SystemExit):
        command.main(["--configs", "xyz"])
    assert "'xyz': expected letters of abcdefg" in capsys.readouterr().err
