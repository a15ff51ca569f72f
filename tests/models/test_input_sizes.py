# SPDX-License-Identifier: Apache-2.0
"""Networks whose input is not square or whose photos are letterboxed, from training to ``codenet detect``."""

import json

import numpy as np
import pytest
from PIL import Image

from codenet.cli import main as codenet
from codenet.fit import FITS, LETTERBOX, STRETCH
from codenet.graph import Graph
from codenet.program import Program
from models import ablation, evaluate, export, offsets, qat, sprint, train
from models.data import Augmentation, cached_images, load_data
from models.evaluation import open_source
from models.evaluation.sources import SCORE_THRESHOLD
from models.network import CoDeNet, load_network
from models.network.config import CONFIGS, NetworkConfig
from models.training.batches import Batches
from models.training.config import TrainConfig
from models.training.targets import make_targets
from models.zoo.shelve import save_compact
from tests.models.common import TINY
from tests.models.data.sets import Photo, roboflow

RUN = ("--iterations", 2, "--workers", 1, "--batch", 2, "--device", "cpu")


def words(*arguments):
    return list(map(str, arguments))


@pytest.fixture
def folder(monkeypatch, photo, tmp_path):
    """A set of photos of several proportions; configuration a is a tiny network."""
    monkeypatch.setitem(CONFIGS, "a", TINY)
    sizes = {"wide.png": (120, 40), "tall.png": (40, 90), "even.png": (96, 64)}
    photos = [photo(name, size, boxes=(("cat", 5, 6, 30, 35),)) for name, size in sizes.items()]
    roboflow(tmp_path / "set", {"train": photos, "valid": photos})
    return tmp_path / "set"


def test_from_training_to_detections(folder, tmp_path, capsys):
    build, data = tmp_path / "build", ("--data", folder)
    shape = ("--size", "64x96", "--fit", "letterbox", "--evaluate-every", 1, "--no-tensorboard")
    assert train.main(words(*data, "--output", build / "float", *shape, *RUN)) == 0
    config = load_network(build / "float" / "checkpoint.pt").config
    assert config == TINY.replace(size=(64, 96), fit=LETTERBOX)
    assert "photos to 64x96 (letterbox)" in (build / "float" / "log.txt").read_text()
    history = [json.loads(line) for line in (build / "float" / "history.jsonl").read_text().splitlines()]

    quantized = build / "quant" / "checkpoint.pt"
    assert qat.main(words(build / "float" / "checkpoint.pt", *data, "--output", build / "quant", *RUN)) == 0
    photos = sorted((folder / "train").glob("*.png"))
    assert export.main(words(quantized, "-o", build / "cat.cdn", "--check", *photos)) == 0
    assert "3 photos: 0 values of head outputs differ" in capsys.readouterr().out
    graph, layout = Graph.load(build / "cat.cdg"), Program.load(build / "cat.cdn").input
    assert (graph.input.height, graph.input.width, graph.fit) == (64, 96, LETTERBOX)
    assert (layout.height, layout.width, layout.fit) == (64, 96, LETTERBOX)

    tables = []
    for file, options in ((quantized, ["--exact"]), (build / "cat.cdg", []), (build / "cat.cdn", [])):
        assert evaluate.main(words(file, *data, *options)) == 0
        tables.append(capsys.readouterr().out.splitlines())
    assert tables[0] == tables[1] == tables[2]
    assert evaluate.main(words(build / "float" / "checkpoint.pt", *data, "--json", build / "score.json")) == 0
    assert json.loads((build / "score.json").read_text())["ap"] == pytest.approx(history[-1]["ap"], abs=1e-6)

    sources = [open_source(quantized, exact=True), open_source(build / "cat.cdg"), open_source(build / "cat.cdn")]
    threshold = ("--threshold", SCORE_THRESHOLD)
    command = ("detect", *photos, "--program", build / "cat.cdn", "--device", "golden", *threshold)
    assert codenet(words(*command, "--json", build / "found.json")) == 0
    results = json.loads((build / "found.json").read_text())
    for place, path in enumerate(photos, 1):
        with Image.open(path) as image:
            found = [source.detect(image.convert("RGB")) for source in sources]
        network, golden, program = ([d for d in f if d.score >= SCORE_THRESHOLD] for f in found)
        assert network == golden == program and program, path
        assert sum(result["image_id"] == place for result in results) == len(program), path
    capsys.readouterr()
    assert codenet(words("info", build / "cat.cdn")) == 0
    assert "photos to 64x96 (letterbox)" in capsys.readouterr().out.splitlines()[0]
    assert offsets.main(words(build / "cat.cdg", *data, "-o", build / "offsets")) == 0


@pytest.mark.parametrize(
    "size", ["0", "100", "32.5", "-64", "384x", "x384", "384x640x3", "0x64", "672", "64x4096", "big"]
)
@pytest.mark.parametrize("command", [train, ablation])
def test_bad_sizes_are_one_line(command, size, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(words("--data", tmp_path, "--output", tmp_path / "out", f"--size={size}"))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"'{size}', expected a side, or HEIGHTxWIDTH, of multiples of 32 from 64 to 640" in error


def test_bad_fit_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(words("--data", tmp_path, "--output", tmp_path / "out", "--fit", "crop"))
    assert "invalid choice: 'crop'" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [{"size": (64, 96)}, {"fit": LETTERBOX}])
def test_training_with_views_of_one_side_refuses_others(folder, tmp_path, capsys, shape):
    config = TINY.replace(**shape)
    save_compact(CoDeNet(config, ("cat",)), tmp_path / "start.pt")
    lane = ("--data", folder, "--classes", "cat", "--output", tmp_path / "sprint", "--steps", 1, "--device", "cpu")
    assert sprint.main(words(f"a={tmp_path / 'start.pt'}", *lane)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"error: network tiny: photos to {config.input_text}, expected a square input" in error


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_lie_on_their_objects_in_training_pictures(tmp_path, fit, mosaic):
    """A white rectangle in a black photo, seen in the pictures and in the targets that the network learns."""
    box = (20, 10, 80, 30)
    picture = Image.new("RGB", (120, 40))
    picture.paste((255, 255, 255), box)
    picture.save(tmp_path / "wide.png")
    roboflow(tmp_path / "set", {"train": [Photo(tmp_path / "wide.png", (("cat", *box),))]})
    data = load_data(tmp_path / "set", "train", ("cat",))
    look = Augmentation(jitter=0.0, keep=0.0, mosaic=mosaic, mosaic_end=1.0, mosaic_scale=(0.9, 1.0))
    config = TrainConfig(batch=4, augmentation=look, cache_size=192)
    network = TINY.replace(size=(64, 96), fit=fit)
    batches = Batches(data, cached_images(data, 192, tmp_path / "cache"), config, network)
    seen = []
    for step in range(3):
        for slot in range(4):
            image, boxes, _ = batches._augmented(step, slot)
            assert image.shape == (64, 96, 3)
            for x0, y0, x1, y1 in boxes * [96, 64, 96, 64]:
                inside = image[int(np.ceil(y0)) + 1 : int(y1) - 1, int(np.ceil(x0)) + 1 : int(x1) - 1]
                assert (inside > 240).all(), (fit, step, slot)
            marked = np.zeros((64, 96), bool)
            for x0, y0, x1, y1 in boxes * [96, 64, 96, 64]:
                marked[max(0, int(y0) - 2) : int(np.ceil(y1)) + 2, max(0, int(x0) - 2) : int(np.ceil(x1)) + 2] = True
            assert (image[~marked] < 160).all(), "no object without its box"
            whole = [b for b in boxes * [96, 64, 96, 64] if b.min() > 0 and b[2] < 96 and b[3] < 64]
            seen += [(b[2] - b[0]) / (b[3] - b[1]) for b in whole]
        assert batches[step].heatmap.shape == (4, 1, 16, 24)
    if not mosaic:  # Seams cut boxes.
        expected = 3.0 if fit == LETTERBOX else 3.0 * (96 / 120) / (64 / 40)
        assert 0.8 * expected < np.median(seen) < 1.25 * expected


def test_targets_of_an_output_that_is_not_square():
    targets = make_targets(np.array([[0.5, 0.25, 0.75, 0.75]]), np.array([0]), 1, (8, 16))
    assert targets.heatmap.shape == (1, 8, 16) and targets.heatmap[0, 4, 10] == 1
    assert 4 * 16 + 10 in targets.index.tolist()
    assert np.array_equal(targets.box, np.tile([8.0, 2.0, 12.0, 6.0], (len(targets.index), 1)))


def test_configurations_say_no_more_than_they_did():
    square, other = NetworkConfig("n", 320), NetworkConfig("n", (384, 640), fit=LETTERBOX)
    assert square == NetworkConfig("n", (320, 320)) and square.to_dict()["size"] == 320
    assert not {"fit", "skips"} & square.to_dict().keys()
    assert other.input_size == (384, 640) and other.output_size == (96, 160)
    for config in (square, other):
        assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert square.fit == STRETCH
