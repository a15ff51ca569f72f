# SPDX-License-Identifier: Apache-2.0
"""``python -m sim.run``: its report, its exit status, its two simulators."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from codenet.golden import interpreter
from sim import run
from tests import networks

LAST_LINE = re.compile(
    r"sim tiny: (\d+) tensors, (\d+) mismatches, (\d+) cycles, (\d+\.\d) fps at 150 MHz, (\d+) detections"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny graph and a photo."""
    folder = tmp_path_factory.mktemp("run")
    networks.network(size=32).save(folder / "tiny.cdg")
    pixels = np.random.default_rng(8).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


def arguments(files, *more):
    return ["--graph", str(files / "tiny.cdg"), "--photo", str(files / "photo.png"), "--small", *more]


@pytest.mark.parametrize("simulator", ["board", "cocotb"])
def test_ends_with_its_result(files, simulator, capsys, monkeypatch):
    monkeypatch.setattr(run, "BUILD", files)
    assert run.main(arguments(files, "--via", simulator, "--profile")) == 0
    lines = capsys.readouterr().out.splitlines()
    match = LAST_LINE.fullmatch(lines[-1])
    assert match, lines[-1]
    tensors, mismatches, cycles = (int(match[n]) for n in (1, 2, 3))
    assert (mismatches, tensors > 40, cycles > 5000) == (0, True, True)
    assert float(match[4]) == pytest.approx(150e6 / cycles, abs=0.05)
    assert any("untrained" in line for line in lines)
    with Image.open(files / "sim-tiny.jpg") as drawn:
        assert drawn.size == (70, 50)


def test_mismatch_is_named_and_fails(files, capsys, monkeypatch):
    monkeypatch.setattr(run, "BUILD", files)
    original = interpreter.run

    def disturbed(graph, image):
        tensors = original(graph, image)
        name = next(name for name in tensors if name.endswith("b2.pw2"))
        tensors[name] = tensors[name].copy()
        tensors[name][1, 2, 3] ^= 1
        return tensors

    monkeypatch.setattr(interpreter, "run", disturbed)
    assert run.main(arguments(files)) == 1
    output = capsys.readouterr()
    assert re.search(
        r"mismatch: step 2 '.*', tensor 'stage1\.0\.b2\.pw2': .* at \(1, 2, 3\): expected -?\d+, found -?\d+",
        output.err,
    )
    assert LAST_LINE.fullmatch(output.out.splitlines()[-1])[2] == "1"


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [("--photo", b"no photo", "photo"), ("--graph", b"no graph", "graph")],
    ids=["photo", "graph"],
)
def test_bad_file_is_named(files, tmp_path, option, content, message, capsys):
    bad = tmp_path / f"bad.{message}"
    bad.write_bytes(content)
    assert run.main([*arguments(files), option, str(bad)]) == 2
    assert f"bad.{message}" in capsys.readouterr().err
