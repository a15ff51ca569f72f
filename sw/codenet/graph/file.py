# SPDX-License-Identifier: Apache-2.0
"""The graph file (``.cdg``): a NumPy ``.npz`` archive with a JSON description and the weight arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codenet import files
from codenet.errors import FormatError, GraphError
from codenet.fit import STRETCH
from codenet.graph.operations import KINDS, Operation, Requantize

if TYPE_CHECKING:
    from codenet.graph.graph import Graph

FORMAT = "codenet-graph"
VERSION = 1

_START, _END, _END_BYTES = b"PK\3\4", b"PK\5\6", 22
"""How a zip file starts, and the record without a comment that ends it."""


def write(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph; complete or not at all."""
    arrays: dict[str, np.ndarray] = {}
    description = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "outputs": dict(graph.outputs),
        "classes": list(graph.classes),
        "metadata": dict(graph.metadata),
        "operations": [_describe(op, arrays) for op in graph.operations],
    }
    description["sha256"] = _digest(arrays)
    text = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
    contents: dict[str, Any] = {"description": text, **arrays}
    with files.writing(path) as file:
        np.savez_compressed(file, **contents)  # Without allow_pickle, which NumPy before 2.1 takes for an array.


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Fields of a :class:`~codenet.graph.Graph`, not yet checked against each other.

    Raises
    ------
    FormatError
        Not a graph file, truncated, corrupted, or of another version.
    FileNotFoundError
        There is no such file.
    """
    data = Path(path).read_bytes()
    if not data.startswith(_START):
        raise FormatError(f"{path}: expected a CoDeNet graph file (.cdg), found something else")
    if data[-_END_BYTES:][: len(_END)] != _END:
        raise FormatError(
            f"{path}: the graph file does not end where it should: it is truncated, or has data behind it"
        )
    try:
        arrays = files.arrays(data)
        description = json.loads(arrays.pop("description").tobytes())
    except (KeyError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the graph file is corrupted, or another kind of archive") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FormatError(f"{path}: expected format {FORMAT!r}")
    if description.get("version") != VERSION:
        raise FormatError(f"{path}: graph format version {description.get('version')}: expected {VERSION}")
    if description.get("sha256") != _digest(arrays):
        raise FormatError(f"{path}: checksum does not match the weights: the file is corrupted")
    with usable(path):
        return {
            "name": description["name"],
            "operations": tuple(_operation(entry, arrays) for entry in description["operations"]),
            "outputs": description["outputs"],
            "classes": tuple(description["classes"]),
            "metadata": description["metadata"],
        }


@contextmanager
def usable(path: str | os.PathLike[str]) -> Iterator[None]:
    """What is wrong with the contents of a file as a :class:`FormatError` that names it."""
    try:
        yield
    except (GraphError, FormatError) as error:
        raise FormatError(f"{path}: unusable graph: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: unusable graph: incomplete description ({error})") from error


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + str(arrays[name].dtype).encode() + str(arrays[name].shape).encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _describe(operation: Operation, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": operation.kind}
    for item in dataclasses.fields(operation):
        value = getattr(operation, item.name)
        if isinstance(value, Requantize):
            arrays[f"{operation.name}/m"] = np.asarray(value.m, dtype=np.int16)
            arrays[f"{operation.name}/b"] = np.asarray(value.b, dtype=np.int64)
            entry["requantize"] = {"s": int(value.s), "lo": int(value.lo), "hi": int(value.hi)}
        elif isinstance(value, np.ndarray):
            arrays[f"{operation.name}/{item.name}"] = value
        elif (item.name, value) != ("fit", STRETCH):  # What a file says that has none.
            entry[item.name] = value
    return entry


def _operation(entry: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Operation:
    values = dict(entry)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise FormatError(f"operation {values.get('name')!r} is of kind {kind!r}: expected one of {sorted(KINDS)}")
    name = values["name"]
    values["inputs"] = tuple(values["inputs"])
    try:
        if "requantize" in values:
            values["requantize"] = Requantize(arrays[f"{name}/m"], arrays[f"{name}/b"], **values["requantize"])
            values["weights"] = arrays[f"{name}/weights"]
        return KINDS[kind](**values)
    except (KeyError, TypeError) as error:
        raise FormatError(f"operation {name!r}: incomplete description ({error})") from error
