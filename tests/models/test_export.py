# SPDX-License-Identifier: Apache-2.0
"""The command that writes graphs, and its check against the network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from codenet.graph import Graph
from codenet.program import Program
from models import export
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.quantization import quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.untrained import _normalize_on, synthetic_photo
from models.training import TrainConfig, Trainer
from tests.models.common import TINY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    photos = np.stack([synthetic_photo(TINY.size, n) for n in range(2)])
    for n, photo in enumerate(photos):
        Image.fromarray(photo).save(folder / f"{n}.png")
    network = CoDeNet(TINY, ("cat", "dog"))
    _normalize_on(network, normalize(photos))
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    Trainer(quantized, TrainConfig(), quantized_identity(quantized)).save(folder / "q.pt")
    return folder / "q.pt"


def arguments(checkpoint, tmp_path):
    photos = [str(checkpoint.with_name(f"{n}.png")) for n in range(2)]
    return [str(checkpoint), "-o", str(tmp_path / "q.cdg"), "--metadata", '{"by": "test"}', "--check", *photos]


def test_writes_a_graph_that_equals_the_network(checkpoint, tmp_path, capsys):
    assert export.main(arguments(checkpoint, tmp_path)) == 0
    assert "2 photos: 0 values of head outputs differ" in capsys.readouterr().out
    assert Graph.load(tmp_path / "q.cdg").metadata == {"precision": "W4A8", "by": "test"}


def test_writes_a_program_and_its_graph(checkpoint, tmp_path, capsys):
    assert export.main([str(checkpoint), "-o", str(tmp_path / "new" / "q.cdn")]) == 0
    program, graph = Program.load(tmp_path / "new" / "q.cdn"), Graph.load(tmp_path / "new" / "q.cdg")
    assert program.classes == graph.classes == ("cat", "dog")
    assert f"{len(program.descriptors)} steps" in capsys.readouterr().out
    assert export.main([str(checkpoint), "-o", str(tmp_path / "q.onnx")]) == 2
    assert "suffix is '.onnx', expected .cdg or .cdn" in capsys.readouterr().err


def test_refuses_a_graph_that_differs_in_one_value(checkpoint, tmp_path, capsys, monkeypatch):
    real = export.interpreter.run

    def off_by_one(graph, image):
        tensors = real(graph, image)
        tensors[graph.outputs["size"]].flat[3] += 1
        return tensors

    monkeypatch.setattr(export.interpreter, "run", off_by_one)
    assert export.main(arguments(checkpoint, tmp_path)) == 1
    assert "2 photos: 2 values" in capsys.readouterr().out
    assert not (tmp_path / "q.cdg").exists()


def test_unreadable_photo_is_named(checkpoint, tmp_path, capsys):
    assert export.main([*arguments(checkpoint, tmp_path), str(tmp_path / "missing.png")]) == 2
    assert "missing.png" in capsys.readouterr().err
