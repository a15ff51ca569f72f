# SPDX-License-Identifier: Apache-2.0
"""Shipped detectors: made from two checkpoints, loaded by name."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from codenet.graph import Graph
from codenet.program import Program
from models import zoo
from models.network import float_identity, load_network
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.quantization import quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.precision import Exemption, Precision
from models.training import TrainConfig, Trainer
from models.zoo import Shelf, shelve
from models.zoo.__main__ import main
from models.zoo.record import card
from tests.models.common import TINY
from tests.models.exact import prepared

PHOTOS = ROOT / "docs" / "photos"
MIXED = Precision(mixed=(Exemption("heads", 8),))


@pytest.fixture
def checkpoints(tmp_path):
    """Floating-point and quantized checkpoints of one network with the classes of ``coco_folder``."""
    torch.manual_seed(0)
    network, photos = prepared(TINY)
    network.classes = ("cat", "dog", "cow")
    Trainer(network, TrainConfig(), float_identity(network)).save(tmp_path / "float.pt")
    quantized = quantize(network, calibrate(network, [normalize(photos)]), MIXED)
    Trainer(quantized, TrainConfig(), quantized_identity(quantized, MIXED)).save(tmp_path / "quant.pt")
    return tmp_path / "float.pt", tmp_path / "quant.pt"


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "models", tmp_path / "programs")


def test_added_detector_is_whole(checkpoints, coco_folder, shelf, monkeypatch):
    about = {"data": "two squares", "commands": ["train it"]}
    record = shelve.add(*checkpoints, "tiny", coco_folder, about=about, shelf=shelf)
    assert shelf.names() == ["tiny"]
    monkeypatch.setattr(zoo, "SHELF", shelf)
    original, kept = load_network(checkpoints[0]), zoo.network("tiny")
    x = normalize(np.array(Image.open(coco_folder / "images" / "one.png"))[None])
    for key, value in original.state_dict().items():
        # float16 has 11 bits; nothing but convolution weights went through it.
        tolerance = 2.0**-11 if value.ndim == 4 else 0
        assert torch.allclose(kept.state_dict()[key], value, rtol=tolerance, atol=1e-7 * (value.ndim == 4)), key
    assert kept(x)["size"].dtype == torch.float32
    graph = zoo.graph("tiny")
    assert graph.metadata == {"precision": "W4A8 heads=W8"} and graph.classes == ("cat", "dog", "cow")
    assert Program.load(zoo.program("tiny")).classes == graph.classes
    with zoo.load("tiny", "golden", threshold=0.05) as detector:
        found = detector(coco_folder / "images" / "one.png")
    assert all(detection.label in graph.classes for detection in found)
    assert json.loads(shelf.file("tiny", ".json").read_text()) == record
    assert set(record["scores"]) == {"float", "golden"} and record["scores"]["golden"]["images"] == 2
    text = shelf.file("tiny", ".md").read_text()
    assert text == card("tiny", record)
    for part in ("two squares", "    train it", "cat, dog, cow", "W4A8 heads=W8", "make sim CONFIG=tiny", "64x64"):
        assert part in text


def test_compact_checkpoint_is_half_as_large_and_starts_training(checkpoints, tmp_path):
    path = tmp_path / "compact.pt"
    network = load_network(checkpoints[0])
    shelve.save_compact(network, path)
    weights = sum(p.numel() for p in network.parameters() if p.ndim == 4)
    others = sum(v.numel() for v in network.state_dict().values() if v.ndim != 4)
    # Some hundred bytes a tensor describe it.
    assert path.stat().st_size < 2 * weights + 8 * others + 700 * len(network.state_dict())
    state = torch.load(path, weights_only=True)
    fresh = CoDeNet(TINY, network.classes)
    fresh.load_state_dict(state["average"])
    assert fresh.backbone.stem.conv.weight.dtype == torch.float32


def test_card_of_scores_by_hand():
    scores = {
        "ap50": 0.5,
        "ap": 0.25,
        "images": 9,
        "eleven_point": 0.51,
        "all_point": 0.49,
        "ap50_by_class": {"x": 0.5, "y": None},
    }
    record = {
        "config": TINY.to_dict(),
        "classes": ["x", "y"],
        "precision": "W4A8",
        "bits": Precision().to_dict(),
        "data": "folder",
        "split": "val",
        "scores": dict.fromkeys(("float", "golden"), scores),
        "cycles": 1234567,
        "about": {},
    }
    text = card("t", record)
    assert "| floating point | 0.500 | 0.250 | 0.510 | 0.490 | 0.500 |  |" in text
    assert "1,234,567, RTL simulation" in text and "9 images, split `val` of `folder`" in text


def test_checkpoints_of_two_networks(checkpoints, coco_folder, shelf, tmp_path):
    other = CoDeNet(TINY.replace(deform="ii"), ("cat", "dog", "cow"))
    Trainer(other, TrainConfig(), float_identity(other)).save(tmp_path / "other.pt")
    with pytest.raises(CodenetError, match="quant.pt: config is .* as in .*other.pt"):
        shelve.add(tmp_path / "other.pt", checkpoints[1], "tiny", coco_folder, shelf=shelf)
    with pytest.raises(CodenetError, match="kind is 'quantized', expected 'float'"):
        shelve.add(checkpoints[1], checkpoints[1], "tiny", coco_folder, shelf=shelf)
    assert shelf.names() == []


def test_nothing_is_written_unless_exact(checkpoints, coco_folder, shelf, monkeypatch):
    monkeypatch.setattr(shelve, "differing_outputs", lambda *_: 3)
    with pytest.raises(CodenetError, match="one.png: 3 head outputs differ"):
        shelve.add(*checkpoints, "tiny", coco_folder, shelf=shelf)
    assert shelf.names() == [] and not shelf.file("tiny", ".cdn").exists()


def test_unknown_detectors(shelf):
    with pytest.raises(CodenetError, match="detector 'z': no file codenet-z.cdg, there is one of none"):
        shelf.find("z", ".cdg")


def test_texts_for_the_card(tmp_path, capsys):
    path = tmp_path / "about.json"
    for content in ('{"author": "me"}', '{"commands": "train"}', '{"data": 3}'):
        path.write_text(content)
        with pytest.raises(CodenetError, match="about.json: .* expected texts data, started_from"):
            shelve.read_about(path)
    path.write_text('{"commands": ["train"], "limits": "many"}')
    assert shelve.read_about(path) == {"commands": ["train"], "limits": "many"}


def test_commands(checkpoints, coco_folder, shelf, monkeypatch, capsys):
    """Adds, then puts cycles into the card; every shipped detector is listed and loads."""
    monkeypatch.setattr("models.zoo.__main__.SHELF", shelf)
    words = ["add", *checkpoints, "--name", "tiny", "--data", coco_folder, "--limit", 1]
    assert main([str(word) for word in words]) == 0
    assert "golden     AP50" in capsys.readouterr().out
    assert main(["card", "tiny", "--cycles", "4321"]) == 0
    assert "4,321, RTL simulation" in capsys.readouterr().out
    assert main(["list"]) == 0
    assert capsys.readouterr().out.startswith("tiny  codenet-tiny.cdn")
    assert main(["card", "other"]) == 2
    assert "no file codenet-other.json, there is one of tiny" in capsys.readouterr().err


@pytest.mark.parametrize("name", zoo.names())
def test_shipped(name):
    assert isinstance(zoo.graph(name), Graph)
    with zoo.load(name, "golden") as detector:
        assert detector.classes == zoo.graph(name).classes
        assert [d.label for d in detector(PHOTOS / "chelsea.jpg")][:1] == ["cat"]
    record = zoo.SHELF.file(name, ".json")
    if record.is_file():
        assert card(name, json.loads(record.read_text())) == zoo.SHELF.file(name, ".md").read_text()
        assert zoo.network(name).classes == zoo.graph(name).classes
