# SPDX-License-Identifier: Apache-2.0
"""Training targets of a whole batch, computed on the device: `models.training.targets` for padded boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.training.resident.photos import Boxes
from models.training.targets import COVERED

#: What a box's own centre outweighs: any area of an output.
_CENTRE = 1e9


@dataclass(frozen=True)
class DenseTargets:
    """Targets of ``N`` pictures at every pixel of an ``S`` x ``S`` output; lengths in output pixels.

    ``heatmap``: float32 ``[N, classes, S, S]``; ``peaks``: the same shape, the confidence of the object whose centre a
    pixel is, otherwise 0; ``box``: float32 ``[N, 4, S, S]`` of x0, y0, x1, y1 that the pixel learns; ``weight``:
    float32 ``[N, S, S]``, 0 where it learns none.
    """

    heatmap: torch.Tensor
    peaks: torch.Tensor
    box: torch.Tensor
    weight: torch.Tensor


def gaussian_radius(width: torch.Tensor, height: torch.Tensor, overlap: float = 0.7) -> torch.Tensor:
    """`models.training.targets.gaussian_radius` of tensors."""
    total, area = width + height, width * height
    shifted = (total - torch.sqrt((total**2 - 4 * area * (1 - overlap) / (1 + overlap)).clamp(min=0))) / 2
    shrunk = (2 * total - torch.sqrt((4 * total**2 - 16 * area * (1 - overlap)).clamp(min=0))) / 8
    grown = (-2 * total + torch.sqrt(4 * total**2 + 16 * area * (1 / overlap - 1))) / 8
    return torch.minimum(torch.minimum(shifted, shrunk), grown)


def _profile(centre: torch.Tensor, reach: torch.Tensor, size: int) -> torch.Tensor:
    """One axis of `models.training.targets.draw_gaussian`, ``[N, M, size]``, for centres and radii ``[N, M]``."""
    distance = torch.arange(size, device=centre.device) - centre[:, :, None]
    reach = reach[:, :, None]
    sigma = (2 * reach + 1) / 6
    return torch.where(distance.abs() <= reach, torch.exp(-(distance**2) / (2 * sigma**2)), 0)


def dense_targets(boxes: Boxes, classes: int, size: int) -> DenseTargets:
    """Targets for boxes of a batch; those of confidence 0 are none.

    A box that a teacher found with a confidence below 1 makes a lower peak, and counts as much less. Where boxes meet,
    a pixel learns the smaller one, but each box keeps its own centre unless a smaller one has the same.
    """
    corners = boxes.corners * size
    extent = corners[..., 2:] - corners[..., :2]
    there = boxes.confidence > 0
    centre = ((corners[..., :2] + corners[..., 2:]) / 2).floor().clamp(0, size - 1)
    x, y = centre.unbind(dim=2)
    area = extent.prod(dim=2)
    radius = gaussian_radius(*extent.unbind(dim=2)).floor()
    across, down = _profile(x, radius, size), _profile(y, radius, size) * boxes.confidence[:, :, None]
    # 1 at the very centre, where the product of both profiles is the confidence.
    middle = (x.long() + y.long() * size)[:, None]
    heatmaps, peaks = [], []
    for label in range(classes):
        mine = boxes.labels == label
        heatmaps.append(((down * mine[:, :, None])[..., None] * across[:, :, None, :]).amax(dim=1))
        sure = (boxes.confidence * mine)[:, None]
        empty = torch.zeros((len(x), 1, size * size), device=x.device)
        peaks.append(empty.scatter_reduce(2, middle, sure, "amax").view(-1, size, size))
    owner, share = _owners(corners, extent, centre, area, there, size)
    flat = owner.flatten(1)
    total = torch.zeros_like(area).scatter_add(1, flat, share.flatten(1))
    factor = torch.log1p(area.clamp(min=0)) / total.clamp(min=1e-6) * boxes.confidence
    weight = share * factor.gather(1, flat).view_as(share)
    box = corners.gather(1, flat[..., None].expand(-1, -1, 4)).transpose(1, 2)
    return DenseTargets(torch.stack(heatmaps, 1), torch.stack(peaks, 1), box.reshape(-1, 4, size, size), weight)


def _owners(
    corners: torch.Tensor,
    extent: torch.Tensor,
    centre: torch.Tensor,
    area: torch.Tensor,
    there: torch.Tensor,
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the box that each pixel learns, int64 ``[N, size, size]``, and how near its centre it lies, 0 to 1."""
    reach = (extent * COVERED / 2).floor()
    across, down = _profile(centre[..., 0], reach[..., 0], size), _profile(centre[..., 1], reach[..., 1], size)
    line = torch.arange(size, device=corners.device)
    here = (line == centre[..., 1:]).unsqueeze(3) & (line == centre[..., :1]).unsqueeze(2)
    covered = ((down > 0).unsqueeze(3) & (across > 0).unsqueeze(2)) & there[..., None, None]
    cost = torch.where(covered, area[..., None, None] - _CENTRE * here, torch.inf)
    lowest, owner = cost.min(dim=1)
    # down[n, owner, y] and across[n, owner, x] for each pixel.
    ys = down.transpose(1, 2).gather(2, owner)
    xs = across.transpose(1, 2)[:, None].expand(-1, size, -1, -1).gather(3, owner[..., None])[..., 0]
    share = torch.where(torch.isfinite(lowest), ys * xs, 0)
    return owner, share
