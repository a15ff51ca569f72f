# SPDX-License-Identifier: Apache-2.0
"""YOLO text files: layouts, ``data.yaml``, boxes and polygons, and what is wrong with bad ones."""

import shutil

import pytest

from codenet.errors import CodenetError
from models.data import load_data
from models.data.data_yaml import read_data_yaml

LINE = "0 0.25 0.5 0.5 0.25\n"
BOX = [0, 15, 30, 25]


@pytest.fixture
def build(photo, tmp_path):
    """Makes a set from texts by path; a photo is a path that ends in .png."""

    def make(files):
        folder = tmp_path / "set"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".png":
                shutil.copy(photo().path, path)
            else:
                path.write_text(text)
        return folder

    return make


LAYOUTS = {
    "roboflow": {
        "train/images/a.png": "",
        "train/labels/a.txt": LINE,
        "data.yaml": "train: ../train/images\nnames: ['cat']",
    },
    "ultralytics": {
        "images/train/a.png": "",
        "labels/train/a.txt": LINE,
        "x.yaml": "path: ../datasets/x\ntrain: images/train\nnames:\n  0: cat\n",
    },
    "ultralytics list": {
        "images/a.png": "",
        "labels/a.txt": LINE,
        "lists/t.txt": "./images/a.png\n",
        "data.yaml": "train: lists/t.txt\nnames: [cat]",
    },
    "cvat yolo 1.1": {
        "obj_train_data/clip 1/a.png": "",
        "obj_train_data/clip 1/a.txt": LINE,
        "obj.names": "cat\n",
        "obj.data": "classes = 1",
        "train.txt": "data/obj_train_data/clip 1/a.png\n",
    },
    "darknet": {"train/a.png": "", "train/a.txt": LINE, "classes.txt": "cat\n"},
    "labelimg": {"train/images/a.png": "", "train/labels/a.txt": LINE, "train/labels/classes.txt": "cat\n"},
    "label studio": {"images/a.png": "", "labels/a.txt": LINE, "classes.txt": "cat\n", "notes.json": "{}"},
    "one folder": {"a.png": "", "a.txt": LINE, "classes.txt": "cat\n"},
    "macos": {
        "train/images/a.png": "",
        "train/labels/a.txt": LINE,
        "train/labels/._a.txt": "\0",
        "._data.yaml": "\0",
        "data.yaml": "names: [cat]",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(build, layout):
    data = load_data(build(LAYOUTS[layout]), "train")
    assert data.classes == ("cat",)
    assert [(record.path.name, record.boxes.tolist()) for record in data] == [("a.png", [BOX])]


def test_a_set_without_splits(build):
    files = {f"{n}.png": "" for n in range(10)} | {f"{n}.txt": LINE for n in range(10)} | {"classes.txt": "cat"}
    folder = build(files)
    assert [record.path.name for record in load_data(folder, "val")] == ["4.png", "9.png"]
    assert len(load_data(folder, "train")) == 8 and len(load_data(folder, "trainval")) == 10


def roboflow(text, names="names: [cat, dog]"):
    return {"train/images/a.png": "", "train/labels/a.txt": text, "data.yaml": names}


@pytest.mark.parametrize(
    ("text", "boxes", "labels"),
    [
        ("1 0.5 0.5 1 1\n0 0.25 0.5 0.5 0.25", [[0, 0, 60, 40], BOX], [1, 0]),
        ("0 0.1 0.2 0.5 0.2 0.3 0.75\n", [[6, 8, 30, 30]], [0]),
        ("1 0 0 1 0 1 1 0 1\n", [[0, 0, 60, 40]], [1]),
        ("\n0.0\t0.25 0.5  0.5 0.25\r\n\n", [BOX], [0]),
        ("0 0.25 0.5 0.5 0.25\n0 0.5 0.5 1.000001 1\n", [BOX, [0, 0, 60, 40]], [0, 0]),
    ],
)
def test_boxes_and_polygons(build, text, boxes, labels):
    data = load_data(build(roboflow(text)), "train", ("cat", "dog"))
    assert data.records[0].boxes.tolist() == boxes and data.records[0].labels.tolist() == labels


def test_key_points_are_no_polygon(build):
    files = roboflow("0 0.25 0.5 0.5 0.25 0.9 0.9 0.8 0.8\n", "names: [cat]\nkpt_shape: [2, 2]\n")
    assert load_data(build(files), "train").records[0].boxes.tolist() == [BOX]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.25 0.5 0.5", "4 columns, expected 5 .* 7, 9, 11"),
        ("0 0.25 0.5 0.5 0.25 0.9", "6 columns, expected 5"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 columns, expected 5"),
        ("0", "1 columns"),
        ("2 0.25 0.5 0.5 0.25", "class is 2, expected a number of 0 to 1"),
        ("-1 0.25 0.5 0.5 0.25", "class is -1"),
        ("0.5 0.25 0.5 0.5 0.25", "class is 0.5"),
        ("cat 0.25 0.5 0.5 0.25", "'cat' is no number"),
        ("0 0.25 half 0.5 0.25", "'half' is no number"),
        ("0 15 20 30 10", "15 is no fraction of the photo's width or height, expected 0 to 1"),
        ("0 0.25 -0.5 0.5 0.25", "-0.5 is no fraction"),
        ("0 nan 0.5 0.5 0.25", "nan is no fraction"),
        ("0 inf 0.5 0.5 0.25", "inf is no fraction"),
    ],
)
def test_bad_lines_are_named(build, line, message):
    with pytest.raises(CodenetError, match=f"labels/a.txt:2: {message}"):
        load_data(build(roboflow(f"{LINE}{line}\n")), "train")


def test_numbers_divided_twice(build):
    with pytest.raises(CodenetError, match="1 of 1 boxes have no area .*a.txt:1"):
        load_data(build(roboflow("0 0.004 0.01 0.008 0.006\n")), "train")


def test_photos_and_texts_that_do_not_belong_together(build):
    folder = build({**roboflow(LINE), "train/labels/b.txt": LINE})
    with pytest.raises(CodenetError, match="labels/b.txt: its photo is missing"):
        load_data(folder, "train")
    (folder / "train/labels/b.txt").unlink()
    shutil.copy(folder / "train/images/a.png", folder / "train/images/a.jpg")
    with pytest.raises(CodenetError, match="a.txt: is of .*a.jpg and of .*a.png, expected one photo"):
        load_data(folder, "train")
    (folder / "train/images/a.jpg").rename(folder / "train/images/c.png")
    assert [len(record.boxes) for record in load_data(folder, "train")] == [1, 0]
    (folder / "train/labels/a.txt").rename(folder / "train/a.text")
    with pytest.raises(CodenetError, match="none of 2 photos has a text file, as .*train/labels/a.txt"):
        load_data(folder, "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("nc: 2", "data.yaml: no names of classes|no names of classes, expected names in data.yaml"),
        ("names: []", "no names of classes"),
        ("names: [cat, cat]", "data.yaml: class 'cat' is there twice"),
        ("names: [cat", "data.yaml:1: names: '.cat' has no closing bracket"),
        ("names:\n  first: cat\n", "data.yaml: names: .*'first'; expected the classes' numbers"),
        ("names:\n  0: cat\n  rest\n", "data.yaml:1: names: 'rest', expected 'key: value'"),
    ],
)
def test_bad_names_of_classes(build, names, message):
    with pytest.raises(CodenetError, match=message):
        load_data(build(roboflow(LINE, names)), "train")


def test_missing_sources(build):
    with pytest.raises(CodenetError, match="photos/train is missing, expected a folder of photos or a list of them"):
        load_data(build({"data.yaml": "train: photos/train\nnames: [cat]", "b.png": ""}), "train")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("names: ['cat', \"dog\", mountain lion]", ["cat", "dog", "mountain lion"]),
        ("names: [ 'it''s, a cat',\n  dog,  # two\n]\n", ["it's, a cat", "dog"]),
        ("names:\n- cat\n- 'd#g' # comment\n", ["cat", "d#g"]),
        ("names:\n  - cat\n\n  # comment\n  - dog\nnc: 2", ["cat", "dog"]),
        ("names:\n  0: cat\n  1: 'dog: big'\n", {"0": "cat", "1": "dog: big"}),
        ("names: {0: cat, 1: dog}", {"0": "cat", "1": "dog"}),
        ("# x\n---\nnc: 1\ndownload: |\n  names: no\n  import os\nnames: [cat]\n", ["cat"]),
        ("'names': cat", "cat"),
        ('names: ["w\\u00e4sch"]', ["wäsch"]),
    ],
)
def test_yaml(tmp_path, text, value):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert read_data_yaml(path, ("names",)) == {"names": value}
