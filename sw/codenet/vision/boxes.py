# SPDX-License-Identifier: Apache-2.0
"""From peaks to boxes: the arithmetic after the accelerator (CenterNet's decoding, section 4 of *Objects as
Points*).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codenet.fit import Placement

Box = tuple[float, float, float, float]

TOP_K = 100
"""Peaks looked at, best first."""

IOU_THRESHOLD = 0.6
"""Of non-maximum suppression: intersection over union (IoU) with a better box of the class above which a box is
dropped.
"""

NMS_ROWS = 128
"""Boxes that non-maximum suppression compares with all others at once: what bounds its memory."""

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""Their sum is ln 2; the first has 33 bits, so that its product with a small integer is exact."""


@dataclass(frozen=True)
class Detection:
    """One object in a photo.

    ``score`` is in (0, 1); ``box`` is left, top, right, bottom in pixels of the photo, within it.
    """

    label: str
    class_index: int
    score: float
    box: Box


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function, float64, within 2 units in the last place, without overflow at either end.

    Only operations that IEEE 754 rounds in one way: every machine and version of NumPy gives the same bits, which their
    ``exp`` and ``tanh`` do not.
    """
    x = np.asarray(x, dtype=np.float64)
    t = np.minimum(np.abs(x), 700.0)
    k = np.rint(t * (1 / LN2_HIGH))
    r = (k * LN2_HIGH - t) + k * LN2_LOW  # -t = r - k ln 2, with |r| <= ln 2 / 2
    power = np.full_like(r, 1.0)
    for n in range(13, 0, -1):  # Taylor's series of exp(r): the next term is below 1e-17.
        power = power * r / n + 1.0
    power = np.ldexp(power, -k.astype(np.int32))
    result: np.ndarray = np.where(x < 0, power, 1.0) / (1.0 + power)
    return result


@dataclass(frozen=True)
class Peaks:
    """Peaks of a heatmap with the other outputs at their pixels, in real units.

    Attributes
    ----------
    x, y:
        int ``[N]``, output pixel.
    class_index:
        int ``[N]``.
    logits:
        float ``[N]``: heatmap value before the sigmoid.
    size, offset:
        float ``[N, 2]``: width and height, and x and y of the centre within the pixel, in output pixels.
    output_size:
        Height and width of the output.
    """

    x: np.ndarray
    y: np.ndarray
    class_index: np.ndarray
    logits: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    output_size: tuple[int, int]


def decode(
    peaks: Peaks,
    classes: Sequence[str],
    placement: Placement,
    *,
    top_k: int = TOP_K,
    iou_threshold: float = IOU_THRESHOLD,
) -> list[Detection]:
    """Detections in a photo that lies at ``placement`` in the input, best first, of the best ``top_k`` peaks.

    The box of a peak at (x, y) is centred at (x + offset_x, y + offset_y); output pixels are mapped to the photo's, and
    what lies outside of it is cut off. A negative width or height counts as zero. Equal scores stay in the order of
    the peaks. Boxes found again are dropped by non-maximum suppression (:func:`nms`); an ``iou_threshold`` of 1 keeps
    them all.
    """
    scores = sigmoid(peaks.logits)
    order = np.argsort(-scores, kind="stable")[:top_k]
    centre = np.stack([peaks.x[order], peaks.y[order]], axis=1) + peaks.offset[order]
    half = np.maximum(peaks.size[order], 0) / 2
    origin, scale = _to_photo(placement, peaks.output_size)
    limit = np.array(placement.photo_size[::-1], dtype=np.float64)
    corners = np.concatenate([(centre - half - origin) * scale, (centre + half - origin) * scale], axis=1)
    corners = np.minimum(np.maximum(corners, 0), np.tile(limit, 2))
    kept = nms(corners, peaks.class_index[order], iou_threshold)
    return [
        Detection(label=classes[index], class_index=index, score=score, box=tuple(box))
        for index, score, box in zip(
            peaks.class_index[order[kept]].tolist(), scores[order[kept]].tolist(), corners[kept].tolist(), strict=True
        )
    ]


def _to_photo(placement: Placement, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Output pixel (x, y) of the photo's corner, and photo pixels in one of the output, x and y, float64.

    Quotients of integers, rounded once: of a stretched photo 0 and ``photo_size / output_size``.
    """
    corner = (placement.left, placement.top)
    shown = (placement.width, placement.height)
    sides = [tuple(reversed(size)) for size in (placement.photo_size, placement.input_size, output_size)]
    origin = [start * o / i for start, i, o in zip(corner, *sides[1:], strict=True)]
    scale = [photo * i / (o * part) for photo, i, o, part in zip(*sides, shown, strict=True)]
    return np.array(origin), np.array(scale)


def nms(boxes: np.ndarray, class_index: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Indices of the boxes that greedy non-maximum suppression (NMS) keeps, each class for itself.

    A box is dropped if its IoU with one that is kept before it is more than ``iou_threshold``. Only operations that
    IEEE 754 rounds in one way: every machine keeps the same boxes.

    Parameters
    ----------
    boxes:
        float64 ``[N, 4]`` of x0, y0, x1, y1, best first.
    class_index:
        int ``[N]``.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    area = (right - left) * (bottom - top)
    keeps = np.ones(len(boxes), dtype=bool)
    for first in range(0, len(boxes), NMS_ROWS):
        row = first + np.flatnonzero(keeps[first : first + NMS_ROWS])[:, np.newaxis]
        width = np.maximum(np.minimum(right[row], right[first:]) - np.maximum(left[row], left[first:]), 0)
        height = np.maximum(np.minimum(bottom[row], bottom[first:]) - np.maximum(top[row], top[first:]), 0)
        common = width * height
        again = ~(common <= iou_threshold * (area[row] + area[first:] - common))
        again &= (class_index[row] == class_index[first:]) & (row < np.arange(first, len(boxes)))
        for n in np.flatnonzero(again.any(axis=1)):
            if keeps[row[n]]:
                keeps[first:] &= ~again[n]
    return np.flatnonzero(keeps)
