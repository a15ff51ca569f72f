# SPDX-License-Identifier: Apache-2.0
"""``codenet detect``: what it takes for photos, what it writes, and that it writes nothing else."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from codenet import Detector, cli, files
from codenet.vision.image import load
from tests.networks import network
from tests.paths import ROOT

PHOTO = ROOT / "docs/photos/chelsea.jpg"


@pytest.fixture
def photos(tmp_path):
    """A folder with b.jpg, a.png and what is no photo."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(PHOTO, folder / "b.jpg")
    load(PHOTO).rotate(180).save(folder / "a.png")
    load(PHOTO).rotate(90, expand=True).save(folder / "deep" / "c.jpg")
    for name in ("notes.txt", "._b.jpg"):
        (folder / name).write_text("no photo")
    return folder


@pytest.fixture
def detect(program, capsys):
    """Status, lines of the output, lines of errors."""

    def detect(*arguments, threshold=0.05):
        words = ["detect", *arguments, "--program", program, "--device", "golden", "--threshold", threshold]
        status = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and all(line.startswith("codenet: ") for line in err.splitlines())
        return status, out.splitlines(), err.splitlines()

    return detect


def titles(lines):
    return [line.partition(": ")[0] for line in lines if not line.startswith(" ")]


def test_folders_and_patterns(detect, photos):
    a, b, c = photos / "a.png", photos / "b.jpg", photos / "deep" / "c.jpg"
    for arguments, expected in (
        ([photos], [a, b]),
        ([f"{photos}/*"], [a, b]),
        ([f"{photos}/*.jpg"], [b]),
        ([f"{photos}/**/*"], [a, b, c]),
        ([f"{photos}/?.[jp][pn]g", c, photos / "deep"], [a, b, c, c]),
    ):
        status, out, err = detect(*arguments)
        assert (status, err, titles(out)) == (0, [], list(map(str, expected)))


def test_a_name_that_looks_like_a_pattern(detect, photos):
    odd = photos / "a[1].jpg"
    shutil.copy(PHOTO, odd)
    assert titles(detect(odd)[1]) == [str(odd)]


def test_folders_and_patterns_without_photos(detect, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    status, out, err = detect(tmp_path / "empty", f"{tmp_path}/*.gif", photos / "b.jpg")
    assert status == 2 and titles(out) == [str(photos / "b.jpg")]
    assert len(err) == 2 and "empty: has no photos" in err[0] and "*.gif: no photo has such a name" in err[1]
    status, out, err = detect(f"{tmp_path}/*.gif")
    assert (status, out, len(err)) == (2, [], 1)


def found(program, *paths):
    with Detector(program, "golden", threshold=0.05) as detector:
        return [detector(path) for path in paths]


def test_json_and_csv(detect, program, photos, tmp_path):
    a, b = photos / "a.png", photos / "b.jpg"
    status, _, _ = detect(photos, "--json", tmp_path / "d.json", "--csv", tmp_path / "d.csv")
    assert status == 0
    expected = [
        (n, path, d) for n, (path, all) in enumerate(zip((a, b), found(program, a, b), strict=True), 1) for d in all
    ]
    assert len(expected) > 2
    records = json.loads((tmp_path / "d.json").read_text())
    assert [(r["image_id"], r["file_name"], r["category"], r["category_id"], r["score"]) for r in records] == [
        (n, str(path), d.label, d.class_index + 1, d.score) for n, path, d in expected
    ]
    for record, (_, _, d) in zip(records, expected, strict=True):
        left, top, width, height = record["bbox"]
        assert (left, top) == d.box[:2] and (left + width, top + height) == pytest.approx(d.box[2:])
    with open(tmp_path / "d.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["label"], float(row["score"])) for row in rows] == [
        (str(path), d.label, pytest.approx(d.score, abs=1e-4)) for _, path, d in expected
    ]
    edges = [[float(row[name]) for name in ("left", "top", "right", "bottom")] for row in rows]
    assert np.allclose(edges, [d.box for _, _, d in expected], atol=0.01)


def test_image_ids_are_the_numbers_that_photos_are_named_by(detect, tmp_path):
    for name in ("000000000139.jpg", "7.jpg"):
        shutil.copy(PHOTO, tmp_path / name)
    detect(tmp_path, "--json", tmp_path / "d.json")
    assert {record["image_id"] for record in json.loads((tmp_path / "d.json").read_text())} == {139, 7}
    shutil.copy(PHOTO, tmp_path / "007.jpg")  # The same number: which photo would it be?
    detect(tmp_path, "--json", tmp_path / "d.json")
    assert {record["image_id"] for record in json.loads((tmp_path / "d.json").read_text())} == {1, 2, 3}


def test_coco_reads_it(detect, photos, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    detect(photos, "--json", tmp_path / "d.json")
    truth = {"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": [{"id": n} for n in range(1, 9)]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    results = coco.COCO(tmp_path / "truth.json").loadRes(str(tmp_path / "d.json"))
    assert len(results.anns) == len(json.loads((tmp_path / "d.json").read_text())) > 0


def test_without_detections_files_are_there_too(detect, photos, tmp_path):
    status, out, _ = detect(photos, "--json", tmp_path / "d.json", "--csv", tmp_path / "d.csv", threshold=0.999)
    assert (status, titles(out)[:2]) == (0, [str(photos / "a.png"), str(photos / "b.jpg")])
    assert json.loads((tmp_path / "d.json").read_text()) == []
    assert (tmp_path / "d.csv").read_text() == "file,label,score,left,top,right,bottom\n"


def test_a_network_that_finds_nothing_says_how_close_it_came(detect, program, photos):
    ((best, *_),) = found(program, photos / "b.jpg")
    status, out, _ = detect(photos / "b.jpg", threshold=0.999)
    assert status == 0 and out[0].endswith("b.jpg: 0 detections")
    assert (
        f"no score reaches 0.999: the best of {photos / 'b.jpg'} is {best.score:.3f} ({best.label}); --threshold "
        in out[1]
    )
    lower = out[1].split()[-3]
    assert not detect(photos / "b.jpg", threshold=lower)[1][0].endswith(" 0 detections")
    assert not any("no score reaches" in line for line in detect(photos)[1])


INPUTS = ["b.jpg", "../photos/b.jpg", "link.jpg"]


@pytest.mark.parametrize("option", ["--json", "--csv"])
@pytest.mark.parametrize("name", INPUTS)
def test_an_output_never_replaces_an_input(detect, photos, option, name):
    (photos / "link.jpg").symlink_to(photos / "b.jpg")
    before = (photos / "b.jpg").read_bytes()
    status, out, err = detect(photos, option, photos / name)
    assert (status, out, len(err)) == (2, [], 1) and f"{photos / name}: is an input" in err[0]
    assert (photos / "b.jpg").read_bytes() == before


def test_a_picture_never_replaces_an_input(detect, photos):
    shutil.copy(photos / "b.jpg", photos / "a-detections.jpg")
    before = (photos / "a-detections.jpg").read_bytes()
    status, out, err = detect(photos, "-o", photos)
    assert status == 2 and len(err) == 1 and "a-detections.jpg: is an input" in err[0]
    assert (photos / "a-detections.jpg").read_bytes() == before
    assert f"  written to {photos / 'b-detections.jpg'}" in out


def test_the_program_is_an_input(detect, program, photos):
    status, _, err = detect(photos, "--json", program)
    assert status == 2 and "is an input" in err[0]


def test_one_file_for_both(detect, photos, tmp_path):
    status, _, err = detect(photos, "--json", tmp_path / "d", "--csv", tmp_path / "." / "d")
    assert status == 2 and "expected two files" in err[0]


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_outputs_that_cannot_be_are_told_before_the_work(detect, photos, tmp_path, option):
    for target, reason in ((tmp_path / "no" / "d", "there is no folder"), (tmp_path, "is a folder")):
        status, out, err = detect(photos, option, target)
        assert (status, out, len(err)) == (2, [], 1) and f"{target}: " in err[0] and reason in err[0]
    status, out, err = detect(photos, "-o", photos / "b.jpg")
    assert (status, out, len(err)) == (2, [], 1)


@pytest.fixture
def full_disk(monkeypatch):
    """Every file is written half, then the disk is full."""

    def fsync(file):
        os.ftruncate(file, os.fstat(file).st_size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fsync)


def test_a_full_disk(detect, photos, tmp_path, full_disk):
    out_folder = tmp_path / "out"
    status, out, err = detect(photos / "b.jpg", "-o", out_folder)
    assert status == 2 and not os.listdir(out_folder)
    assert err == [f"codenet: error: {out_folder / 'b-detections.jpg'}: No space left on device"]
    assert not any("written to" in line for line in out)
    for option in ("--json", "--csv"):
        (tmp_path / "d").write_text("old")
        status, _, err = detect(photos / "b.jpg", option, tmp_path / "d")
        assert (status, err) == (2, [f"codenet: error: {tmp_path / 'd'}: No space left on device"])
        assert (tmp_path / "d").read_text() == "old"


def test_other_commands_on_a_full_disk(program, tmp_path, full_disk, capsys):
    network(32, equal_heads=True)
    graph = tmp_path / "graph.cdg"
    monkey = files.os.fsync
    files.os.fsync = lambda file: None
    network(32, equal_heads=True).save(graph)
    files.os.fsync = monkey
    assert cli.main(["compile", str(graph), "-o", str(tmp_path / "p.cdn"), "--small"]) == 2
    assert capsys.readouterr().err == f"codenet: error: {tmp_path / 'p.cdn'}: No space left on device\n"
    assert cli.main(["compile", str(graph), "-o", str(graph), "--small"]) == 2
    assert "graph.cdg: is an input" in capsys.readouterr().err
    words = ["benchmark", "--device", "golden", "--frames", "1", "--program", str(program)]
    assert cli.main([*words, "--json", str(tmp_path / "b.json")]) == 2
    assert capsys.readouterr().err == f"codenet: error: {tmp_path / 'b.json'}: No space left on device\n"
    assert cli.main([*words, "--json", str(program)]) == 2
    assert "is an input" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.cdg"]


def test_levels(detect, tmp_path, caplog):
    grey = np.asarray(load(PHOTO).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "plain.png")
    dark = detect(tmp_path / "deep.png")[1][1:]
    assert "deep.png: its values go from" in caplog.text
    caplog.clear()
    right = detect(tmp_path / "deep.png", "--levels", 0, 16 * 255)[1][1:]
    assert right == detect(tmp_path / "plain.png")[1][1:] != dark and not caplog.text
    status, _, err = detect(tmp_path / "deep.png", "--levels", 9, 9)
    assert status == 2 and "levels 9 and 9" in err[0]


def test_ctrl_c(program, photos, tmp_path):
    """One line, 130, and no file that is half there."""
    many = [str(photos / "b.jpg")] * 3000
    words = [sys.executable, "-m", "codenet", "detect", *many, "--program", str(program), "--device", "golden"]
    words += ["-o", str(tmp_path / "out"), "--json", str(tmp_path / "d.json")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "codenet: interrupted\n")
    assert not (tmp_path / "d.json").exists()
    for path in (tmp_path / "out").iterdir():
        assert path.suffix == ".jpg" and load(path).size == (451, 300)
