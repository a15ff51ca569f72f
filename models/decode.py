"""CenterNet's decoding of head outputs to boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F


@dataclass
class Boxes:
    """Detections of one image, best first.

    ``boxes``: float64 ``[N, 4]`` x0, y0, x1, y1 in units of the image's sides, within [0, 1]; ``scores``: float64 ``[N]``;
    ``labels``: int64 ``[N]``.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def decode(outputs: dict[str, torch.Tensor], top: int = 100) -> list[Boxes]:
    """Boxes of the ``top`` highest local maxima of each image.

    ``outputs``: ``heatmap`` (logits ``[N, classes, S, S]``), ``size`` and ``offset`` (``[N, 2, S, S]``, output pixels). A local
    maximum is no smaller than its eight neighbours (equal neighbours all stay); box = pixel + offset -+ size / 2.
    """
    heatmap = outputs["heatmap"].double()
    height, width = heatmap.shape[2:]
    maxima = heatmap == F.max_pool2d(heatmap, 3, stride=1, padding=1)
    results = []
    for n in range(len(heatmap)):
        logits = torch.where(maxima[n], heatmap[n], -torch.inf).flatten()
        values, order = torch.sort(logits, descending=True, stable=True)
        order = order[:top][torch.isfinite(values[:top])]
        label, pixel = order // (height * width), order % (height * width)
        offset, size = (outputs[name][n].double().flatten(1)[:, pixel] for name in ("offset", "size"))
        centre = torch.stack([pixel % width, pixel // width]) + offset
        unit = torch.tensor([[width], [height]], dtype=torch.float64)
        corners = torch.cat([(centre - size / 2) / unit, (centre + size / 2) / unit]).clamp(0, 1)
        results.append(Boxes(corners.T.numpy(), torch.sigmoid(logits[order]).numpy(), label.numpy().astype(np.int64)))
    return results
