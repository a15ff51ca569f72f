# SPDX-License-Identifier: Apache-2.0
"""ONNX files of YOLOX's layout whose output is the same for every photo, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.data import COCO
from models.pretrained.yolox import cells

SIZE = 64


def silent(size: int = SIZE) -> np.ndarray:
    """An output without objects: float32 ``[cells, 85]``."""
    return np.zeros((len(cells(size)), 5 + len(COCO)), np.float32)


def seen(output: np.ndarray, cell: int, box: Sequence[float], name: str, objectness: float, score: float) -> None:
    """Let a cell of ``output`` say a class, and a box: x, y, log width, log height."""
    output[cell, :5] = *box, objectness
    output[cell, 5 + COCO.index(name)] = score


def _varint(value: int) -> bytes:
    head = bytes([value & 127 | (128 if value > 127 else 0)])
    return head if value < 128 else head + _varint(value >> 7)


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A protobuf message of numbered fields: numbers, and texts, bytes or messages."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(_varint(number << 3) + _varint(value))
        else:
            content = value.encode() if isinstance(value, str) else value
            parts.append(_varint(number << 3 | 2) + _varint(len(content)) + content)
    return b"".join(parts)


def _ends(name: str, shape: Sequence[int], kind: int) -> bytes:
    dimensions = _message(*((1, _message((1, side))) for side in shape))
    return _message((1, name), (2, _message((1, _message((1, kind), (2, dimensions))))))


def write_onnx(
    path: Path, output: np.ndarray, input_shape: Sequence[int] = (1, 3, SIZE, SIZE), input_kind: int = 1
) -> Path:
    """A file whose network has an input of a shape and element type (1 float32, 11 float64), and gives ``output``."""
    shape = (1, *output.shape)
    values = _message(*((1, side) for side in shape), (2, 1), (8, "values"), (9, output.astype("<f4").tobytes()))
    graph = _message(
        (1, _message((1, "values"), (2, "output"), (4, "Identity"))),
        (2, "tiny"),
        (5, values),
        (11, _ends("images", input_shape, input_kind)),
        (12, _ends("output", shape, 1)),
    )
    path.write_bytes(_message((1, 8), (7, graph), (8, _message((1, ""), (2, 13)))))
    return path
