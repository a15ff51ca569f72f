# SPDX-License-Identifier: Apache-2.0
"""``python -m models.shape``."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from codenet.checkout import ROOT
from codenet.config import AcceleratorConfig
from models.network import NetworkConfig
from sim.shape import command, cost
from sim.shape import search as search_module
from sim.shape.shapes import Shape
from sim.timing import DramTiming
from tests.models.common import TINY

SPACE = {"units.0": (2, 3, 4), "head": (16, 32), "skips": (False, True)}


@pytest.fixture
def tiny(monkeypatch):
    """Searches start from a tiny network, in a small space."""
    monkeypatch.setattr(search_module, "starts", lambda sizes: [Shape(TINY)])
    monkeypatch.setattr(command, "SPACE", SPACE)
    monkeypatch.setattr(command, "SIZES", (64,))
    monkeypatch.setattr(command, "REPORT_SECONDS", 0.0)


def run(folder, *arguments):
    return command.main(["--fps", "500", "--shapes", "6", "-o", str(folder), *arguments])


def test_shapes_are_found_and_kept(tiny, tmp_path, capsys, monkeypatch):
    assert run(tmp_path, "--best", "3") == 0
    out, err = capsys.readouterr()
    assert "6 shapes, of which the compiler refuses 0" in out and "missed by" in out
    assert "500 frames a second or more" in out and out.count("| 64x64 | s4 |") == 3
    assert "3 of 6 shapes, at most" in err
    found = json.loads((tmp_path / "search.json").read_text())
    assert (found["chip"], found["clock_mhz"], found["shapes"]) == ("xc7z020", 150.0, 6)
    (best,) = found["best"]
    assert best["wanted"] == 500 and len(best["shapes"]) == 3 and len(found["all"]) == 6
    for values in found["all"]:
        assert values["fps"] == pytest.approx(150e6 / values["cycles"], abs=0.01)
        fields = {name: value for name, value in values.items() if name in NetworkConfig.__dataclass_fields__}
        assert NetworkConfig.from_dict(fields).head in SPACE["head"]
    drawing = ElementTree.parse(tmp_path / "front.svg").getroot()
    tips = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert {"paper e", "shipped a"} <= set(tips) and any(tip.startswith("64x64 s4") for tip in tips)

    # Again: nothing is measured.
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("measured again"))
    assert run(tmp_path, "--best", "3") == 0
    assert capsys.readouterr().out.splitlines()[2:] == out.splitlines()[2:]


def test_a_stopped_search_goes_on(tiny, tmp_path, capsys, monkeypatch):
    measure, measured, stop = cost.measure, [], 3

    def counting(shape, *others):
        if len(measured) == stop:
            raise KeyboardInterrupt
        measured.append(shape)
        return measure(shape, *others)

    monkeypatch.setattr(cost, "measure", counting)
    assert run(tmp_path / "stopped") == 130
    assert "interrupted: 3 of 6 shapes; the same command goes on" in capsys.readouterr().err
    # Killed within the third line.
    (kept,) = (tmp_path / "stopped").glob("cycles-*.jsonl")
    kept.write_text(kept.read_text()[:-5])
    stop = None
    assert run(tmp_path / "stopped") == 0
    assert measured[3] == measured[2] and not set(measured[:2]) & set(measured[3:])
    assert run(tmp_path / "whole") == 0
    results = [json.loads((tmp_path / name / "search.json").read_text()) for name in ("stopped", "whole")]
    assert results[0] == results[1]


def test_refused_shapes_are_skipped_and_counted(tiny, tmp_path, capsys, monkeypatch):
    measure = cost.measure

    def refusing(shape, *others):
        return cost.Cost(None, "head: too wide") if shape.config.head == 32 else measure(shape, *others)

    monkeypatch.setattr(cost, "measure", refusing)
    assert command.main(["--fps", "500", "--shapes", "100", "-o", str(tmp_path)]) == 0
    assert "12 shapes, of which the compiler refuses 6" in capsys.readouterr().out
    assert json.loads((tmp_path / "search.json").read_text())["refused"] == {"head: too wide": 6}


def test_a_shape_that_the_compiler_refuses_says_why():
    config = AcceleratorConfig.from_dict({**AcceleratorConfig.small().to_dict(), "window_depth": 16})
    found = cost.measure(Shape(TINY.replace(size=320)), config, DramTiming())
    assert found.cycles is None and "expected at most" in found.refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--fps", "1e6"],
            "error: 1e+06 frames a second: none of 6 networks reaches them at 150 MHz, expected at most",
        ),
        (["--fps", "500", "1e6"], "error: 1e+06 frames a second: none of 12"),
        (["--chip", "xc7z010"], "argument --chip: invalid choice: 'xc7z010'"),
        (["--fps", "0"], "argument --fps: 0, expected a number of 0.1 or more"),
        (["--fps", "fast"], "argument --fps: 'fast', expected a number"),
        (["--shapes", "0"], "argument --shapes: 0, expected a whole number"),
        (["--sizes", "100"], "argument --sizes: invalid choice: 100"),
        (["--accelerator", "outputs=20"], "error: outputs = 20: expected a multiple of 8"),
        (["--accelerator", "outputs"], "error: outputs = '': expected a positive integer"),
        (["--accelerator", "lanes=16"], "error: configuration has fields"),
        (["--clock", "1e9"], "error: "),
    ],
)
def test_bad_input_is_one_line(tiny, tmp_path, capsys, arguments, message):
    try:
        status = run(tmp_path, *arguments)
    except SystemExit as error:
        status = error.code
    errors = [line for line in capsys.readouterr().err.splitlines() if "left" not in line]
    assert status == 2 and len(errors) == 1 and message in errors[0]


def test_a_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(tmp_path / "file") == 2
    assert "is a file, expected a folder" in capsys.readouterr().err


def test_models_shape_runs_it(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sw")])}
    result = subprocess.run(
        [sys.executable, "-m", "models.shape", "--fps", "150", "--chip", "none"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "'none'" in result.stderr


@pytest.mark.slow
def test_a_real_search_beats_its_starts(tmp_path, capsys):
    """At 256 pixels and a rate that no start is made for, b being a tenth faster: what the search finds is, by the
    estimate, before all of them that are as fast. (At the rate of f, which a search found, sixty shapes need not do.)
    """
    assert command.main(["--fps", "150", "--shapes", "60", "--sizes", "256", "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "search.json").read_text())
    best = found["best"][0]["shapes"][0]
    starts = [values for values in found["all"] if values["name"] != "shape" and values["fps"] >= 150]
    assert {values["name"] for values in starts} == {"a", "b", "f"}
    assert best["fps"] >= 150 and best["ap50_estimated"] > max(values["ap50_estimated"] for values in starts)
