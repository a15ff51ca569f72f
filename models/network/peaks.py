# SPDX-License-Identifier: Apache-2.0
"""From the head outputs of the PyTorch networks to peaks; boxes are `codenet.vision.boxes`'s, for all devices alike."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from codenet.vision.boxes import TOP_K, Peaks


def find_peaks(outputs: dict[str, torch.Tensor], top: int = TOP_K) -> list[Peaks]:
    """The ``top`` highest local maxima of each image's heatmap, highest first.

    ``outputs``: ``heatmap`` (logits ``[N, classes, H, W]``), ``size`` and ``offset`` (``[N, 2, H, W]``, output pixels).
    A local maximum is no smaller than its eight neighbours; equal neighbours all stay.
    """
    heatmap = outputs["heatmap"].detach().double()
    height, width = heatmap.shape[2:]
    maxima = heatmap == F.max_pool2d(heatmap, 3, stride=1, padding=1)
    results = []
    for n in range(len(heatmap)):
        logits = torch.where(maxima[n], heatmap[n], -torch.inf).flatten()
        values, order = torch.sort(logits, descending=True, stable=True)
        order = order[:top][torch.isfinite(values[:top])]
        pixel = order % (height * width)
        size, offset = (
            outputs[name][n].detach().double().flatten(1)[:, pixel].T.numpy() for name in ("size", "offset")
        )
        results.append(
            Peaks(
                x=(pixel % width).numpy(),
                y=(pixel // width).numpy(),
                class_index=(order // (height * width)).numpy(),
                logits=logits[order].numpy(),
                size=size,
                offset=offset,
                output_size=(height, width),
            )
        )
    return results
