# SPDX-License-Identifier: Apache-2.0
"""What sets of dilations save."""

import json

import numpy as np
import pytest

from codenet import compiler
from sim import dilation_sets
from sim.cycles import predict
from sim.cycles.dilation import dilation_sources
from sim.dilation_sets import ALL, SETS, SetCost, cost, main, moved, table
from tests import networks


def test_dilations_go_to_the_nearest_member():
    counts = np.array([1, 2, 4, 8, 16, 32, 64, 128])
    assert moved(counts, ALL).tolist() == counts.tolist()
    # 3 lies between 2 and 4 and goes to 4, 6 to 7.
    assert moved(counts, (0, 1, 2, 4, 5, 7)).tolist() == [1, 2, 4, 0, 24, 32, 0, 192]
    assert moved(counts, (1, 2, 4, 5, 7)).tolist() == [0, 3, 4, 0, 24, 32, 0, 192]


def test_cost_is_the_cycle_models():
    program = compiler.compile(networks.network(32))
    steps = dilation_sources(program)
    only = dict.fromkeys(steps, np.eye(8)[3])
    assert cost("x", ALL, program, None).cycles == predict(program).cycles
    assert cost("x", ALL, program, only).cycles == predict(program, None, only).cycles
    fast = predict(program, None, dict.fromkeys(steps, np.eye(8)[4])).cycles
    assert cost("x", SETS[1], program, only).cycles == fast < cost("x", ALL, program, only).cycles


def test_table_by_hand():
    lines = table(
        [SetCost("a", (0, 1), 30, 2000), SetCost("a", (1,), 33, 1900), SetCost("b", (1,), 33, 1000)]
    ).splitlines()
    assert lines[2:] == [
        "| a | 0, 1 | 30 | 2,000 | +0.0 % |",
        "| a | 1 | 33 | 1,900 | -5.0 % |",
        "| b | 1 | 33 | 1,000 | +0.0 % |",
    ]


def test_offsets_of_another_network(tmp_path, capsys, monkeypatch):
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps({"dilations": {}}))
    monkeypatch.setattr("models.quantization.outline.outline", lambda config: networks.network(32))
    assert main(["--configs", "a", "--offsets", str(path)]) == 2
    assert "no counts for" in capsys.readouterr().err


@pytest.mark.slow
def test_a_set_saves_cycles_in_configuration_c():
    """By more than its three small steps cost."""
    everything, papers, fastest = dilation_sets.measure("c", None)
    assert fastest.cycles < papers.cycles < everything.cycles
    assert papers.steps == fastest.steps == everything.steps + 3
