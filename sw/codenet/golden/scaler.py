# SPDX-License-Identifier: Apache-2.0
"""A scaler in the logic, as integers: a camera's frame to the network's input, as it would be streamed
(``docs/scaler.md``).

The integers are those of the host: Pillow's bilinear resize (:mod:`codenet.vision.image`) and OpenCV's conversion of
YUYV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

WEIGHT_BITS = 22
"""Of a weight's fraction."""

COLOUR_BITS = 20
"""Of a colour coefficient's fraction."""

LUMA, RED_V, GREEN_U, GREEN_V, BLUE_U = 1_220_542, 1_673_527, -409_993, -852_492, 2_116_026
"""Coefficients of ITU-R BT.601 with a luma of 16 to 235."""


@dataclass(frozen=True)
class Taps:
    """Weights of one output pixel in a row or column.

    Attributes
    ----------
    first:
        The first input pixel that counts.
    weights:
        int64 ``[N]``, with 22 bits of fraction.
    """

    first: int
    weights: np.ndarray


def taps(size: int, outputs: int) -> list[Taps]:
    """Of each output pixel of a row or column of ``size`` pixels that is scaled to ``outputs``: a triangle, as wide as
    two output pixels and no narrower than two input pixels, cut off at the edges.
    """
    scale = size / outputs
    reach = max(scale, 1.0)
    result = []
    for output in range(outputs):
        centre = (output + 0.5) * scale
        first, end = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), size)
        weights = [max(1.0 - abs((x - centre + 0.5) * (1.0 / reach)), 0.0) for x in range(first, end)]
        total = sum(weights)
        result.append(Taps(first, np.array([int(0.5 + w / total * (1 << WEIGHT_BITS)) for w in weights], np.int64)))
    return result


def contributions(size: int, outputs: int) -> int:
    """Outputs that one input pixel counts for, at most: products for each pixel and colour that arrives."""
    count = np.zeros(size, int)
    for tap in taps(size, outputs):
        count[tap.first : tap.first + len(tap.weights)] += tap.weights != 0
    return int(count.max())


def from_yuyv(row: np.ndarray) -> np.ndarray:
    """RGB, uint8 ``[W, 3]``, of a row of YUYV, uint8 ``[W, 2]`` with an even W."""
    luma = np.maximum(row[:, 0].astype(np.int64) - 16, 0) * LUMA
    u, v = (np.repeat(row[n::2, 1].astype(np.int64) - 128, 2) for n in (0, 1))
    colours = np.stack([RED_V * v, GREEN_U * u + GREEN_V * v, BLUE_U * u], axis=1)
    return _rounded(luma[:, np.newaxis] + colours, COLOUR_BITS)


def scale(rows: Iterator[np.ndarray], size: tuple[int, int], output_size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Rows of the output, uint8 ``[W', 3]``, each as soon as the last input row that counts for it has come.

    Parameters
    ----------
    rows:
        Of the photo, uint8 ``[W, 3]``, from the top.
    size, output_size:
        Height and width.
    """
    across = taps(size[1], output_size[1])
    down = taps(size[0], output_size[0])
    kept: dict[int, np.ndarray] = {}
    arrived = 0
    for tap in down:
        while arrived < tap.first + len(tap.weights):
            kept[arrived] = _across(next(rows), across)
            arrived += 1
        kept = {number: row for number, row in kept.items() if number >= tap.first}
        counting = np.stack([kept[tap.first + n] for n in range(len(tap.weights))]).astype(np.int64)
        yield _rounded(np.tensordot(tap.weights, counting, axes=1), WEIGHT_BITS)


def _across(row: np.ndarray, across: list[Taps]) -> np.ndarray:
    pixels = row.astype(np.int64)
    sums = [tap.weights @ pixels[tap.first : tap.first + len(tap.weights)] for tap in across]
    return _rounded(np.array(sums), WEIGHT_BITS)


def _rounded(sums: np.ndarray, bits: int) -> np.ndarray:
    """Sums without their fraction, half rounded up, as uint8."""
    rounded: np.ndarray = np.clip((sums + (1 << (bits - 1))) >> bits, 0, 255).astype(np.uint8)
    return rounded
