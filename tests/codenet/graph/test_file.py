# SPDX-License-Identifier: Apache-2.0
"""Graph files: what is written is read, and nothing else is."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codenet.errors import FormatError, GraphError
from codenet.fit import LETTERBOX, STRETCH
from codenet.graph import Graph
from tests import networks

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return networks.network(32, classes=2, name="small")


@pytest.fixture(scope="module")
def data(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("graph") / "small.cdg"
    graph.save(path)
    return path.read_bytes()


def load(data: bytes, folder: Path) -> Graph:
    path = folder / "broken.cdg"
    path.write_bytes(data)
    return Graph.load(path)


def contents(graph: Graph) -> list[Any]:
    """All of a graph, comparable."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.tolist()
        return {key: plain(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value

    operations = [(type(operation), plain(operation)) for operation in graph.operations]
    return [graph.name, operations, dict(graph.outputs), graph.classes, dict(graph.metadata), graph.tensors]


def test_round_trip(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "small.cdg"
    graph.save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["small.cdg"], "no temporary file is left"
    assert contents(Graph.load(path)) == contents(graph)


def test_fit_is_kept_and_a_stretched_graph_says_nothing_of_it(graph: Graph, tmp_path: Path) -> None:
    def described(fit: str) -> tuple[Graph, dict[str, Any]]:
        first = dataclasses.replace(graph.operations[0], fit=fit)  # type: ignore[call-arg]
        dataclasses.replace(graph, operations=(first, *graph.operations[1:])).save(tmp_path / "fit.cdg")
        with np.load(tmp_path / "fit.cdg") as archive:
            text = json.loads(archive["description"].tobytes())
        return Graph.load(tmp_path / "fit.cdg"), text["operations"][0]

    loaded, entry = described(STRETCH)
    assert loaded.fit == STRETCH and entry.keys() == {"kind", "name", "inputs", "height", "width"}
    loaded, entry = described(LETTERBOX)
    assert loaded.fit == LETTERBOX == entry["fit"]
    with pytest.raises(GraphError, match="fit 'crop': expected one of"):
        described("crop")


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 22, 100, 0.25, 0.5, 0.75, -23, -22, -1])
def test_truncated(data: bytes, kept: float, tmp_path: Path) -> None:
    size = int(kept * len(data)) if isinstance(kept, float) else kept
    with pytest.raises(FormatError, match=r"broken\.cdg"):
        load(data[:size], tmp_path)


def test_flipped_bits(graph: Graph, data: bytes, tmp_path: Path) -> None:
    """One bit anywhere in headers, data and directory: an error that names the file, or the same graph (dates count
    for nothing).
    """
    rng = np.random.default_rng(0)
    ends = [*range(60), *range(len(data) - 120, len(data))]
    refused = 0
    for position in [*ends, *rng.integers(60, len(data) - 120, 150).tolist()]:
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        try:
            assert contents(load(bytes(broken), tmp_path)) == contents(graph)
        except FormatError as error:
            refused += 1
            assert str(error).startswith(f"{tmp_path / 'broken.cdg'}: ")
    assert refused > 150


@pytest.mark.parametrize(("before", "behind"), [(b"", b"\0"), (b"", b"PK\5\6"), (b"\0", b""), (b"#!/bin/sh\n", b"")])
def test_surplus_bytes(data: bytes, before: bytes, behind: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"broken\.cdg"):
        load(before + data + behind, tmp_path)


def changed(data: bytes, change: Change = lambda description: None, **arrays: np.ndarray) -> bytes:
    """The file with another description, and more arrays or others."""
    with np.load(io.BytesIO(data)) as archive:
        members = dict(archive) | arrays
    description = json.loads(members.pop("description").tobytes())
    change(description)
    out = io.BytesIO()
    np.savez_compressed(out, description=np.frombuffer(json.dumps(description).encode(), np.uint8), **members)
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=999), "graph format version 999: expected 1"),
        (lambda d: d.update(format="onnx"), "expected format 'codenet-graph'"),
        (lambda d: d.update(sha256="0" * 64), "checksum does not match"),
        (lambda d: d.pop("operations"), "unusable graph: incomplete description .*operations"),
        (lambda d: d["operations"][0].pop("height"), "operation .*: incomplete description .*height"),
        (lambda d: d["operations"][0].update(kind="softmax"), "of kind 'softmax': expected one of"),
        (lambda d: d["operations"][0].update(height="tall"), "unusable graph"),
        (lambda d: d["operations"][1].update(inputs=["nowhere"]), "input 'nowhere' is not the name of an earlier"),
        (lambda d: d["operations"][1].update(requantize=7), "incomplete description"),
        (lambda d: d["outputs"].update(size="nowhere"), "output 'size' is 'nowhere'"),
        (lambda d: d.update(outputs=[1]), "unusable graph"),
        (lambda d: d["classes"].append("dog"), "3 class names for a heatmap of 2 channels"),
        (lambda d: d.update(metadata=7), "metadata is 7, expected an object"),
        (lambda d: d.update(name=7), "graph name 7: expected a text"),
    ],
)
def test_descriptions_that_make_no_graph(data: bytes, change: Change, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=rf"broken\.cdg: .*{message}"):
        load(changed(data, change), tmp_path)


def test_other_weights(data: bytes, tmp_path: Path) -> None:
    load(changed(data), tmp_path)
    name = next(name for name in np.load(io.BytesIO(data)).files if name.endswith("/weights"))
    weights = np.load(io.BytesIO(data))[name]
    for arrays in ({name: 1 - weights}, {name: weights.astype(np.int16)}, {"more": np.zeros(1)}):
        with pytest.raises(FormatError, match="checksum does not match the weights"):
            load(changed(data, **arrays), tmp_path)


def archive(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


@pytest.mark.parametrize(
    "other",
    [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x80\x05pickle.", array(), archive(a=np.zeros(3))]
    + [archive(description=np.array([{"format": "codenet-graph"}], dtype=object))],
    ids=["nothing", "picture", "pickle", "array", "archive", "objects"],
)
def test_other_files(other: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"broken\.cdg") as caught:
        load(other, tmp_path)
    assert "pickle" not in str(caught.value).removeprefix(str(tmp_path))


def test_member_that_is_no_array(data: bytes, tmp_path: Path) -> None:
    """NumPy gives the bytes of a member whose name has lost its suffix."""
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(copy, "w") as new:
        for n, name in enumerate(old.namelist()):
            new.writestr(name if n != 1 else name.removesuffix(".npy") + ".npx", old.read(name))
    with pytest.raises(FormatError, match="broken.cdg: .*corrupted"):
        load(copy.getvalue(), tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Graph.load(tmp_path / "missing.cdg")
