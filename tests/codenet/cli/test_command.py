# SPDX-License-Identifier: Apache-2.0
"""The command: what it prints, what it writes, and how it complains."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from codenet import Detector, devices, zoo
from codenet.cli import command as cli
from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from codenet.errors import DeviceTimeout
from codenet.program import Program
from codenet.vision.image import load
from tests.networks import network
from tests.paths import ROOT

PHOTO = ROOT / "docs/photos/chelsea.jpg"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with graph.cdg, small.cdn, notes.txt and a photo."""
    folder = tmp_path_factory.mktemp("cli")
    network(64, equal_heads=True, name="tiny").save(folder / "graph.cdg")
    assert cli.main(["compile", str(folder / "graph.cdg"), "-o", str(folder / "small.cdn"), "--small"]) == 0
    (folder / "notes.txt").write_text("neither photo nor program")
    shutil.copy(PHOTO, folder / "photo.jpg")
    return folder


def run(capsys, *arguments):
    capsys.readouterr()
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    if status:
        assert captured.err.startswith("codenet: error: ") or not captured.err
        assert "Traceback" not in captured.err
    return status, captured.out, captured.err


def test_detect_prints_what_the_detector_returns(files, capsys):
    status, out, err = run(capsys, "detect", files / "photo.jpg", "--program", files / "small.cdn", "--threshold", 0.05)
    assert (status, err) == (0, "")
    with Detector(files / "small.cdn", threshold=0.05) as detector:
        expected = detector(PHOTO)
    assert expected, "a test without detections tests nothing"
    lines = out.splitlines()
    assert lines[0] == f"{files / 'photo.jpg'}: {len(expected)} detections"
    assert len(lines) == 1 + len(expected)
    best = expected[0]
    left, top, right, bottom = best.box
    assert lines[1] == f"  {best.label} {best.score:.2f} ({left:.1f}, {top:.1f}, {right:.1f}, {bottom:.1f})"


def test_detect_draws(files, capsys, tmp_path):
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    load(PHOTO).rotate(90, expand=True).save(other)
    arguments = ["detect", files / "photo.jpg", other, "--program", files / "small.cdn", "-o", tmp_path / "out/deep"]
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    names = ["photo-detections.jpg", "photo-detections-2.jpg"]
    assert sorted(os.listdir(tmp_path / "out/deep")) == sorted(names)
    sizes = [load(tmp_path / "out/deep" / name).size for name in names]
    assert sizes == [(451, 300), (300, 451)]
    assert all(name in out for name in names)


def test_detect_goes_on_after_a_bad_photo(files, capsys):
    arguments = ["detect", files / "notes.txt", files / "no.jpg", files / "photo.jpg", "--program", files / "small.cdn"]
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert len(err.splitlines()) == 2
    assert "notes.txt" in err and f"{files / 'no.jpg'}: No such file" in err
    assert "photo.jpg: " in out


def test_detect_without_a_program(files, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "DEFAULT_PROGRAM", tmp_path / "codenet-a.cdn")
    status, _, err = run(capsys, "detect", files / "photo.jpg")
    assert status == 2 and "no --program given" in err
    shutil.copy(files / "small.cdn", tmp_path / "codenet-a.cdn")
    assert run(capsys, "detect", files / "photo.jpg")[0] == 0


def damage(data: bytes, kind: str) -> bytes:
    if kind == "truncated":
        return data[: len(data) // 2]
    if kind == "longer":
        return data + b"\0"
    if kind == "flipped":
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]
    if kind == "version":
        return data[:8] + (99).to_bytes(4, "little") + data[12:]
    return b""


@pytest.mark.parametrize("kind", ["truncated", "longer", "flipped", "version", "empty"])
@pytest.mark.parametrize("command", ["detect", "info", "verify"])
def test_damaged_program(files, capsys, tmp_path, kind, command):
    bad = tmp_path / "bad.cdn"
    bad.write_bytes(damage((files / "small.cdn").read_bytes(), kind))
    arguments = {
        "detect": ["detect", files / "photo.jpg", "--program", bad],
        "info": ["info", bad],
        "verify": ["verify", bad, files / "photo.jpg"],
    }[command]
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and "bad.cdn" in err
    if kind == "version":
        assert "version 99" in err and "expected 1" in err


@pytest.mark.parametrize("part", [0.1, 0.9])
def test_truncated_graph(files, capsys, tmp_path, part):
    data = (files / "graph.cdg").read_bytes()
    (tmp_path / "bad.cdg").write_bytes(data[: int(part * len(data))])
    for arguments in (["info", tmp_path / "bad.cdg"], ["compile", tmp_path / "bad.cdg", "-o", tmp_path / "x.cdn"]):
        status, _, err = run(capsys, *arguments)
        assert status == 2 and "bad.cdg" in err
    assert not (tmp_path / "x.cdn").exists()


def test_info_of_a_program(files, capsys):
    status, out, _ = run(capsys, "info", files / "small.cdn")
    assert status == 0
    program = Program.load(files / "small.cdn")
    assert out.strip() == program.info().strip()
    assert "tiny" in out and all(name in out for name in program.step_names)


def test_info_of_a_graph(files, capsys):
    status, out, _ = run(capsys, "info", files / "graph.cdg")
    assert status == 0
    graph = network(64, equal_heads=True, name="tiny")
    assert out.startswith(f"tiny (codenet-graph): {len(graph.operations)} operations, ")
    assert "classes: class0, class1, class2" in out
    rows = {line.split()[1]: line.split() for line in out.splitlines() if len(line.split()) > 3}
    assert rows["stem"] == ["convolution", "stem", "16x16x8", "int8", "0.06", "image"]  # 16 * 16 * 8 * 27 MACs
    assert rows["heatmap"][2:4] == ["16x16x3", "int16"]


def test_info_of_something_else(files, capsys):
    for name in ("notes.txt", "photo.jpg"):
        status, _, err = run(capsys, "info", files / name)
        assert status == 2 and f"{name}: expected a program (.cdn) or a graph (.cdg)" in err


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ([], AcceleratorConfig()),
        (["--small"], AcceleratorConfig.small()),
        (["--outputs", "24"], AcceleratorConfig(outputs=24)),
    ],
)
def test_compile(files, capsys, tmp_path, options, config):
    status, out, _ = run(capsys, "compile", files / "graph.cdg", "-o", tmp_path / "p.cdn", *options)
    assert status == 0
    assert Program.load(tmp_path / "p.cdn").config == config
    assert f"{(tmp_path / 'p.cdn').stat().st_size} bytes" in out


@pytest.mark.parametrize("outputs", ["0", "-8", "12", "256"])
def test_compile_for_an_impossible_array(files, capsys, tmp_path, outputs):
    status, _, err = run(capsys, "compile", files / "graph.cdg", "-o", tmp_path / "p.cdn", "--outputs", outputs)
    assert status == 2 and f"outputs = {outputs}" in err


def test_verify(files, capsys):
    arguments = ["verify", files / "small.cdn", files / "photo.jpg", "--device", "golden"]
    status, out, _ = run(capsys, *arguments)
    assert status == 0 and out.startswith("golden: 4 outputs, 0 mismatches")
    status, out, _ = run(capsys, *arguments, "--graph", files / "graph.cdg")
    assert status == 0 and " tensors, 0 mismatches" in out


def test_verify_of_a_device_that_differs(files, capsys, monkeypatch):
    class Wrong(GoldenDevice):
        def _step_done(self, index, descriptor, counts):
            size = Program.load(files / "small.cdn").outputs["size"]
            if index == size.step:
                self._memory()[size.planes[0]] ^= 1
            super()._step_done(index, descriptor, counts)

    monkeypatch.setitem(devices._registry, "wrong", devices._Entry(Wrong, None))
    status, out, err = run(capsys, "verify", files / "small.cdn", files / "photo.jpg", "--device", "wrong")
    assert (status, err) == (1, "")
    assert "tensor 'size': 1 values differ, the first at (0, 0, " in out
    assert "1 mismatches" in out


def test_device_of_unknown_name(files, capsys):
    status, _, err = run(capsys, "verify", files / "small.cdn", files / "photo.jpg", "--device", "fpga9")
    assert status == 1 and "'fpga9'" in err and "golden" in err


@pytest.mark.parametrize("command", ["detect", "verify"])
def test_device_that_does_not_answer(files, capsys, monkeypatch, command):
    class Silent(GoldenDevice):
        def wait(self, timeout):
            raise DeviceTimeout("nothing")

    monkeypatch.setitem(devices._registry, "silent", devices._Entry(Silent, None))
    arguments = {
        "detect": ["detect", files / "photo.jpg", files / "photo.jpg", "--program", files / "small.cdn"],
        "verify": ["verify", files / "small.cdn", files / "photo.jpg"],
    }[command]
    status, _, err = run(capsys, *arguments, "--device", "silent")
    assert status == 1
    assert len(err.splitlines()) == 1 and "no end of program 'tiny'" in err and "STATUS" in err


@pytest.mark.parametrize("threshold", ["0", "1", "7", "nan"])
def test_threshold_out_of_range(files, capsys, threshold):
    arguments = ["detect", files / "photo.jpg", "--program", files / "small.cdn", "--threshold", threshold]
    status, _, err = run(capsys, *arguments)
    assert status == 2 and "threshold" in err


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["detect"], ["compile", "x.cdg"], ["detect", "x", "--threshold", "a"]]
)
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("codenet") and ": error: " in error and len(error.splitlines()) == 1


def test_module(files):
    command = [sys.executable, "-m", "codenet", "info", str(files / "small.cdn")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("tiny") and result.stderr == ""


def test_nobody_reads_the_output(files):
    """As in ``codenet info FILE | head -1``: no word of complaint."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "codenet", "info", str(files / "small.cdn")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "P", "1"])
def test_photos_of_every_kind(files, capsys, tmp_path, mode):
    image = load(PHOTO)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    image.save(path)
    status, out, _ = run(capsys, "detect", path, "--program", files / "small.cdn")
    assert status == 0 and out.startswith(f"{path}: ")
