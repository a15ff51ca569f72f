# SPDX-License-Identifier: Apache-2.0
"""YOLOX: input and output against calculations by hand, files of other layouts, and the released file, if present."""

import math
import sys

import numpy as np
import pytest
from PIL import Image

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from models.data import ANIMALS, COCO, overlaps
from models.pretrained.yolox import Yolox, cells, decode, letterbox
from tests.models.pretrained.tiny_yolox import SIZE, seen, silent, write_onnx

#: Objects of the photos, as seen by eye: x0, y0, x1, y1.
CAT, PERSON = (0, 0, 400, 300), (20, 15, 365, 512)


def decode_by_loops(output, size):
    """Boxes and scores as the layout defines them, a cell at a time."""
    boxes, scores, index = [], [], 0
    for stride in (8, 16, 32):
        for row in range(size // stride):
            for column in range(size // stride):
                x, y, log_width, log_height, objectness, *classes = output[index].tolist()
                cx, cy = (x + column) * stride, (y + row) * stride
                width, height = math.exp(log_width) * stride, math.exp(log_height) * stride
                boxes.append([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])
                scores.append([objectness * score for score in classes])
                index += 1
    assert index == len(output)
    return np.array(boxes), np.array(scores)


@pytest.mark.parametrize("size", [32, 96, 416])
def test_decode_equals_the_definition(size):
    rng = np.random.default_rng(size)
    output = rng.random((len(cells(size)), 9)).astype(np.float32)
    output[:, :4] = rng.normal(size=(len(output), 4))
    for ours, expected in zip(decode(output, size), decode_by_loops(output, size), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-9)


def test_cells_of_the_released_size():
    assert cells(416).shape == (3549, 3)
    assert cells(416)[52 * 52 + 27].tolist() == [1, 1, 16]


@pytest.mark.parametrize("column, value", [(4, 1.5), (6, -0.1), (5, float("nan")), (2, 9.0), (3, float("nan"))])
def test_values_that_no_such_output_has(column, value):
    output = silent()
    output[3, column] = value
    with pytest.raises(CodenetError, match="expected"):
        decode(output, SIZE)


def test_letterbox_is_blue_green_red_at_the_top_left():
    photo = Image.new("RGB", (120, 60), (10, 20, 30))
    planes, stretch = letterbox(photo, 64)
    assert planes.shape == (1, 3, 64, 64) and planes.dtype == np.float32
    assert stretch == (120 / 64, 60 / 32)
    for plane, value in zip(planes[0], (30, 20, 10), strict=True):
        assert (plane[:32] == value).all() and (plane[32:] == 114).all()


@pytest.mark.parametrize("size, inner", [((64, 64), (64, 64)), ((3, 900), (1, 64)), ((20, 30), (42, 64))])
def test_letterbox_keeps_the_aspect(size, inner):
    planes, stretch = letterbox(Image.new("RGB", size), 64)
    inside = planes[0, 0] == 0
    assert (inside.any(axis=0).sum(), inside.any(axis=1).sum()) == inner
    assert stretch == (size[0] / inner[0], size[1] / inner[1])


def test_detections_are_in_the_photo_s_pixels(tmp_path):
    pytest.importorskip("onnxruntime")
    output = silent()
    # Cells of stride 16 start at 64; column 1, row 1 of 4. Centre (24, 24), 16 by 32 in the input of 64.
    seen(output, 64 + 5, (0.5, 0.5, 0.0, math.log(2)), "dog", 0.9, 0.5)
    seen(output, 64 + 6, (-0.5, 0.5, 0.0, math.log(2)), "dog", 0.8, 0.5)  # the same box again
    output[64 + 6, 5 + COCO.index("cat")] = 0.25  # and a cat in it
    seen(output, 0, (0.0, 0.0, 0.0, 0.0), "cow", 1.0, 0.3)  # around the corner
    seen(output, 80, (9.0, 0.5, 0.0, 0.0), "horse", 1.0, 1.0)  # outside
    seen(output, 1, (0.5, 0.5, 0.0, 0.0), "bear", 1.0, 1.0)  # not asked for
    seen(output, 2, (0.5, 0.5, 0.0, 0.0), "sheep", 0.2, 0.2)  # below the threshold
    teacher = Yolox(write_onnx(tmp_path / "tiny.onnx", output), ANIMALS)
    found = teacher.detect(Image.new("RGB", (256, 128)))
    assert [(d.label, d.class_index) for d in found] == [("dog", 2), ("cow", 5), ("cat", 1)]
    assert [d.score for d in found] == pytest.approx([0.45, 0.3, 0.2])
    for detection, box in zip(found, [(64, 32, 128, 128), (0, 0, 16, 16), (64, 32, 128, 128)], strict=True):
        assert detection.box == pytest.approx(box, abs=1e-4)


@pytest.mark.parametrize(
    "width, count, shape, kind, what",
    [
        (25, 84, (1, 3, 64, 64), 1, "84, 25"),
        (85, 83, (1, 3, 64, 64), 1, "83, 85"),
        (85, 84, (1, 3, 64, 32), 1, "64, 32"),
        (85, 84, (1, 1, 64, 64), 1, "1, 1, 64"),
        (85, 84, (1, 3, 48, 48), 1, "48, 48"),
        (85, 84, (4, 3, 64, 64), 1, "4, 3"),
        (85, 84, (1, 3, 64, 64), 11, "double"),
        (85, 84, (), 1, r"\[\]"),
    ],
)
def test_files_of_another_layout(tmp_path, width, count, shape, kind, what):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "other.onnx", np.zeros((count, width), np.float32), shape, kind)
    with pytest.raises(
        CodenetError, match=rf"other\.onnx: input and output are .*{what}.*expected YOLOX's: .*"
    ) as error:
        Yolox(path, ANIMALS)
    assert "\n" not in str(error.value)


def test_outputs_that_are_decoded_already(tmp_path):
    pytest.importorskip("onnxruntime")
    output = silent()
    output[0, 2:4] = 40.0
    with pytest.raises(CodenetError, match=r"decoded\.onnx: logarithms of widths and heights up to 40, .*already"):
        Yolox(write_onnx(tmp_path / "decoded.onnx", output)).detect(Image.new("RGB", (64, 64)))


def test_files_that_are_none(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(CodenetError, match="gone.onnx: no such file"):
        Yolox(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(CodenetError, match="text.onnx: cannot be read as an ONNX file") as error:
        Yolox(tmp_path / "text.onnx")
    assert "\n" not in str(error.value)


def test_classes_that_the_teacher_lacks(tmp_path):
    with pytest.raises(CodenetError, match="does not know raccoon, goat; its classes are COCO's: person, bicycle"):
        Yolox(tmp_path / "any.onnx", ("cat", "raccoon", "goat"))


def test_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CodenetError, match="the package onnxruntime is missing: pip install onnxruntime"):
        Yolox(tmp_path / "any.onnx")


@pytest.mark.parametrize("name, label, corners", [("chelsea", "cat", CAT), ("astronaut", "person", PERSON)])
def test_the_released_file(real_data, name, label, corners):
    pytest.importorskip("onnxruntime")
    teacher = Yolox(real_data / "weights" / "yolox_nano.onnx", ANIMALS)
    best, *others = teacher.detect(Image.open(ROOT / "docs" / "photos" / f"{name}.jpg"))
    assert best.label == label and best.score > 0.5
    assert not [other for other in others if other.score > 0.3]
    assert overlaps(np.array(best.box), np.array([corners]))[0] > 0.8
