# SPDX-License-Identifier: Apache-2.0
"""Where the samples of a deformable 3x3 convolution lie: random offsets by range, and the samples in NumPy."""

from __future__ import annotations

from enum import Enum

import numpy as np

from codenet.config import CONFLICT_FREE, MAX_DILATION
from codenet.errors import ConfigError

TAPS = 9

GRID = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
"""Taps of the ordinary window, (row, column) from the centre."""

INT8 = (-128, 127)


class Range(Enum):
    """Which positions the taps of a pixel may have."""

    ORDINARY = "ordinary"
    """The grid."""
    UNBOUNDED = "unbounded"
    """Any pixel."""
    BOUNDED = "bounded"
    """At most :data:`codenet.config.MAX_DILATION` from the centre, in rows and columns."""
    SQUARE = "square"
    """The grid, times one dilation a pixel, 0 to :data:`codenet.config.MAX_DILATION`."""


class Distribution(Enum):
    """How likely they are. Trained offsets would lie between the first two."""

    UNIFORM = "uniform"
    """All positions (dilations) of the range alike; without bound: all pixels of the image."""
    NEAR = "near"
    """Around the ordinary grid, normal with a standard deviation of 1.5 pixels, rounded, and clamped to the range."""
    CONFLICT_FREE = "conflict-free"
    """:data:`codenet.config.CONFLICT_FREE` dilations alike; only for ``SQUARE``."""


SPREAD = 1.5


def random_offsets(
    range_: Range, distribution: Distribution, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Random integer offsets.

    Returns
    -------
    int8 ``[height, width, 9, 2]``: (dy, dx) of each tap, from its place in the ordinary window.

    Raises
    ------
    ConfigError
        The distribution does not exist for the range, or the image is too large for int8 offsets.
    """
    if distribution == Distribution.CONFLICT_FREE and range_ != Range.SQUARE:
        raise ConfigError(f"distribution {distribution.value} of {range_.value} offsets: expected square ones")
    shape = (height, width, TAPS, 2)
    centres = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)[:, :, None]
    if range_ == Range.ORDINARY:
        from_centre = np.broadcast_to(GRID, shape)
    elif range_ == Range.SQUARE:
        from_centre = random_dilations(distribution, height, width, rng)[:, :, None, None] * GRID
    elif distribution == Distribution.UNIFORM and range_ == Range.UNBOUNDED:
        from_centre = rng.integers(0, (height, width), shape) - centres
    elif distribution == Distribution.UNIFORM:
        from_centre = rng.integers(-MAX_DILATION, MAX_DILATION + 1, shape)
    else:
        from_centre = GRID + np.rint(rng.normal(0, SPREAD, shape)).astype(int)
        if range_ == Range.BOUNDED:
            from_centre = from_centre.clip(-MAX_DILATION, MAX_DILATION)
    offsets = from_centre - GRID
    low, high = int(offsets.min()), int(offsets.max())
    if not INT8[0] <= low <= high <= INT8[1]:
        raise ConfigError(f"image of {height}x{width}: offsets in [{low}, {high}], expected int8")
    return offsets.astype(np.int8)


def random_dilations(distribution: Distribution, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Random dilations, int64 ``[height, width]``."""
    if distribution == Distribution.CONFLICT_FREE:
        return rng.choice(CONFLICT_FREE, (height, width))
    if distribution == Distribution.NEAR:
        return np.rint(rng.normal(1, SPREAD, (height, width))).astype(int).clip(0, MAX_DILATION)
    return rng.integers(0, MAX_DILATION + 1, (height, width))


def dilations(offsets: np.ndarray) -> np.ndarray:
    """The dilation of each pixel of square ``offsets``, ``[H, W]``: the last tap lies ``(d, d)`` from the centre."""
    return offsets[:, :, -1, 0].astype(np.int64) + 1


def inside(offsets: np.ndarray) -> np.ndarray:
    """Which taps lie inside the image, bool ``[H, W, 9]``."""
    rows, columns = _positions(offsets)
    height, width = offsets.shape[:2]
    return (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)


def sample(x: np.ndarray, offsets: np.ndarray, zero_point: int) -> np.ndarray:
    """The samples of each pixel, int8 ``[H, W, 9, C]``; outside, ``x`` (int8 ``[H, W, C]``) reads as ``zero_point``."""
    height, width = x.shape[:2]
    rows, columns = _positions(offsets)
    samples = x[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    samples[~inside(offsets)] = zero_point
    return samples


def _positions(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each tap, ``[H, W, 9]``."""
    height, width = offsets.shape[:2]
    rows = np.arange(height)[:, None, None] + GRID[:, 0] + offsets[..., 0]
    columns = np.arange(width)[:, None] + GRID[:, 1] + offsets[..., 1]
    return rows, columns
