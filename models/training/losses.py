# SPDX-License-Identifier: Apache-2.0
"""Losses: CenterNet's focal loss on the heatmap, generalized IoU and L1 on the boxes that pixels near the centres
predict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

#: Weights of the parts in the total. That of ``overlap`` is TTFNet's; ``distance`` leads boxes that do not meet theirs,
#: or have no size.
WEIGHTS = {"heatmap": 1.0, "overlap": 5.0, "distance": 0.1}


@dataclass
class Batch:
    """``images`` float32 ``[N, 3, S, S]``, ``heatmap`` float32 ``[N, classes, S/4, S/4]``, and for all pixels of the
    batch that learn a box: ``image`` int64 ``[K]``, ``index`` int64 ``[K]`` (``y * S/4 + x``), ``box`` float32
    ``[K, 4]`` (x0, y0, x1, y1 in output pixels), ``weight`` float32 ``[K]``.
    """

    images: torch.Tensor
    heatmap: torch.Tensor
    image: torch.Tensor
    index: torch.Tensor
    box: torch.Tensor
    weight: torch.Tensor

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return Batch(*(change(getattr(self, field.name)) for field in dataclasses.fields(self)))

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU reads by itself."""
        return self._each(torch.Tensor.pin_memory)

    def totals(self) -> torch.Tensor:
        """Number of peaks and sum of ``weight``, ``[2]``."""
        return torch.stack([(self.heatmap == 1).sum().to(self.weight.dtype), self.weight.sum()])


def divisors(totals: torch.Tensor) -> torch.Tensor:
    """What losses are divided by, from `Batch.totals`: the same, but never near zero."""
    return torch.stack([totals[0].clamp(min=1), totals[1].clamp(min=1e-6)])


def focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    alpha: float = 2.0,
    beta: float = 4.0,
    peaks: torch.Tensor | None = None,
    confidence: torch.Tensor | None = None,
) -> torch.Tensor:
    """Penalty-reduced focal loss over all pixels, divided by ``peaks``: None is the number of peaks (at least 1).

    ``-(1 - p)^alpha log p`` where the target is 1, else ``-(1 - target)^beta p^alpha log(1 - p)``. Stable for any
    logit. ``confidence``, of ``target``'s shape, says instead how far each pixel is an object's centre, 0 to 1: what a
    teacher is not sure of counts as both, in these parts.
    """
    p = torch.sigmoid(logits)
    peak = (target == 1).to(logits.dtype) if confidence is None else confidence
    positive = (1 - p) ** alpha * F.logsigmoid(logits) * peak
    negative = (1 - target) ** beta * p**alpha * F.logsigmoid(-logits) * (1 - peak)
    return -(positive.sum() + negative.sum()) / (peak.sum().clamp(min=1) if peaks is None else peaks)


def generalized_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Generalized IoU (Rezatofighi et al., CVPR 2019) of boxes ``[..., 4]`` (x0, y0, x1, y1) with their counterparts:
    ``[...]`` in (-1, 1].

    A box with x1 < x0 or y1 < y0 counts as empty.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    common = _area(low, high)
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - common
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def _area(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Area between corners ``[..., 2]``, 0 if they are swapped; `torch.prod` would cost a GPU's step a tenth."""
    width, height = (high - low).clamp(min=0).unbind(dim=-1)
    return width * height


def predicted_boxes(outputs: dict[str, torch.Tensor], batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network predicts at the batch's pixels, as `codenet.vision.boxes` reads it: centres and sizes,
    ``[K, 2]`` each, in output pixels.
    """
    width = outputs["size"].shape[3]
    size, offset = (outputs[name].flatten(2)[batch.image, :, batch.index] for name in ("size", "offset"))
    pixel = torch.stack([batch.index % width, batch.index // width], dim=1)
    return pixel + offset, size


def detection_loss(
    outputs: dict[str, torch.Tensor], batch: Batch, divided_by: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """The parts ``heatmap``, ``overlap``, ``distance`` (unweighted) and their weighted ``total``.

    ``overlap``: one minus the generalized IoU; ``distance``: L1 of centre and size in output pixels; both averaged with
    the pixels' weights. ``divided_by``: `divisors` of the whole batch where ``batch`` is a part of one.
    """
    peaks, weight = divisors(batch.totals()) if divided_by is None else divided_by
    parts = {
        "heatmap": focal_loss(outputs["heatmap"], batch.heatmap, peaks=peaks),
        **box_losses(*predicted_boxes(outputs, batch), batch.box, batch.weight / weight),
    }
    return with_total(parts)


def box_losses(
    centre: torch.Tensor, size: torch.Tensor, box: torch.Tensor, share: torch.Tensor
) -> dict[str, torch.Tensor]:
    """``overlap`` and ``distance`` of predicted centres and sizes ``[..., 2]`` from ``box`` ``[..., 4]``, each pixel
    with its ``share`` ``[...]``.
    """
    predicted = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
    true_centre, true_size = (box[..., :2] + box[..., 2:]) / 2, box[..., 2:] - box[..., :2]
    distance = ((centre - true_centre).abs() + (size - true_size).abs()).sum(dim=-1)
    return {
        "overlap": (share * (1 - generalized_iou(predicted, box))).sum(),
        "distance": (share * distance).sum(),
    }


def with_total(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parts and their weighted ``total``."""
    total = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
    return {**parts, "total": total}
