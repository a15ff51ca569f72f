# SPDX-License-Identifier: Apache-2.0
"""Average precision during training: the averaged network on the validation split, shared by all processes."""

from __future__ import annotations

import numpy as np
import torch
from torch import distributed

from codenet.vision.boxes import Detection, decode
from models.data import DetectionData
from models.evaluation import Score, average_precision
from models.network.blocks import set_slope
from models.network.config import NetworkConfig, normalize
from models.network.detector import CoDeNet
from models.network.peaks import find_peaks
from models.training.distributed import gather, rank, world

#: Images that are computed at once.
_BATCH = 16


def subset(data: DetectionData, limit: int | None) -> DetectionData:
    """At most ``limit`` images, evenly spread over those of the set that have boxes; None takes all of the set.

    Only where those with boxes are fewer are others taken besides, evenly too.
    """
    if limit is None or limit >= len(data):
        return data
    boxes = np.array([not record.crowd.all() for record in data])
    with_boxes, others = np.flatnonzero(boxes), np.flatnonzero(~boxes)
    chosen = [*_spread(with_boxes, limit), *_spread(others, max(0, limit - len(with_boxes)))]
    return DetectionData(data.classes, [data.records[index] for index in sorted(chosen)])


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of ``indices``, evenly, the first and the last among them."""
    if count >= len(indices):
        return indices
    chosen: np.ndarray = indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]
    return chosen


class Validation:
    """Scores averaged weights on images cached at the network's size: what `models.evaluate` gives for them, up to
    rounding.

    Parameters
    ----------
    data: images with boxes; images: uint8 ``[N, H, W, 3]``, the same in its order (`models.data.cached_images`).
    """

    def __init__(self, data: DetectionData, images: np.ndarray, network: NetworkConfig, device: torch.device) -> None:
        self.data, self.images, self.device = data, images, device
        # A network of its own: the one in training is not touched.
        self.network = CoDeNet(network, data.classes).to(device).eval()

    def score(self, average: dict[str, torch.Tensor], slope: float) -> Score:
        """Precision of the first process's ``average`` with the negative slope that training has reached; all processes
        must call it.
        """
        if world() > 1:
            for value in average.values():
                distributed.broadcast(value, 0)
        self.network.load_state_dict(average)
        set_slope(self.network, slope)
        mine = range(rank(), len(self.data), world())
        parts = gather([self._detect(list(mine)[n : n + _BATCH]) for n in range(0, len(mine), _BATCH)])
        found: list[list[Detection]] = [[] for _ in self.data.records]
        for part in parts:
            for batch in part:
                for index, detections in batch.items():
                    found[index] = detections
        return average_precision(self.data, found)

    def _detect(self, indices: list[int]) -> dict[int, list[Detection]]:
        with torch.no_grad():
            outputs = self.network(normalize(self.images[indices]).to(self.device))
        peaks = find_peaks({name: value.cpu() for name, value in outputs.items()})
        records = [self.data.records[index] for index in indices]
        placements = [self.network.config.place((record.height, record.width)) for record in records]
        return {
            index: decode(found, self.data.classes, placement)
            for index, found, placement in zip(indices, peaks, placements, strict=True)
        }
