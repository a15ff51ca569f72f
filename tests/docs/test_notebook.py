# SPDX-License-Identifier: Apache-2.0
"""The notebook runs from its first cell to its last, on the golden model and on the simulated board."""

import json

import pytest

from codenet import Detector
from codenet.checkout import ROOT
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.vision.image import load
from tests.networks import network

NOTEBOOK = ROOT / "sw" / "notebooks" / "codenet.ipynb"
PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"


MEASURED = {"golden": "device golden: counts no cycles", "rtl": "copy and parameters, on both ports"}
"""What the memory's cell says, by device."""


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def execute(cells, parameters):
    """Run the code cells as Jupyter does, in one namespace; ``parameters`` replace those of the cell with this tag.

    Returns
    -------
    The namespace, and the value of each cell's last line by the cell's id (``None`` where it is no expression).
    """
    namespace, values = {"__name__": "__main__"}, {}
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        *_, last = source.splitlines()
        exec(compile(source, f"cell {cell['id']}", "exec"), namespace)
        if cell["id"] == "photo":
            values[cell["id"]] = eval(last, namespace)
        if "parameters" in cell["metadata"].get("tags", []):
            assert set(parameters) <= set(namespace), "the notebook has no such parameter"
            namespace.update(parameters)
    return namespace, values


@pytest.mark.parametrize("device", ["golden", "rtl"])
def test_every_cell_runs(cells, device, tmp_path, capsys):
    if device == "rtl":
        pytest.importorskip(
            "sim.verilator.board", reason="without the simulator: the RTL is left out", exc_type=ImportError
        )
    program = compile_graph(network(32, equal_heads=True, name="tiny"), AcceleratorConfig.small())
    program.save(tmp_path / "tiny.cdn")
    parameters = {
        "PROGRAM": tmp_path / "tiny.cdn",
        "DEVICE": device,
        "PHOTO": PHOTO,
        "CAMERA": PHOTO.parent,
        "SECONDS": 0,
        "SERVE": "127.0.0.1:0",
    }
    namespace, values = execute(cells, parameters)
    out = capsys.readouterr().out
    with Detector(program, "golden") as detector:
        expected = detector(PHOTO)
    assert namespace["detections"] == expected
    assert values["photo"].tobytes() == detector.draw(PHOTO, expected).tobytes()
    texts = ("memory: the accelerator read 8192 bytes", "frames in", "program tiny, 32x32", "page at http://127.0.0.1:")
    for text in (*texts, MEASURED[device], "is none of the boards"):
        assert text in out, text
    assert namespace["summary"].frames >= 1 and namespace["shown"] >= 1
    profile = namespace["profile"]
    assert len(profile) == len(program.descriptors)
    if device == "rtl":
        assert sum(step.cycles for step in profile) == namespace["detector"].times.cycles > 0
        assert f"{namespace['detector'].times.cycles} cycles in {len(profile)} steps" in out
        assert "counted by device rtl" in out
    else:
        assert "no counters: this device has no clock" in out


def test_notebook_is_one_that_jupyter_opens(cells):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] in ("code", "markdown")
        assert isinstance(cell["source"], list) and all(line.endswith("\n") for line in cell["source"][:-1])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "stored without outputs"


def test_default_parameters_fit_what_flashing_copies(cells):
    (cell,) = [cell for cell in cells if cell["id"] == "parameters"]
    namespace = {}
    exec("".join(cell["source"]), namespace)
    assert namespace["PHOTO"] == PHOTO.name and load(PHOTO.parent / namespace["PHOTO"])
    assert namespace["PROGRAM"].name == "codenet-a.cdn" and namespace["DEVICE"] == "auto"
