# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/models.md on data as tools export it, and on data that none of them may take."""

import json

import numpy as np
import pytest

from models import evaluate, export, offsets, qat, train
from models.data import load_data
from models.network.config import CONFIGS
from models.network.detector import CoDeNet
from models.zoo.shelve import save_compact
from tests.models.common import TINY
from tests.models.data.sets import WRITERS, Photo, coco_json, copy, roboflow


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(CONFIGS, "a", TINY)


def words(*arguments):
    return list(map(str, arguments))


RUN = ("--iterations", 1, "--workers", 1, "--batch", 2, "--device", "cpu")


def from_data_to_detector(folder, build):
    """The three commands of docs/models.md, on one set of data; the program, evaluated."""
    data = ("--data", folder)
    assert train.main(words(*data, "--output", build / "float", "--no-tensorboard", "--evaluate-every", 1, *RUN)) == 0
    checkpoint = build / "float" / "checkpoint.pt"
    assert qat.main(words(checkpoint, *data, "--output", build / "quant", *RUN)) == 0
    assert export.main(words(build / "quant" / "checkpoint.pt", "-o", build / "mine.cdn")) == 0
    assert evaluate.main(words(build / "mine.cdn", *data)) == 0


@pytest.mark.parametrize(
    "tool", [tool if tool == "yolo" else pytest.param(tool, marks=pytest.mark.slow) for tool in WRITERS]
)
def test_from_an_export_to_a_detector(tiny, photo, tmp_path, tool, capsys):
    splits = {"train": [photo(f"{n}.png") for n in range(3)], "val": [photo("v.png")]}
    WRITERS[tool](tmp_path / "set", splits)
    from_data_to_detector(tmp_path / "set", tmp_path / "build")
    assert capsys.readouterr().out.splitlines()[-1].endswith("images 1")


@pytest.mark.slow
@pytest.mark.parametrize("tool", WRITERS)
def test_raccoons_as_each_tool_exports_them(tiny, real_data, tmp_path, tool, capsys):
    """Real photos, the split in four layouts: the same boxes in each, and a detector of each."""
    names = ("train", "val")
    original = {split: load_data(real_data / "raccoon", split) for split in names}
    splits = {
        split: [
            Photo(record.path, tuple(("raccoon", *map(int, box)) for box in record.boxes)) for record in original[split]
        ]
        for split in names
    }
    WRITERS[tool](tmp_path / "set", splits)
    for split in names:
        found = {record.path.name: record.boxes for record in load_data(tmp_path / "set", split, ("raccoon",))}
        assert found.keys() == {record.path.name for record in original[split]}
        for record in original[split]:
            assert np.abs(found[record.path.name] - record.boxes).max() < 1e-2, record.path
    from_data_to_detector(tmp_path / "set", tmp_path / "build")
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"images {len(original['val'])}")


def other_size(folder):
    path = folder / "train" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["images"][0].update(width=120, height=80)
    path.write_text(json.dumps(content))


def turned(folder):
    from PIL import Image

    path = folder / "train" / "0.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 8
        image.save(path, exif=exif)


def no_boxes(folder):
    path = folder / "train" / "_annotations.coco.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))


def no_annotation(folder):
    (folder / "train" / "_annotations.coco.json").unlink()
    (folder / "train" / "0.xml").write_text("<annotations><image/></annotations>")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_size, "size is annotated as 120x80, the image's is 60x40"),
        (turned, "orientation: 1 photos"),
        (no_boxes, "no boxes of cat"),
        (no_annotation, "root element is <annotations>"),
    ],
)
def test_every_command_refuses_the_same_data(tiny, photo, tmp_path, spoil, message, capsys):
    roboflow(tmp_path / "set", {"train": [photo("0.png")]})
    spoil(tmp_path / "set")
    save_compact(CoDeNet(TINY, ("cat",)), tmp_path / "cat.pt")
    data = ("--data", tmp_path / "set")
    runs = {
        "train": lambda: train.main(words(*data, "--classes", "cat", "--output", tmp_path / "float", *RUN)),
        "qat": lambda: qat.main(words(tmp_path / "cat.pt", *data, "--output", tmp_path / "quant", *RUN)),
        "evaluate": lambda: evaluate.main(words(tmp_path / "cat.pt", *data, "--split", "train")),
        "offsets": lambda: offsets.main(
            words(tmp_path / "cat.pt", *data, "--split", "train", "-o", tmp_path / "offsets")
        ),
    }
    for name, run in runs.items():
        status, printed = run(), capsys.readouterr()
        assert status == 2, name
        assert printed.err.count("error: ") == 1 and message in printed.err and "Traceback" not in printed.err, name


def test_fine_tuning_needs_boxes_of_each_class(tiny, photo, tmp_path, capsys):
    save_compact(CoDeNet(TINY, ("cat", "dog")), tmp_path / "two.pt")
    copy(photo(), tmp_path / "set" / "train")
    content = coco_json([photo()], ["cat", "dog"])
    (tmp_path / "set" / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    arguments = words(tmp_path / "two.pt", "--data", tmp_path / "set", "--output", tmp_path / "out", *RUN)
    assert qat.main(arguments) == 2
    assert "no boxes of dog to train on; boxes found: cat 1" in capsys.readouterr().err
