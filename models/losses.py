"""CenterNet's losses: focal loss on the heatmap, L1 on sizes and offsets at the centres."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

#: Weights of the parts in the total (CenterNet, section 5).
WEIGHTS = {"heatmap": 1.0, "size": 0.1, "offset": 1.0}


@dataclass
class Batch:
    """``images`` float32 ``[N, 3, S, S]``, ``heatmap`` float32 ``[N, classes, S/4, S/4]``, and for all objects of the batch:
    ``image`` int64 ``[K]``, ``index`` int64 ``[K]`` (``y * S/4 + x``), ``size`` and ``offset`` float32 ``[K, 2]``.
    """

    images: torch.Tensor
    heatmap: torch.Tensor
    image: torch.Tensor
    index: torch.Tensor
    size: torch.Tensor
    offset: torch.Tensor


def focal_loss(logits: torch.Tensor, target: torch.Tensor, alpha: float = 2.0, beta: float = 4.0) -> torch.Tensor:
    """Penalty-reduced focal loss over all pixels, divided by the number of peaks (at least 1).

    ``-(1 - p)^alpha log p`` where the target is 1, else ``-(1 - target)^beta p^alpha log(1 - p)``. Stable for any logit.
    """
    p = torch.sigmoid(logits)
    peak = (target == 1).to(logits.dtype)
    positive = (1 - p) ** alpha * F.logsigmoid(logits) * peak
    negative = (1 - target) ** beta * p**alpha * F.logsigmoid(-logits) * (1 - peak)
    return -(positive.sum() + negative.sum()) / peak.sum().clamp(min=1)


def _at_centres(output: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``[N, 2, S, S]`` at the batch's centres: ``[K, 2]``."""
    return output.flatten(2)[batch.image, :, batch.index]


def detection_loss(outputs: dict[str, torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """The parts ``heatmap``, ``size``, ``offset`` (unweighted) and their weighted ``total``."""
    count = max(1, len(batch.index))
    parts = {
        "heatmap": focal_loss(outputs["heatmap"], batch.heatmap),
        "size": (_at_centres(outputs["size"], batch) - batch.size).abs().sum() / count,
        "offset": (_at_centres(outputs["offset"], batch) - batch.offset).abs().sum() / count,
    }
    parts["total"] = sum((WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(()))
    return parts
