# SPDX-License-Identifier: Apache-2.0
"""Overlap of boxes."""

from __future__ import annotations

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of ``boxes`` ``[..., 4]`` (x0, y0, x1, y1) with each of ``others`` ``[N, 4]``: float64 ``[..., N]``, 0
    without area.
    """
    boxes, others = np.asarray(boxes, np.float64)[..., None, :], np.asarray(others, np.float64)
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    union = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) + (others[:, 2:] - others[:, :2]).prod(axis=-1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
