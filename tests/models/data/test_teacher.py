# SPDX-License-Identifier: Apache-2.0
"""A teacher's boxes: their file, which photo they belong to, and their union with annotations."""

import json
from pathlib import Path

import numpy as np
import pytest

from codenet.errors import CodenetError
from codenet.vision.boxes import Detection
from models.data import DetectionData, Record, TeacherBoxes, with_teacher
from models.data.teacher import FORMAT, photo_name

CLASSES = ("cat", "dog", "cow")


def record(path, boxes=(), labels=(), crowd=None, size=(100, 80)):
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.array(crowd)
    return Record(1, Path(path), *size, np.float32(boxes).reshape(-1, 4), np.array(labels, np.int64), crowd)


def teacher_of(found, classes=CLASSES):
    """Boxes of photos by name, each of 100 x 80 pixels: rows of label, score and corners."""
    boxes = TeacherBoxes("teacher.json", {"file": "tiny.onnx"}, classes)
    for name, rows in found.items():
        boxes.add(name, record(name), [Detection(classes[label], label, score, box) for label, score, box in rows])
    return boxes


def merged(rows, truth, **options):
    """The record of one photo with annotated boxes of ``truth`` after a teacher's ``rows``."""
    data = DetectionData(CLASSES, [truth])
    (result,) = with_teacher(data, teacher_of({"voc/images/a.jpg": rows}), **options)
    return result


A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 10.0, 90.0, 70.0)


def test_boxes_that_annotations_lack_are_added_with_their_score():
    truth = record("/data/voc/images/a.jpg", [A], [0])
    rows = [(1, 0.9, B), (0, 0.8, A), (2, 0.25, (0.0, 40.0, 20.0, 60.0))]
    result = merged(rows, truth)
    assert result.boxes.tolist() == [list(A), list(B)] and result.boxes.dtype == np.float32
    assert result.labels.tolist() == [0, 1] and result.labels.dtype == np.int64
    assert result.crowd.tolist() == [False, False]
    assert result.confidence.tolist() == [1, np.float32(0.9)] and result.confidence.dtype == np.float32
    assert truth.confidence.tolist() == [1] and len(truth.boxes) == 1


@pytest.mark.parametrize(
    "box, options, added",
    [
        ((10.0, 20.0, 30.0, 40.0), {}, True),  # IoU 1/3
        ((10.0, 10.0, 30.0, 20.0), {}, False),  # IoU 1/2
        ((10.0, 10.0, 30.0, 19.9), {}, True),
        ((10.0, 20.0, 30.0, 40.0), {"iou_threshold": 0.3}, False),
        ((0.0, 50.0, 20.0, 70.0), {"score_threshold": 0.61}, False),
        ((0.0, 50.0, 20.0, 70.0), {"score_threshold": 0.59}, True),
    ],
)
@pytest.mark.parametrize("label, crowd", [(0, False), (1, False), (1, True)])
def test_where_to_cut(box, options, added, label, crowd):
    truth = record("/data/voc/images/a.jpg", [A], [label], [crowd])
    assert len(merged([(0, 0.6, box)], truth, **options).boxes) == 1 + added


def test_photos_without_annotated_or_found_boxes():
    empty = record("/data/voc/images/a.jpg")
    assert merged([], empty).boxes.shape == (0, 4)
    assert merged([(2, 0.5, A)], empty).labels.tolist() == [2]
    assert merged([], record("/data/voc/images/a.jpg", [A], [1])).labels.tolist() == [1]


def test_incomplete_annotations_do_not_count():
    data = DetectionData(
        CLASSES, [record(f"/data/{name}/images/a.jpg", [A], [0]) for name in ("voc", "pose", "posecopy")]
    )
    rows = [(1, 0.9, B), (0, 0.8, A), (0, 0.1, B)]
    teacher = teacher_of({f"{name}/images/a.jpg": rows for name in ("voc", "pose", "posecopy")})
    result = with_teacher(data, teacher, incomplete=["/data/pose"])
    assert [r.labels.tolist() for r in result] == [[0, 1], [1, 0], [0, 1]]
    assert [r.confidence.tolist()[0] for r in result] == [1, np.float32(0.9), 1]


@pytest.mark.parametrize(
    "boxes, labels, kept",
    [
        ([A], [0], True),
        ([A], [1], False),  # found, as another class
        ([(10.0, 20.0, 30.0, 40.0)], [0], False),  # IoU 1/3
        ([A, B], [0, 1], True),
        ([A, B], [0, 2], False),
        ([(0.0, 50.0, 20.0, 70.0)], [2], False),  # found with too low a score
        ([], [], True),
    ],
)
def test_photos_of_incomplete_annotations_need_the_teacher_s_agreement(boxes, labels, kept):
    data = DetectionData(CLASSES, [record("/data/pose/a.jpg", boxes, labels)], ["a warning"])
    teacher = teacher_of({"pose/a.jpg": [(1, 0.9, B), (0, 0.8, A), (2, 0.2, (0.0, 50.0, 20.0, 70.0))]})
    result = with_teacher(data, teacher, incomplete=["/data/pose"])
    assert [r.labels.tolist() for r in result] == [[1, 0]] * kept
    left_out = [] if kept else ["/data/pose/a.jpg: the teacher does not find what is annotated; left out"]
    assert result.warnings == ["a warning", *left_out] and data.warnings == ["a warning"]
    assert len(with_teacher(data, teacher)) == 1


def test_labels_are_those_of_the_data():
    data = DetectionData(("cow", "cat"), [record("/data/voc/images/a.jpg")])
    rows = [(0, 0.9, A), (1, 0.8, A), (2, 0.7, B)]
    (result,) = with_teacher(data, teacher_of({"voc/images/a.jpg": rows}))
    assert result.labels.tolist() == [1, 0] and result.boxes.tolist() == [list(A), list(B)]


def test_confidence_follows_its_boxes():
    truth = merged([(1, 0.9, B)], record("/data/voc/images/a.jpg", [A], [0]))
    (left,) = DetectionData(CLASSES, [truth]).without(["cat"])
    assert left.confidence.tolist() == [np.float32(0.9)] and left.labels.tolist() == [0]


def test_confidence_is_part_of_the_fingerprint():
    """A teacher of other scores is other data; annotations alone have the fingerprint that they have had."""
    prints = [
        DetectionData(CLASSES, [merged([(1, score, B)], record("/data/voc/images/a.jpg"))]).fingerprint()
        for score in (0.5, 0.9, 1.0)
    ]
    plain = DetectionData(CLASSES, [record("/data/voc/images/a.jpg", [B], [1])])
    assert len(set(prints)) == 3 and plain.fingerprint() == prints[2]


def test_the_file_holds_what_was_found(tmp_path):
    found = {
        "voc/images/ä 1.jpg": [(1, 0.91239, (0.123, 1.0, 99.996, 80.0)), (0, 0.05, A)],
        "voc/images/none.jpg": [],
    }
    path = tmp_path / "teacher.json"
    teacher_of(found).save(path)
    again = TeacherBoxes.load(path)
    assert again.teacher == {"file": "tiny.onnx"} and again.classes == CLASSES and again.place == str(path)
    assert [(name, size) for name, (size, _) in again.photos.items()] == [(name, (100, 80)) for name in found]
    corners, labels, scores = again.photos["voc/images/ä 1.jpg"][1]
    assert corners.tolist() == np.float32([(0.12, 1.0, 100.0, 80.0), A]).tolist()
    assert labels.tolist() == [1, 0] and scores.tolist() == np.float32([0.9124, 0.05]).tolist()
    empty = again.photos["voc/images/none.jpg"][1]
    assert [(array.dtype, array.shape) for array in empty] == [("float32", (0, 4)), ("int64", (0,)), ("float32", (0,))]
    content = json.loads(path.read_text())
    assert content["format"] == FORMAT
    assert content["photos"]["voc/images/ä 1.jpg"]["boxes"][1] == [10.0, 10.0, 30.0, 30.0, "cat", 0.05]


@pytest.mark.parametrize(
    "folder, photo, name",
    [
        ("/data/voc", "/data/voc/images/a.jpg", "voc/images/a.jpg"),
        ("/data/voc/", "/data/voc/a.jpg", "voc/a.jpg"),
        ("/data/set/yolo", "/data/images/a.jpg", "images/a.jpg"),
        ("voc", "voc/a.jpg", "voc/a.jpg"),
        ("x/../voc", "voc/a.jpg", "voc/a.jpg"),
    ],
)
def test_photos_are_named_from_the_folder_of_their_data_set(folder, photo, name):
    assert photo_name(Path(photo), Path(folder)) == name


def test_data_sets_may_lie_elsewhere():
    """The longest end of a path that is a name counts."""
    teacher = teacher_of({"images/a.jpg": [(0, 0.9, A)], "voc/images/a.jpg": [(1, 0.9, A)]})
    for path, label in (("/other/place/voc/images/a.jpg", 1), ("/coco/images/a.jpg", 0)):
        assert teacher.find(record(path)).labels.tolist() == [label]


def test_photos_that_the_file_lacks():
    data = DetectionData(CLASSES, [record("/data/coco/images/b.jpg")])
    message = r"teacher.json: no boxes of /data/coco/images/b.jpg: its 1 photos are named as voc/images/a.jpg; run"
    with pytest.raises(CodenetError, match=message):
        with_teacher(data, teacher_of({"voc/images/a.jpg": []}))
    with pytest.raises(CodenetError, match="its 0 photos are named as none"):
        with_teacher(data, teacher_of({}))


def test_boxes_of_other_photos():
    data = DetectionData(CLASSES, [record("/data/voc/images/a.jpg", size=(80, 100))])
    message = r"teacher.json: boxes of voc/images/a.jpg are of a photo of 100x80, /data/voc/images/a.jpg is 80x100"
    with pytest.raises(CodenetError, match=message):
        with_teacher(data, teacher_of({"voc/images/a.jpg": []}))


def test_classes_that_the_teacher_did_not_look_for():
    data = DetectionData(("cat", "raccoon", "goat"), [record("/data/voc/images/a.jpg")])
    with pytest.raises(CodenetError, match=r"teacher.json: its classes lack raccoon, goat; it has cat, dog, cow"):
        with_teacher(data, teacher_of({"voc/images/a.jpg": []}))


GOOD = {
    "format": FORMAT,
    "teacher": {},
    "classes": ["cat"],
    "photos": {"voc/a.jpg": {"size": [100, 80], "boxes": [[1, 2, 3, 4, "cat", 0.5]]}},
}


def photo_with(**changes):
    return {"photos": {"voc/a.jpg": {**GOOD["photos"]["voc/a.jpg"], **changes}}}


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"format": "codenet teacher boxes 2"}, "boxes 2"),
        ({"classes": 7}, "7|int"),
        ({"photos": []}, "list"),
        (photo_with(size=[100]), ""),
        (photo_with(boxes=[[1, 2, 3, 4, "dog", 0.5]]), "'dog' is missing"),
        (photo_with(boxes=[[1, 2, 3, 4, "cat"]]), ""),
        (photo_with(boxes=[[1, 2, "x", 4, "cat", 0.5]]), ""),
        (photo_with(boxes=[[1, 2, 101, 4, "cat", 0.5]]), "100x80"),
        (photo_with(boxes=[[1, 2, float("nan"), 4, "cat", 0.5]]), "100x80"),
        (photo_with(boxes=[[1, 2, 1, 4, "cat", 0.5]]), "100x80"),
        (photo_with(boxes=[[1, 2, 3, 4, "cat", 1.5]]), "1.5"),
    ],
)
def test_files_that_hold_something_else(tmp_path, change, reason):
    path = tmp_path / "teacher.json"
    path.write_text(json.dumps(GOOD))
    assert TeacherBoxes.load(path).classes == ("cat",)
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(CodenetError, match=rf"teacher.json: no file of models.teacher .*({reason})") as error:
        TeacherBoxes.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "no JSON", '{"format": "codenet teacher boxes 1"}'])
def test_files_that_are_none(tmp_path, text):
    path = tmp_path / "teacher.json"
    path.write_text(text)
    with pytest.raises(CodenetError, match="teacher.json: no file of models.teacher"):
        TeacherBoxes.load(path)
    with pytest.raises(CodenetError, match="gone.json"):
        TeacherBoxes.load(tmp_path / "gone.json")
