# SPDX-License-Identifier: Apache-2.0
"""Which graph a configuration stands for."""

import numpy as np

import models.quantization.untrained
from sim import networks as graphs
from tests import networks


def test_untrained_graphs_are_kept(tmp_path, monkeypatch):
    made = []

    def make(name, photo):
        made.append((name, photo.shape))
        return networks.network(32, seed=5)

    monkeypatch.setattr(models.quantization.untrained, "untrained", make)
    monkeypatch.setattr(graphs, "GRAPHS", tmp_path / "graphs")
    monkeypatch.setattr(graphs, "ZOO", tmp_path / "zoo")
    first, second = graphs.load_kept("b"), graphs.load_kept("b")
    assert made == [("b", (256, 256, 3))]
    assert first.name == second.name and np.array_equal(first["last"].weights, second["last"].weights)
    (tmp_path / "zoo").mkdir()
    networks.network(32, name="trained").save(tmp_path / "zoo" / "codenet-b.cdg")
    assert graphs.load_kept("b").name == graphs.load_graph("b").name == "trained"
