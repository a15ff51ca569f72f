# SPDX-License-Identifier: Apache-2.0
"""Drawings of docs/models.md: what they say of the network is so, and they are current."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from models.diagrams import drawings, main, network_rows, sampling_places
from models.network.config import CONFIGS
from models.network.detector import CoDeNet

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "models"


@pytest.mark.parametrize("name", ["a", "b", "f"])
def test_shapes_are_the_networks(name):
    network = CoDeNet(CONFIGS[name], ("x",)).eval()
    shapes = []
    for module in (*network.backbone.stages, network.backbone.last, *network.decoder):
        module.register_forward_hook(lambda _m, _i, output: shapes.append((output.shape[2], output.shape[1])))
    first = []
    network.backbone.stages[0].register_forward_pre_hook(lambda _m, inputs: first.append(tuple(inputs[0].shape)))
    size = CONFIGS[name].size
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    (_, channels, side, _) = first[0]
    assert [shape for _, _, shape in network_rows(CONFIGS[name])] == [(size, 3), (side, channels), *shapes]


def test_skips_name_the_stage_of_the_same_resolution():
    sides = {text.split(":")[0]: side for _, text, (side, _) in network_rows(CONFIGS["f"])}
    joined = [(text, side) for _, text, (side, _) in network_rows(CONFIGS["f"]) if "joined" in text]
    assert len(joined) == 2
    for text, side in joined:
        stage = text.removeprefix("half of ").split(" joined")[0]
        assert side == 2 * sides[stage], text


def test_places_of_the_variants():
    places = list(sampling_places().values())
    assert places[0].tolist() == [[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert places[1].abs().max() > 7 and places[2].abs().max() == 7
    assert [float(taps.max()) for taps in places[3:]] == pytest.approx([2.8, 3, 2])


@pytest.mark.parametrize("name", list(drawings()))
def test_drawings_are_current(name, tmp_path):
    assert main([str(tmp_path)]) == 0
    text = (FOLDER / name).read_text()
    assert text == (tmp_path / name).read_text(), "make them again: python -m models.diagrams docs/models"
    ElementTree.fromstring(text)
