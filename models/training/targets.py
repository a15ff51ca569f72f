# SPDX-License-Identifier: Apache-2.0
"""Training targets: a peak of the heatmap at each box's centre, and the box itself at every pixel near it.

The centres are CenterNet's (Zhou et al., Objects as Points, 2019); that all pixels around one learn the box, not the
centre alone, is TTFNet's idea (Liu et al., Training-Time-Friendly Network for Real-Time Object Detection, AAAI 2020,
section 3): many more samples an image, so that a small data set teaches sizes and offsets in a fraction of the
iterations. Its wide peaks are not taken over: a detector without suppression of overlapping boxes then finds large
objects several times (docs/models.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Part of a box, in width and height, that its Gaussian covers (TTFNet, section 4.1: alpha = beta = 0.54).
COVERED = 0.54


@dataclass
class Targets:
    """Targets of one image; all lengths in output pixels.

    ``heatmap``: float32 ``[classes, H, W]``, 1 at the centres. For the K pixels that learn a box: ``index``: int64
    ``[K]``, the pixel as ``y * W + x``; ``box``: float32 ``[K, 4]`` of x0, y0, x1, y1; ``weight``: float32 ``[K]``,
    those of one box sum to the logarithm of one plus its area.
    """

    heatmap: np.ndarray
    index: np.ndarray
    box: np.ndarray
    weight: np.ndarray


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


def draw_gaussian(shape: tuple[int, int], centre: tuple[int, int], radius: tuple[int, int]) -> np.ndarray:
    """A Gaussian on an output of ``shape`` (height, width) around the pixel ``centre`` (x, y), 1 there, float32.

    ``radius`` (in x and y): the deviation is ``(2 * radius + 1) / 6`` for each axis; beyond the radius all is zero.
    """
    profiles = []
    for length, middle, reach in zip(shape[::-1], centre, radius, strict=True):
        distance = np.arange(length) - middle
        sigma = (2 * reach + 1) / 6
        profiles.append(np.where(np.abs(distance) <= reach, np.exp(-(distance**2) / (2 * sigma**2)), 0))
    return (profiles[1][:, None] * profiles[0][None, :]).astype(np.float32)


def make_targets(boxes: np.ndarray, labels: np.ndarray, classes: int, size: tuple[int, int]) -> Targets:
    """Targets for boxes ``[N, 4]`` (x0, y0, x1, y1 in units of the image's sides) on an output of ``size`` (height,
    width).

    Where boxes meet, a pixel learns the smaller one, and each box keeps its own centre unless a smaller one has the
    same.
    """
    heatmap, sides = np.zeros((classes, *size), np.float32), np.array(size[::-1])
    scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * np.tile(sides, 2)
    extent = scaled[:, 2:] - scaled[:, :2]
    centre = np.clip(np.floor((scaled[:, :2] + scaled[:, 2:]) / 2), 0, sides - 1).astype(np.int64)
    area = np.prod(extent, axis=1)
    order = np.argsort(-area, kind="stable")
    owner = np.full(size, -1)
    share = np.zeros(size, np.float32)
    for n in order:
        x, y = int(centre[n, 0]), int(centre[n, 1])
        radius = int(gaussian_radius(*extent[n]))
        np.maximum(heatmap[labels[n]], draw_gaussian(size, (x, y), (radius, radius)), out=heatmap[labels[n]])
        reach = (extent[n] * COVERED / 2).astype(int)
        region = draw_gaussian(size, (x, y), (reach[0], reach[1]))
        covered = region > 0
        owner[covered], share[covered] = n, region[covered]
    for n in order:  # a larger box whose centre lies in a smaller one's region still has to be found there
        x, y = centre[n]
        if not (centre[owner[y, x]] == centre[n]).all():
            owner[y, x], share[y, x] = n, 1
    ys, xs = np.nonzero(owner >= 0)
    owners, weight = owner[ys, xs], share[ys, xs]
    total = np.bincount(owners, weight, minlength=len(scaled))
    weight = weight * (np.log1p(area) / np.maximum(total, 1e-6))[owners]
    return Targets(heatmap, ys * size[1] + xs, scaled[owners].astype(np.float32), weight.astype(np.float32))
