"""CenterNet's training targets: Gaussian peaks at box centres, sizes and offsets there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Targets:
    """Targets of one image.

    ``heatmap``: float32 ``[classes, S, S]``; ``index``: int64 ``[N]``, the centre pixels as ``y * S + x``; ``size``: float32
    ``[N, 2]``, width and height; ``offset``: float32 ``[N, 2]``, of the centre in its pixel; all in output pixels.
    """

    heatmap: np.ndarray
    index: np.ndarray
    size: np.ndarray
    offset: np.ndarray


def gaussian_radius(width: float, height: float, overlap: float = 0.7) -> float:
    """How far both corners of a box may move so that its IoU with the original stays at least ``overlap``.

    The smallest of the three cases of CornerNet (Law and Deng, 2018): box shifted, shrunk, grown. The roots are those
    of the quadratics (``w h - overlap * union = 0``), solved exactly.
    """
    total, area = width + height, width * height
    # Shifted by (r, r): (w - r)(h - r) / (2 w h - (w - r)(h - r)) = overlap.
    shifted = (total - np.sqrt(total**2 - 4 * area * (1 - overlap) / (1 + overlap))) / 2
    # Shrunk by r on each side: (w - 2 r)(h - 2 r) / (w h) = overlap.
    shrunk = (2 * total - np.sqrt(4 * total**2 - 16 * area * (1 - overlap))) / 8
    # Grown by r on each side: w h / ((w + 2 r)(h + 2 r)) = overlap.
    grown = (-2 * total + np.sqrt(4 * total**2 + 16 * area * (1 / overlap - 1))) / 8
    return float(min(shifted, shrunk, grown))


def draw_peak(heatmap: np.ndarray, x: int, y: int, radius: int) -> None:
    """Raise ``heatmap`` (``[S, S]``, in place) to a Gaussian around (x, y), 1 there, cut off at ``radius``."""
    sigma = (2 * radius + 1) / 6
    height, width = heatmap.shape
    ys = np.arange(max(0, y - radius), min(height, y + radius + 1))
    xs = np.arange(max(0, x - radius), min(width, x + radius + 1))
    peak = np.exp(-((ys[:, None] - y) ** 2 + (xs[None, :] - x) ** 2) / (2 * sigma**2))
    part = heatmap[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    np.maximum(part, peak, out=part)


def make_targets(boxes: np.ndarray, labels: np.ndarray, classes: int, size: int) -> Targets:
    """Targets for boxes ``[N, 4]`` (x0, y0, x1, y1 in units of the image's sides) on a ``size`` x ``size`` output."""
    heatmap = np.zeros((classes, size, size), np.float32)
    scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * size
    extent = scaled[:, 2:] - scaled[:, :2]
    centre = (scaled[:, :2] + scaled[:, 2:]) / 2
    pixel = np.clip(np.floor(centre), 0, size - 1).astype(np.int64)
    for label, (width, height), (x, y) in zip(labels, extent, pixel, strict=True):
        draw_peak(heatmap[label], int(x), int(y), max(0, int(gaussian_radius(width, height))))
    return Targets(
        heatmap, pixel[:, 1] * size + pixel[:, 0], extent.astype(np.float32), (centre - pixel).astype(np.float32)
    )
