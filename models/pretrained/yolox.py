# SPDX-License-Identifier: Apache-2.0
"""YOLOX in ONNX files (Megvii, Apache-2.0; Ge et al., *YOLOX: Exceeding YOLO Series in 2021*), run by onnxruntime.

The layout is that of the released files. Input float32 ``[1, 3, S, S]``: blue, green, red from 0 to 255, the photo
scaled to fit at the top left, grey 114 around it. Output float32 ``[1, cells, 5 + classes]``: for each cell of strides
8, 16 and 32, row by row, x and y of the centre from the cell's corner and the logarithms of width and height, all in
strides, then objectness and the scores of COCO's classes, both after the sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codenet.errors import CodenetError
from codenet.vision import image as photos
from codenet.vision.boxes import IOU_THRESHOLD, Detection, nms
from models.data.classes import COCO

STRIDES = (8, 16, 32)

#: Detections below this score are not kept.
SCORE_THRESHOLD = 0.05

#: No box is larger than so many sides of the input: outputs beyond are of another layout.
_LARGEST = 100.0


def letterbox(photo: Image.Image, size: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The input for an RGB photo, float32 ``[1, 3, size, size]``, and photo pixels in a pixel of it (x, y)."""
    scale = size / max(photo.size)
    width, height = (max(1, int(side * scale)) for side in photo.size)
    pixels = np.full((size, size, 3), photos.GREY, np.uint8)
    pixels[:height, :width] = photos.resize(photo, height, width)
    planes = pixels[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    return planes, (photo.width / width, photo.height / height)


def cells(size: int) -> np.ndarray:
    """Column, row and stride of the output's cells for an input of ``size``: float64 ``[cells, 3]``."""
    grids = []
    for stride in STRIDES:
        row, column = np.mgrid[: size // stride, : size // stride].reshape(2, -1)
        grids.append(np.stack([column, row, np.full_like(row, stride)], axis=1))
    return np.concatenate(grids).astype(np.float64)


def decode(output: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (x0, y0, x1, y1 in pixels of the input) ``[cells, 4]`` and scores ``[cells, classes]``, float64.

    ``output``: ``[cells, 5 + classes]`` for an input of ``size``. A score is objectness times that of the class.
    `CodenetError` for values that no such output has.
    """
    values = output.astype(np.float64)
    if not (0 <= values[:, 4:].min() and values[:, 4:].max() <= 1):
        raise CodenetError(
            f"scores from {values[:, 4:].min():g} to {values[:, 4:].max():g}, expected 0 to 1 (sigmoids)"
        )
    grid = cells(size)
    stride = grid[:, 2:]
    if not values[:, 2:4].max() < np.log(_LARGEST * size / STRIDES[-1]):
        raise CodenetError(
            f"logarithms of widths and heights up to {values[:, 2:4].max():g}, expected boxes that fit an input of "
            f"{size} pixels: outputs that are decoded already?"
        )
    centre, half = (values[:, :2] + grid[:, :2]) * stride, np.exp(values[:, 2:4]) * stride / 2
    return np.concatenate([centre - half, centre + half], axis=1), values[:, 4:5] * values[:, 5:]


class Yolox:
    """A detector of ``classes``, which are some of COCO's, from an ONNX file.

    Each class keeps its boxes of at least ``score_threshold`` that non-maximum suppression at ``iou_threshold`` leaves.
    One thread computes, so that a photo has the same boxes wherever it is seen.

    Raises `CodenetError` for a file that cannot be read or has another layout, classes that it does not know, and where
    the package onnxruntime is missing.
    """

    def __init__(
        self,
        path: Path,
        classes: Sequence[str] = COCO,
        score_threshold: float = SCORE_THRESHOLD,
        iou_threshold: float = IOU_THRESHOLD,
    ) -> None:
        unknown = [name for name in classes if name not in COCO]
        if unknown:
            raise CodenetError(
                f"teacher {path}: does not know {', '.join(unknown)}; its classes are COCO's: {', '.join(COCO)}"
            )
        self.path, self.classes = path, tuple(classes)
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self._channels = [COCO.index(name) for name in classes]
        self._session = _open(path)
        self.size = _input_size(self._session, path)

    def detect(self, photo: Image.Image) -> list[Detection]:
        """Objects in an upright RGB photo, best first; boxes are in its pixels, within it and no thinner than one."""
        planes, stretch = letterbox(photo, self.size)
        (name,) = (tensor.name for tensor in self._session.get_inputs())
        (output,) = self._session.run(None, {name: planes})
        try:
            boxes, scores = decode(output[0], self.size)
        except CodenetError as error:
            raise CodenetError(f"teacher {self.path}: {error}") from None
        scores = scores[:, self._channels]
        boxes = np.clip(boxes * np.tile(stretch, 2), 0, np.tile(photo.size, 2))
        visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        cell, label = np.nonzero((scores >= self.score_threshold) & visible[:, None])
        order = np.argsort(-scores[cell, label], kind="stable")
        cell, label = cell[order], label[order]
        kept = nms(boxes[cell], label, self.iou_threshold)
        return [
            Detection(self.classes[index], index, score, tuple(box))
            for index, score, box in zip(
                label[kept].tolist(), scores[cell, label][kept].tolist(), boxes[cell[kept]].tolist(), strict=True
            )
        ]


def _open(path: Path) -> Any:
    """The onnxruntime session of a file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise CodenetError(f"teacher {path}: the package onnxruntime is missing: pip install onnxruntime") from error
    if not path.is_file():
        raise CodenetError(f"teacher {path}: no such file, expected an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own types, which are not public
        reason = str(error).splitlines()[0]
        raise CodenetError(f"teacher {path}: cannot be read as an ONNX file: {reason}") from error


def _input_size(session: Any, path: Path) -> int:
    """Side of the input; `CodenetError` unless inputs and outputs are those of YOLOX with COCO's classes."""
    found = [
        [(tensor.type, list(tensor.shape)) for tensor in ends] for ends in (session.get_inputs(), session.get_outputs())
    ]
    size = next((shape[-1] for _, shape in found[0] if shape), None)
    if isinstance(size, int) and size > 0 and size % STRIDES[-1] == 0:
        shapes = [1, 3, size, size], [1, len(cells(size)), 5 + len(COCO)]
        if found == [[("tensor(float)", shape)] for shape in shapes]:
            return size
    ends = " and ".join(", ".join(f"{kind} {shape}" for kind, shape in tensors) or "none" for tensors in found)
    raise CodenetError(
        f"teacher {path}: input and output are {ends}; expected YOLOX's: tensor(float) [1, 3, S, S], S a multiple of "
        f"{STRIDES[-1]}, and tensor(float) [1, cells of strides {', '.join(map(str, STRIDES))}, {5 + len(COCO)}]"
    )
