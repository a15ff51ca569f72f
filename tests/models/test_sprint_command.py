# SPDX-License-Identifier: Apache-2.0
"""``python -m models.sprint``: lanes, networks from one another, and what cannot start."""

import dataclasses

import pytest
import torch

from models import sprint
from models.network import CONFIGS, CoDeNet, load_network
from models.quantization import load_quantized
from models.training import distill_detector
from models.zoo import SHELF
from models.zoo.shelve import save_compact
from tests.models.common import TINY
from tests.models.pretrained.tiny_onnx import yolox

CLASSES = ("cat", "dog")


@pytest.fixture
def command(monkeypatch, coco_folder, tmp_path, capfd):
    """Runs the command for networks ``tiny`` and ``wide``; gives its status, standard error and output folder."""
    wide = TINY.replace(name="wide", head=2 * TINY.head)
    monkeypatch.setitem(CONFIGS, "tiny", dataclasses.replace(TINY, name="tiny"))
    monkeypatch.setitem(CONFIGS, "wide", wide)
    start = tmp_path / "start.pt"
    save_compact(CoDeNet(CONFIGS["tiny"], CLASSES), start)

    def run(*words, classes=CLASSES):
        arguments = [word.replace("START", str(start)) for word in words]
        fixed = ["--data", str(coco_folder), "--classes", *classes, "--output", str(tmp_path / "out")]
        short = ["--device", "cpu", "--steps", "2", "--batch", "2"]
        status = sprint.main([*arguments, *fixed, *short])
        return status, capfd.readouterr().err, tmp_path / "out"

    # What is spawned would not know the test's configurations.
    monkeypatch.setattr(sprint, "run_processes", lambda work, count, _output: [work(n) for n in range(count)])
    return run


def test_a_network_becomes_the_start_of_a_wider_one(command):
    status, error, output = command("tiny*2=START,wide=@tiny")
    assert status == 0, error
    assert load_network(output / "tiny" / "float.pt").config == CONFIGS["tiny"]
    assert load_network(output / "wide" / "float.pt").config == CONFIGS["wide"]
    assert load_quantized(output / "wide" / "quantized.pt").classes == CLASSES


def test_a_start_is_only_fine_tuned(command, tmp_path):
    status, error, output = command("tiny=START,wide=@tiny", "--quantized-share", "1")
    assert status == 0, error
    start, kept = (load_network(path).state_dict() for path in (tmp_path / "start.pt", output / "tiny" / "float.pt"))
    assert all(torch.equal(start[key], value) for key, value in kept.items())
    for name in ("tiny", "wide"):
        assert load_quantized(output / name / "quantized.pt").config == CONFIGS[name]
    assert len([line for line in (output / "tiny" / "log.txt").read_text().splitlines() if "100 %" in line]) == 1


def test_cycles_and_the_features_of_a_detector(command, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(distill_detector, "TEACHER_SIZE", 64)
    teacher = yolox(tmp_path / "teacher.onnx")
    status, error, output = command("tiny=START", "--cycles", "2", "--detector", str(teacher))
    assert status == 0, error
    lines = (output / "tiny" / "log.txt").read_text().splitlines()
    floating = [line for line in lines if "step" in line and "teacher" in line]
    assert [line.split("step")[1].split()[0] for line in floating] == ["2", "4", "2"]  # two cycles, then quantized
    assert not any("adapter" in key for key in load_network(output / "tiny" / "float.pt").state_dict())


def test_fine_tuning_learns_from_other_networks(command, tmp_path):
    words = ("tiny=START", "--quantized-share", "1")
    found = []
    for teachers in ([], ["--teachers", "START", "START"]):
        status, error, output = command(*words, *teachers)
        assert status == 0, error
        found.append(load_quantized(output / "tiny" / "quantized.pt").state_dict())
    assert any(not torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_fine_tuning_learns_features_and_outputs_of_an_original(command, tmp_path):
    original = tmp_path / "original.pt"
    save_compact(CoDeNet(CONFIGS["tiny"].replace(stem="s2max"), CLASSES), original)
    found = []
    for words in ([], ["--original", str(original)]):
        status, error, output = command("tiny=START", "--quantized-share", "1", *words)
        assert status == 0, error
        found.append(load_quantized(output / "tiny" / "quantized.pt").state_dict())
    assert any(not torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_originals_of_other_widths_and_beside_teachers(command, tmp_path):
    original = tmp_path / "original.pt"
    save_compact(CoDeNet(CONFIGS["tiny"].replace(decoder=(24, 16, 8)), CLASSES), original)
    status, error, output = command("tiny=START", "--original", str(original))
    assert status == 2
    assert "original.pt: decoder are (24, 16, 8), expected (24, 16, 16), as of tiny" in error
    status, error, output = command("tiny=START", "--original", "START", "--teachers", "START")
    assert status == 2 and "--teachers and --original, expected one of them" in error
    assert not (output / "tiny").exists()


def test_teachers_that_cannot_teach(command, tmp_path):
    other = tmp_path / "other.pt"
    save_compact(CoDeNet(CONFIGS["tiny"], ("cat", "cow")), other)
    status, error, output = command("tiny=START", "--teachers", str(other))
    assert status == 2 and "other.pt: classes are cat, cow, expected cat, dog, as of tiny" in error
    save_compact(CoDeNet(CONFIGS["tiny"].replace(size=96), CLASSES), other)
    status, error, output = command("tiny=START", "--teachers", str(other))
    assert status == 2 and "other.pt: input size is (96, 96), expected (64, 64), as of tiny" in error
    assert not (output / "tiny").exists()


def test_a_detector_that_is_none(command, tmp_path):
    status, error, _ = command("tiny=START", "--detector", str(tmp_path / "missing.onnx"))
    assert status == 2 and "missing.onnx: no such file, expected an ONNX file" in error


@pytest.mark.parametrize("text", ["tiny", "tiny=", "huge=START", "tiny*x=START", "=START"])
def test_a_job_that_is_none(command, text):
    status, error, output = command(text)
    assert status == 2 and "expected NAME=CHECKPOINT" in error and not (output / "tiny").exists()


def test_a_start_that_is_missing_or_of_other_classes(command):
    assert command("tiny=nowhere.pt")[0] == 2
    status, error, _ = command("tiny=START", classes=("dog", "cat"))
    assert status == 2 and "classes are ('cat', 'dog'), expected ('dog', 'cat')" in error


def test_lanes_that_cannot_start_say_so_in_one_line(coco_folder, tmp_path, capfd):
    """Through processes: each finds the same fault, and it is said once."""
    words = [f"{name}={SHELF.file(name, '.pt')}" for name in ("a", "b")]
    words += ["--data", str(coco_folder), "--classes", *CLASSES, "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert sprint.main([*words, "--steps", "1"]) == 2
    error = capfd.readouterr().err.splitlines()
    assert [line for line in error if "error" in line] == [error[-1]] and "Traceback" not in "".join(error)
    assert error[-1].startswith("models.sprint: error: checkpoint") and "expected ('cat', 'dog')" in error[-1]
    assert not list((tmp_path / "out").glob("complaint*"))
