# SPDX-License-Identifier: Apache-2.0
"""The search for the accelerator's shape."""

from __future__ import annotations

import dataclasses

import pytest

from codenet.config import AcceleratorConfig
from hw.chips import Usage
from sim import search as command
from sim.performance.search import Candidate, choose, evaluate, pareto, search, search_report, search_table, shapes
from sim.performance.targets import TARGETS
from tests import networks


def candidate(score: float, bram36: float, excess: tuple[str, ...] = (), outputs: int = 32) -> Candidate:
    config = AcceleratorConfig(outputs=outputs)
    return Candidate(config, {"a": score}, {}, Usage(1, 1, 1, bram36), "estimate", excess)


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


def test_command(capsys, monkeypatch):
    monkeypatch.setattr(command, "load_kept", lambda name: networks.network(32, seed=ord(name)))
    monkeypatch.setattr(command, "search", lambda graphs, target: search(graphs, target, {"outputs": (8, 16)}))
    assert command.main(["--configs", "ab"]) == 0
    out = capsys.readouterr().out
    assert "a, fps | b, fps" in out and out.count("16x") == 2 and out.count("chosen") == 1
    with pytest.raises(SystemExit):
        command.main(["--configs", "xyz"])
    assert "'xyz': expected letters of abcdefg" in capsys.readouterr().err
