# SPDX-License-Identifier: Apache-2.0
"""``python -m models.teacher``: the file that it writes, what it refuses, and that a stopped one goes on."""

import hashlib
import json
import math
import shutil

import pytest
from PIL import Image

from models import teacher as command
from models.data import TeacherBoxes, load_data, with_teacher
from tests.models.pretrained.tiny_yolox import seen, silent, write_onnx

pytest.importorskip("onnxruntime")

BOX = (20.0, 24.0, 60.0, 56.0)


@pytest.fixture
def onnx(tmp_path):
    """A teacher that sees the dog of `coco_folder`'s second photo in all photos of 64 x 64."""
    output = silent()
    # Cell 20 of stride 8: column 4, row 2. Centre (40, 40), 40 by 32.
    seen(output, 20, (1.0, 3.0, math.log(5), math.log(4)), "dog", 1.0, 0.75)
    return write_onnx(tmp_path / "tiny.onnx", output)


def run(capsys, *words):
    status = command.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()[-1] if captured.err else ""


def test_from_photos_to_boxes_to_train_with(onnx, coco_folder, tmp_path, capsys):
    output = tmp_path / "out" / "teacher.json"
    assert run(capsys, onnx, "--data", coco_folder, "-o", output)[:2] == (
        0,
        f"{output}: 2 boxes of person, cat, dog, horse, sheep, cow in 2 photos\n",
    )
    content = json.loads(output.read_text())
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    expected = {"file": "tiny.onnx", "sha256": digest, "score_threshold": 0.05, "iou_threshold": 0.6}
    assert content["teacher"] == expected
    row = [*BOX, "dog", 0.75]
    assert content["photos"] == {
        f"coco/images/{name}.png": {"size": [64, 64], "boxes": [row]} for name in ("one", "two")
    }
    data = load_data(coco_folder, "train", ("cat", "dog"))
    first, second = with_teacher(data, TeacherBoxes.load(output)).records
    assert first.labels.tolist() == [0, 1] and first.confidence.tolist() == [1, 0.75]
    assert second.labels.tolist() == [1, 1] and second.confidence.tolist() == [1, 1]


@pytest.mark.slow
def test_processes_find_the_same(onnx, coco_folder, tmp_path, capsys):
    for workers in (1, 2):
        assert (
            run(capsys, onnx, "--data", coco_folder, "-o", tmp_path / f"{workers}.json", "--workers", workers)[0] == 0
        )
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()


def test_a_file_is_completed(onnx, coco_folder, tmp_path, capsys, monkeypatch):
    whole, output = tmp_path / "whole.json", tmp_path / "teacher.json"
    assert run(capsys, onnx, "--data", coco_folder, "-o", whole)[0] == 0
    assert run(capsys, onnx, "--data", coco_folder, "-o", output, "--limit", 1)[0] == 0
    photos = []
    detect = command.Yolox.detect
    monkeypatch.setattr(command.Yolox, "detect", lambda self, photo: photos.append(photo) or detect(self, photo))
    status, out, _ = run(capsys, onnx, "--data", coco_folder, "-o", output)
    assert status == 0 and f"{output}: has 1 of 2 photos already\n" in out
    assert len(photos) == 1 and output.read_text() == whole.read_text()


def test_an_interrupted_one_goes_on(onnx, coco_folder, tmp_path, capsys, monkeypatch):
    output, detect, photos = tmp_path / "teacher.json", command.Yolox.detect, []

    def interrupted(self, photo):
        photos.append(photo)
        if len(photos) == 2:
            raise KeyboardInterrupt
        return detect(self, photo)

    monkeypatch.setattr(command.Yolox, "detect", interrupted)
    status, _, error = run(capsys, onnx, "--data", coco_folder, "-o", output)
    assert (status, error) == (130, f"models.teacher: interrupted: {output} has 1 photos; the same command goes on")
    assert list(TeacherBoxes.load(output).photos) == ["coco/images/one.png"]
    assert run(capsys, onnx, "--data", coco_folder, "-o", output)[0] == 0
    assert len(photos) == 3 and len(TeacherBoxes.load(output).photos) == 2


def test_photos_of_another_size_are_seen_again(onnx, coco_folder, tmp_path, capsys):
    output = tmp_path / "teacher.json"
    assert run(capsys, onnx, "--data", coco_folder, "-o", output)[0] == 0
    content = json.loads((coco_folder / "instances_train.json").read_text())
    content["images"][0] |= {"width": 128, "height": 128}
    (coco_folder / "instances_train.json").write_text(json.dumps(content))
    Image.new("RGB", (128, 128)).save(coco_folder / "images" / "one.png")
    with pytest.raises(Exception, match="of a photo of 64x64, .*one.png is 128x128"):
        with_teacher(load_data(coco_folder, "train", ("cat", "dog")), TeacherBoxes.load(output))
    assert run(capsys, onnx, "--data", coco_folder, "-o", output)[0] == 0
    assert json.loads(output.read_text())["photos"]["coco/images/one.png"]["boxes"][0][:4] == [2 * n for n in BOX]


def test_evaluation_writes_nothing(onnx, coco_folder, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = run(capsys, onnx, "--data", f"{coco_folder}:val", "--classes", "cat", "dog", "--evaluate")
    assert status == 0
    # One of two dogs is right, the cat is not seen; which comes first is a tie.
    assert "cat              AP50 0.000" in out and "images 2" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_what_it_refuses(onnx, coco_folder, tmp_path, capsys):
    output, data = tmp_path / "teacher.json", ("--data", coco_folder)
    other = shutil.copytree(coco_folder, tmp_path / "other" / "coco")
    wrong = write_onnx(tmp_path / "wrong.onnx", silent()[:, :25])
    cases = [
        ((onnx, *data, "-o", output, "--classes", "cat", "raccoon"), "does not know raccoon; its classes are COCO's: "),
        ((onnx, *data, "-o", output, "--classes", "auto"), "--classes auto: expected names, or one of animals, voc"),
        ((wrong, *data, "-o", output), "wrong.onnx: input and output are "),
        ((tmp_path / "gone.onnx", *data, "-o", output), "gone.onnx: no such file, expected an ONNX file"),
        ((onnx, *data, "-o", onnx), "tiny.onnx: is an input, which would be overwritten"),
        ((onnx, *data, "-o", tmp_path), "is a folder, expected a file to write"),
        ((onnx, *data, "-o", coco_folder / "instances_val.json"), "instances_val.json: no file of models.teacher"),
        ((onnx, *data, other, "-o", output), "would both be named coco/images/one.png; rename one of the folders"),
        ((onnx, "--data", f"{coco_folder}:test", "-o", output), "no annotations of split 'test'"),
        ((onnx, *data), "one of the arguments -o/--output --evaluate is required"),
    ]
    for words, message in cases:
        try:
            status, out, error = run(capsys, *words)
        except SystemExit as stop:
            status, out, error = stop.code, "", capsys.readouterr().err.strip()
        assert (status, out) == (2, ""), words
        assert error.startswith("models.teacher: error: ") and message in error, words
        assert not output.exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (("--threshold", 0.2), "has boxes of another score_threshold: 0.05, expected 0.2; remove it, or give another"),
        (("--iou-threshold", 0.5), "has boxes of another iou_threshold: 0.6, expected 0.5"),
        (("--classes", "cat"), "has boxes of another classes: person, cat, dog, horse, sheep, cow, expected cat"),
        (("other",), "has boxes of another sha256: "),
    ],
)
def test_a_file_of_another_teacher_is_kept(onnx, coco_folder, tmp_path, capsys, words, message):
    output = tmp_path / "teacher.json"
    assert run(capsys, onnx, "--data", coco_folder, "-o", output)[0] == 0
    before = output.read_text()
    if words == ("other",):
        onnx, words = write_onnx(tmp_path / "other.onnx", silent()), ()
    status, out, error = run(capsys, onnx, "--data", coco_folder, "-o", output, *words)
    assert (status, out) == (2, "") and message in error
    assert output.read_text() == before
