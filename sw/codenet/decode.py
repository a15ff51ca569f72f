"""From peaks to boxes: the arithmetic after the accelerator (CenterNet's decoding, section 4 of *Objects as Points*)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Box = tuple[float, float, float, float]

TOP_K = 100
"""Detections kept, best first."""


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
    """Logistic function, float64, without overflow at either end."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


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


def decode(peaks: Peaks, classes: Sequence[str], photo_size: tuple[int, int], *, top_k: int = TOP_K) -> list[Detection]:
    """Detections in a photo of ``photo_size`` (height, width), best first, at most ``top_k``.

    The box of a peak at (x, y) is centred at (x + offset_x, y + offset_y); output pixels are stretched to the photo, and
    what lies outside of it is cut off. A negative width or height counts as zero. Equal scores stay in the order of the peaks.
    """
    scores = sigmoid(peaks.logits)
    order = np.argsort(-scores, kind="stable")[:top_k]
    centre = np.stack([peaks.x, peaks.y], axis=1) + peaks.offset
    half = np.maximum(peaks.size, 0) / 2
    stretch = np.array([photo_size[1] / peaks.output_size[1], photo_size[0] / peaks.output_size[0]])
    limit = np.array([photo_size[1], photo_size[0]], dtype=np.float64)
    corners = np.concatenate(
        [np.clip((centre - half) * stretch, 0, limit), np.clip((centre + half) * stretch, 0, limit)], axis=1
    )
    return [
        Detection(
            label=classes[peaks.class_index[n]],
            class_index=int(peaks.class_index[n]),
            score=float(scores[n]),
            box=tuple(corners[n].tolist()),
        )
        for n in order
    ]
