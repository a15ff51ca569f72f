# SPDX-License-Identifier: Apache-2.0
"""Average precision on data with known answers, and the command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from codenet.vision.boxes import Detection
from models import evaluate as module
from models.data import load_data
from models.evaluation import Source, average_precision, evaluate, evaluate_file, network_source, open_source
from models.network import float_identity
from models.network.detector import CoDeNet
from models.quantization.untrained import untrained
from models.training import TrainConfig, Trainer
from tests.models.common import TINY


def detection(label, score, box):
    return Detection(label, ("cat", "dog").index(label), score, box)


@pytest.fixture
def data(coco_folder):
    return load_data(coco_folder, "val", ("cat", "dog"))


def test_perfect_detections(data):
    score = average_precision(
        data, [[detection("cat", 0.9, (8, 8, 40, 40))], [detection("dog", 0.8, (20, 24, 60, 56))]]
    )
    assert (score.ap50, score.ap, score.images) == (pytest.approx(1.0), pytest.approx(1.0), 2)
    assert str(score) == "AP50 1.000 AP 1.000 images 2"


def test_one_class_missed(data):
    score = average_precision(data, [[detection("cat", 0.9, (8, 8, 40, 40))], []])
    assert score.ap50 == pytest.approx(0.5) and score.ap50_by_class == pytest.approx({"cat": 1.0, "dog": 0.0})


def test_better_scored_false_positive_halves_precision(data):
    found = [
        [detection("cat", 0.9, (8, 8, 40, 40)), detection("dog", 0.9, (0, 0, 64, 64))],
        [detection("dog", 0.8, (20, 24, 60, 56))],
    ]
    assert average_precision(data, found).ap50 == pytest.approx(0.75)


def test_overlap_of_two_thirds_counts_up_to_its_threshold(data):
    # 32x24 of 32x32: IoU 0.75, above 6 of the 10 thresholds 0.5, 0.55 ... 0.95 (0.75 included).
    found = [[detection("cat", 0.9, (8, 8, 40, 32))], [detection("dog", 0.9, (20, 24, 60, 56))]]
    score = average_precision(data, found)
    assert score.ap50 == pytest.approx(1.0) and score.ap == pytest.approx((0.6 + 1.0) / 2)


def test_detection_in_a_crowd_is_no_mistake(data):
    found = [
        [detection("cat", 0.9, (8, 8, 40, 40))],
        [detection("dog", 0.95, (1, 1, 9, 9)), detection("dog", 0.9, (20, 24, 60, 56))],
    ]
    assert average_precision(data, found).ap50 == pytest.approx(1.0)


def test_no_detections(data):
    assert average_precision(data, [[], []]).ap50 == 0.0


def test_lists_must_match_the_images(data):
    with pytest.raises(CodenetError, match="1 lists of detections for 2 images"):
        average_precision(data, [[]])


def test_classes_must_match(data):
    with pytest.raises(CodenetError, match="data has classes"):
        evaluate(Source(("dog", "cat"), lambda photo: []), data)


def test_source_maps_boxes_to_the_photo(data):
    """A network whose size head says 16x8 output pixels at every peak, on a photo of another shape."""
    network = CoDeNet(TINY, ("cat", "dog")).eval()
    with torch.no_grad():
        for name, bias in (("size", (8.0, 4.0)), ("offset", (0.0, 0.0))):
            network.heads[name].out.weight.zero_()
            network.heads[name].out.bias.copy_(torch.tensor(bias))
    found = network_source(network).detect(Image.fromarray(np.zeros((50, 100, 3), np.uint8)))
    whole = [d for d in found if d.box[0] > 0 and d.box[1] > 0 and d.box[2] < 100 and d.box[3] < 50]
    # 8 of 16 output pixels are half of the photo's width, 4 of 16 a quarter of its height.
    assert whole and all(
        d.box[2] - d.box[0] == pytest.approx(50) and d.box[3] - d.box[1] == pytest.approx(12.5) for d in whole
    )


def run_command(capsys, *arguments):
    assert module.main([*map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_command_on_graph_and_checkpoint(coco_folder, tmp_path, capsys):
    untrained(TINY, ("cat", "dog")).save(tmp_path / "tiny.cdg")
    network = CoDeNet(TINY, ("cat", "dog"))
    Trainer(network, TrainConfig(), float_identity(network)).save(tmp_path / "tiny.pt")
    for name in ("tiny.cdg", "tiny.pt"):
        lines = run_command(capsys, tmp_path / name, "--data", coco_folder, "--split", "val")
        words = lines[-1].split()
        assert [words[0], words[2], words[4], words[5]] == ["AP50", "AP", "images", "2"]
        assert 0 <= float(words[1]) <= 1


def test_program_on_the_golden_device_in_two_processes(coco_folder, tmp_path, capsys):
    """The program finds what the graph finds, and the number of processes changes nothing; the file has what was
    printed.
    """
    graph = untrained(TINY, ("cat", "dog"), photo=np.array(Image.open(coco_folder / "images" / "one.png")))
    graph.save(tmp_path / "tiny.cdg")
    compile_graph(graph, AcceleratorConfig()).save(tmp_path / "tiny.cdn")
    results = []
    for name, workers in (("tiny.cdg", 1), ("tiny.cdn", 1), ("tiny.cdn", 2)):
        report = tmp_path / f"{name}-{workers}.json"
        run_command(capsys, tmp_path / name, "--data", coco_folder, "--workers", workers, "--json", report)
        results.append(json.loads(report.read_text()))
    scores = [{key: result[key] for key in ("ap50", "ap", "eleven_point", "all_point", "images")} for result in results]
    assert scores[0] == scores[1] == scores[2] and scores[0]["images"] == 2
    assert (results[2]["program"], results[2]["device"], results[2]["split"]) == ("tiny.cdn", "golden", "val")
    lines = run_command(capsys, tmp_path / "tiny.cdn", "--data", coco_folder, "--limit", 1)
    assert lines[-1].endswith("images 1") and lines[-2].startswith("VOC rules: eleven-point ")


def test_command_says_what_is_wrong(coco_folder, tmp_path, capsys):
    assert module.main([str(tmp_path / "gone.cdn"), "--data", str(coco_folder)]) == 2
    assert "gone.cdn: no such file" in capsys.readouterr().err
    untrained(TINY, ("cat", "fox")).save(tmp_path / "fox.cdg")
    assert module.main([str(tmp_path / "fox.cdg"), "--data", str(coco_folder)]) == 2
    assert "class 'fox' is not in the file" in capsys.readouterr().err


def test_workers(data, tmp_path):
    with pytest.raises(CodenetError, match="0 workers, expected at least one"):
        evaluate_file(tmp_path / "a.cdn", data, workers=0)


def test_classes_without_objects_in_json(data):
    data.classes = ("cat", "dog", "fox")
    score = average_precision(data, [[detection("cat", 0.9, (8, 8, 40, 40))], []])
    assert np.isnan(score.ap50_by_class["fox"])
    assert score.to_dict()["ap50_by_class"] == {"cat": pytest.approx(1.0), "dog": 0.0, "fox": None}
    assert score.all_point == pytest.approx(0.5) and score.eleven_point == pytest.approx(0.5)


def test_unknown_files(tmp_path):
    with pytest.raises(CodenetError, match="no such file"):
        open_source(tmp_path / "gone.cdg")
    (tmp_path / "a.onnx").touch()
    with pytest.raises(CodenetError, match="suffix is '.onnx', expected .cdn, .cdg or .pt"):
        open_source(tmp_path / "a.onnx")
