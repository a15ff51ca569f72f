# SPDX-License-Identifier: Apache-2.0
"""COCO JSON as tools write it: types of numbers, names with spaces, paths of photos, names of files."""

import json

import pytest

from codenet.errors import CodenetError
from models.data import load_data


@pytest.fixture
def edited(coco_folder):
    """The tiny set with changed content: a function of a change."""

    def edit(change):
        path = coco_folder / "instances_train.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return coco_folder

    return edit


def first(content, **values):
    content["annotations"][0].update(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: [a.update(iscrowd=str(a["iscrowd"])) for a in c["annotations"]],
        lambda c: [a.update(iscrowd=bool(a["iscrowd"])) for a in c["annotations"]],
        lambda c: [a.update(iscrowd=float(a["iscrowd"])) for a in c["annotations"]],
        lambda c: [a.update(iscrowd=["false", "True"][a["iscrowd"]]) for a in c["annotations"]],
        lambda c: c["annotations"][0].pop("iscrowd"),
        lambda c: first(c, category_id="3"),
        lambda c: first(c, category_id=3.0),
        lambda c: first(c, image_id=" 7 "),
        lambda c: c["categories"][0].update(id="3"),
        lambda c: c["images"][0].update(id="7"),
        lambda c: c["categories"][0].update(name=" cat\n"),
        lambda c: c["images"][0].update(file_name="images/one.png"),
        lambda c: c["images"][0].update(file_name="images\\one.png"),
        lambda c: c["images"][0].update(file_name="C:\\data\\images\\one.png"),
        lambda c: c["images"][0].update(file_name="./one.png"),
        lambda c: c["images"][0].update(file_name="../../media/upload/3/one.png"),
        lambda c: c["images"][0].update(file_name="/data/local-files/?d=photos%5Cone.png"),
        lambda c: c["images"][0].update(file_name="images/%6Fne.png"),
        lambda c: c["images"][0].update(file_name="One.PNG"),
        lambda c: c["images"][0].update(file_name="one"),
        lambda c: c["images"][0].pop("width"),
        lambda c: c["images"][0].update(height=None),
    ],
)
def test_what_tools_write_is_read_as_meant(edited, coco_folder, change):
    whole = load_data(coco_folder, "val", ("cat", "dog")).fingerprint()
    assert load_data(edited(change), "train", ("cat", "dog")).fingerprint() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: first(c, iscrowd="maybe"), "annotation 1: malformed record: iscrowd is 'maybe', expected 0 or 1"),
        (lambda c: first(c, iscrowd=2), "annotation 1: malformed record: iscrowd is 2"),
        (lambda c: first(c, category_id=True), "annotation 1: malformed record: category_id is True"),
        (lambda c: first(c, category_id=None), "annotation 1: malformed record: category_id is None"),
        (lambda c: first(c, category_id=3.5), "annotation 1: category 3.5 is not in the file"),
        (lambda c: first(c, category_id="03"), "annotation 1: category 03 is not in the file"),
        (lambda c: first(c, bbox=[1, 2, True, 4]), "annotation 1: malformed record: bbox is"),
        (lambda c: c["categories"].append({"id": "3", "name": "fox"}), "category 3 'fox' is there twice"),
        (lambda c: c["categories"].append({"id": 1, "name": "cat "}), "category 1 'cat' is there twice"),
        (lambda c: c["categories"][0].update(name=" "), "category 0 of the list is .*expected id and name"),
        (lambda c: c["images"].append({**c["images"][0], "id": "7"}), "image 7 is there twice"),
        (
            lambda c: c["images"][1].update(file_name="elsewhere/one.png"),
            "image 9: 'elsewhere/one.png' and 'one.png' both mean .*one.png, expected a photo for each",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_record(edited, change, message):
    with pytest.raises(CodenetError, match=message):
        load_data(edited(change), "train")


def test_categories_of_mixed_types_are_all_there(edited):
    def change(content):
        content["categories"][0]["id"], content["categories"][2]["id"] = "3", "eight"

    assert load_data(edited(change), "train").classes == ("cat", "dog", "cow")


def test_a_name_without_its_suffix_may_mean_several_photos(edited, coco_folder):
    (coco_folder / "images" / "one.jpg").write_bytes((coco_folder / "images" / "two.png").read_bytes())
    with pytest.raises(CodenetError, match="image 7: .*'one' may be any of one.jpg, one.png"):
        load_data(edited(lambda c: c["images"][0].update(file_name="one")), "train")


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("annotations/instances_Validation.json", "val"),
        ("annotations/instances_valid.json", "val"),
        ("annotations/val.json", "val"),
        ("instances_val2017.json", "val"),
        ("valid/_annotations.coco.json", "val"),
        ("instances_val.json", "valid"),
        ("instances_night.json", "night"),
    ],
)
def test_splits_as_tools_name_them(coco_folder, file, split):
    (coco_folder / "instances_train.json").unlink()
    (coco_folder / file).parent.mkdir(exist_ok=True)
    (coco_folder / "instances_val.json").rename(coco_folder / file)
    assert len(load_data(coco_folder, split, ("cat", "dog"))) == 2


def test_the_split_of_the_very_name_wins(coco_folder):
    content = json.loads((coco_folder / "instances_val.json").read_text())
    content["images"], content["annotations"] = content["images"][:1], content["annotations"][:1]
    (coco_folder / "instances_valid.json").write_text(json.dumps(content))
    assert len(load_data(coco_folder, "val")) == 2 and len(load_data(coco_folder, "valid")) == 1


def test_label_studio(coco_folder):
    """One file without splits, beside ``images``, with paths of Windows; numbers from 0."""
    content = json.loads((coco_folder / "instances_train.json").read_text())
    for record in content["images"]:
        record["file_name"] = f"images\\{record['file_name']}"
    names = [f"{n}.png" for n in range(10)]
    for name in names:
        (coco_folder / "images" / name).write_bytes((coco_folder / "images" / "one.png").read_bytes())
    content["images"] = [
        {"id": n, "file_name": f"images\\{name}", "width": 64, "height": 64} for n, name in enumerate(names)
    ]
    content["annotations"] = [
        {
            "id": n,
            "image_id": n,
            "category_id": 3,
            "bbox": [8, 8, 32, 32],
            "segmentation": [],
            "ignore": 0,
            "iscrowd": 0,
            "area": 1,
        }
        for n in range(10)
    ]
    (coco_folder / "result.json").write_text(json.dumps(content))
    (coco_folder / "instances_train.json").unlink()
    (coco_folder / "instances_val.json").unlink()
    data = {split: load_data(coco_folder, split, ("cat",)) for split in ("train", "val", "trainval")}
    assert [record.path.name for record in data["val"]] == ["4.png", "9.png"] and len(data["train"]) == 8
    assert len(data["trainval"]) == 10
    with pytest.raises(CodenetError, match="no annotations of split 'test': COCO JSON has train, trainval, val"):
        load_data(coco_folder, "test")


def test_a_file_of_other_json(coco_folder):
    (coco_folder / "instances_train.json").write_text("[" * 100_000)
    with pytest.raises(CodenetError, match="instances_train.json: not readable as JSON"):
        load_data(coco_folder, "train")


def test_encodings_with_a_mark(coco_folder):
    path = coco_folder / "instances_train.json"
    for encoding in ("utf-8-sig", "utf-16"):
        text = path.read_text() if encoding == "utf-8-sig" else path.read_text(encoding="utf-8-sig")
        path.write_text(text, encoding=encoding)
        assert len(load_data(coco_folder, "train", ("cat", "dog"))) == 2
