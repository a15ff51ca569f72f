# SPDX-License-Identifier: Apache-2.0
"""A data set that lies on the device: decoded photos and padded boxes, ready to be indexed by a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from codenet.errors import CodenetError
from models.data import DetectionData, Record

#: Boxes kept of a photo, the largest; few photos have more.
MOST_BOXES = 24


@dataclass(frozen=True)
class Boxes:
    """Boxes of ``N`` pictures, padded to ``M`` each: all tensors on one device.

    ``corners``: float32 ``[N, M, 4]`` of x0, y0, x1, y1 in units of the picture's sides; ``labels``: int64 ``[N, M]``;
    ``confidence``: float32 ``[N, M]``, 1 for an annotated box, below 1 for one that a teacher found, 0 for padding.
    """

    corners: torch.Tensor
    labels: torch.Tensor
    confidence: torch.Tensor

    def __getitem__(self, index: torch.Tensor) -> Boxes:
        return Boxes(self.corners[index], self.labels[index], self.confidence[index])


@dataclass(frozen=True)
class Photos:
    """``N`` photos stretched to ``S`` x ``S``, uint8 ``[N, S, 3, S]`` (row, colour, column), with their `Boxes`.

    Colours lie between rows and columns because a view is two matrix products (`models.training.resident.views`), the
    first of which then takes all rows and colours of a photo at once.
    """

    pixels: torch.Tensor
    boxes: Boxes
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)


def _padded(record: Record, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners, labels, confidence = (
        np.zeros((most, 4), np.float32),
        np.zeros(most, np.int64),
        np.zeros(most, np.float32),
    )
    boxes, names, sure = (values[~record.crowd] for values in (record.boxes, record.labels, record.confidence))
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")[:most]
    corners[: len(order)] = boxes[order] / np.array([record.width, record.height] * 2, np.float32)
    labels[: len(order)], confidence[: len(order)] = names[order], sure[order]
    return corners, labels, confidence


def padded_boxes(records: Sequence[Record], device: torch.device, most: int = MOST_BOXES) -> Boxes:
    """The boxes of records, crowd boxes left out; of a record with more than ``most`` the largest."""
    columns = zip(*(_padded(record, most) for record in records), strict=True)
    return Boxes(*(torch.from_numpy(np.stack(column)).to(device) for column in columns))


def resident_photos(data: DetectionData, images: np.ndarray, device: torch.device) -> Photos:
    """A data set with its decoded ``images``, uint8 ``[N, S, S, 3]`` in its order, on a device.

    `CodenetError` for a set without photos, or one that does not fit into the device's memory.
    """
    if not len(data):
        raise CodenetError("training: the data set has no images, expected at least one")
    size = images.shape[1]
    try:
        pixels = torch.empty((len(data), size, 3, size), dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        raise CodenetError(
            f"training: {len(data)} photos of {size}x{size} take {3 * len(data) * size**2 / 1e9:.1f} GB, more than "
            f"{device} has: take a smaller --cache-size"
        ) from error
    for start in range(0, len(data), 256):
        part = torch.from_numpy(np.array(images[start : start + 256]))
        pixels[start : start + 256] = part.to(device).permute(0, 1, 3, 2)
    return Photos(pixels, padded_boxes(data.records, device), data.classes)
