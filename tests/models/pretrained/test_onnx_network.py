# SPDX-License-Identifier: Apache-2.0
"""ONNX networks in PyTorch: the same numbers as onnxruntime's, and files that are none."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from models.pretrained.onnx_network import OnnxNetwork
from tests.models.pretrained.tiny_onnx import write
from tests.models.pretrained.tiny_yolox import SIZE, silent, write_onnx

RELEASED = ROOT.parent / "shared" / "data" / "weights" / "yolox_nano.onnx"


@pytest.fixture
def everything(tmp_path):
    """A file with every operation that there is."""
    rng = np.random.default_rng(1)
    constants = {
        "first": rng.normal(size=(8, 12, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=8).astype(np.float32),
        "depthwise": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "none": np.zeros(0, np.float32),
        "axes": np.array([2, 3]),
        "steps": np.array([2, 2]),
        "last": np.array([2**63 - 1] * 2),
        **{f"from{y}{x}": np.array([y, x]) for y in (0, 1) for x in (0, 1)},
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    operations = [
        *(("Slice", ["images", f"from{c}", "last", "axes", "steps"], f"part{c}", {}) for c in ("00", "01", "10", "11")),
        ("Concat", ["part00", "part01", "part10", "part11"], "focus", {"axis": 1}),
        ("Conv", ["focus", "first", "bias"], "conv", same),
        ("Sigmoid", ["conv"], "sigmoid", {}),
        ("Mul", ["conv", "sigmoid"], "swish", {}),
        ("Conv", ["swish", "depthwise"], "deep", {**same, "group": 8, "strides": [2, 2]}),
        ("Relu", ["deep"], "relu", {}),
        ("MaxPool", ["relu"], "pool", {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
        ("Resize", ["pool", "none", "scales"], "up", nearest),
        ("Add", ["up", "swish"], "sum", {}),
    ]  # fmt: skip
    return write(tmp_path / "everything.onnx", operations, constants, ["sum", "pool"])


@pytest.mark.parametrize("batch, height, width", [(1, 16, 16), (3, 32, 24)])
def test_all_operations_give_what_onnxruntime_gives(everything, batch, height, width):
    x = np.random.default_rng(2).normal(size=(batch, 3, height, width)).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(everything)).run(["sum", "pool"], {"images": x})
    with torch.no_grad():
        found = OnnxNetwork(everything, ["sum", "pool"])(torch.from_numpy(x))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_only_what_is_needed_is_run(everything):
    network = OnnxNetwork(everything, ["conv"])
    assert [kind for kind, *_ in network._steps] == ["Slice"] * 4 + ["Concat", "Conv"]


@pytest.mark.skipif(not RELEASED.exists(), reason="the released file is not there")
def test_the_released_network():
    x = np.random.default_rng(3).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    names = ["1045", "1087", "1129"]  # class scores of the strides 8, 16 and 32
    with torch.no_grad():
        scores = OnnxNetwork(RELEASED, names)(torch.from_numpy(x))
    found = torch.cat([level.sigmoid().flatten(2) for level in scores], dim=2)[0].T
    expected = onnxruntime.InferenceSession(str(RELEASED)).run(None, {"images": x})[0][0, :, 5:]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_files_that_are_none(everything, tmp_path):
    with pytest.raises(CodenetError, match=r"missing\.onnx: no such file"):
        OnnxNetwork(tmp_path / "missing.onnx", ["sum"])
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    with pytest.raises(CodenetError, match=r"text\.onnx: cannot be read as an ONNX file"):
        OnnxNetwork(text, ["sum"])
    with pytest.raises(CodenetError, match="has no tensor 'nowhere'"):
        OnnxNetwork(everything, ["nowhere"])


@pytest.mark.parametrize(
    "operation",
    [
        ("Softmax", ["images"], "out", {}),
        ("MaxPool", ["images"], "out", {"kernel_shape": [2, 2], "ceil_mode": 1}),
        ("MaxPool", ["images"], "out", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}),
        ("Add", ["images", "one"], "out", {}),
        ("Resize", ["images", "", "scales"], "out", {"mode": "linear"}),
    ],
)
def test_an_operation_that_is_none_of_these(tmp_path, operation):
    constants = {"one": np.ones(1, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    path = write(tmp_path / "other.onnx", [operation], constants, ["out"])
    with pytest.raises(CodenetError, match=rf"operation out \({operation[0]}\) is none that can be run"):
        OnnxNetwork(path, ["out"])


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CodenetError, match="the package onnx is missing"):
        OnnxNetwork(write_onnx(tmp_path / "a.onnx", silent(SIZE)), ["output"])
