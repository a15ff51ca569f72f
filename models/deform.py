"""CoDeNet's deformable convolution: depthwise 3x3 with one integer dilation in [0, 7] per pixel.

Paper, section 3: bounded (range 7), square (one number per pixel), rounded (integer) and depthwise.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from models.blocks import AnnealedReLU
from models.configs import MAX_DILATION


def round_dilation(s: torch.Tensor) -> torch.Tensor:
    """``clamp(floor(s + 0.5), 0, 7)``: rounding is half up, as the accelerator's requantizer does it."""
    return torch.floor(s + 0.5).clamp(0, MAX_DILATION)


def dilation_masks(s: torch.Tensor) -> torch.Tensor:
    """One-hot masks ``[8, N, 1, H, W]`` of the rounded dilation, with the gradient of linear interpolation.

    Forward, mask ``k`` is 1 where `round_dilation` gives ``k``. Backward, it is as if the masks were the weights of
    linear interpolation between ``floor(s)`` and ``floor(s) + 1``: straight-through rounding.
    """
    steps = torch.arange(MAX_DILATION + 1, dtype=s.dtype, device=s.device).view(-1, 1, 1, 1, 1)
    hard = (round_dilation(s.detach()) == steps).to(s.dtype)
    if not s.requires_grad:
        return hard
    bounded = s.clamp(0, MAX_DILATION)
    low = torch.floor(bounded.detach()).clamp(max=MAX_DILATION - 1)
    fraction = bounded - low
    soft = (low == steps) * (1 - fraction) + (low + 1 == steps) * fraction
    return hard + soft - soft.detach()


def deform_depthwise(x: torch.Tensor, weight: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Depthwise 3x3 convolution with a dilation per pixel.

    ``out[n, c, y, x] = sum over i, j in {-1, 0, 1} of weight[c, 0, i, j] * x[n, c, y + i * d, x + j * d]`` with
    ``d = round_dilation(s[n, 0, y, x])`` and zeros outside of the image.

    Parameters
    ----------
    x: ``[N, C, H, W]``; weight: ``[C, 1, 3, 3]``; s: ``[N, 1, H, W]``, the dilation before rounding.

    Returns ``[N, C, H, W]``. Gradients reach all three arguments.
    """
    channels = x.shape[1]
    masks = dilation_masks(s)
    low = torch.floor(s.detach().clamp(0, MAX_DILATION)).clamp(max=MAX_DILATION - 1)
    first, last = int(low.min()), int(low.max()) + 1
    out = torch.zeros_like(x)
    for d in range(first, last + 1):
        if d == 0:
            samples = x * weight.sum(dim=(2, 3)).view(1, channels, 1, 1)
        else:
            samples = F.conv2d(x, weight, padding=d, dilation=d, groups=channels)
        out = out + masks[d] * samples
    return out


class DeformDepthwise(nn.Module):
    """`deform_depthwise` with its own 1x1 convolution for the dilation, which starts at 1 everywhere.

    ``finish``: batch norm and ReLU follow.
    """

    def __init__(self, channels: int, finish: bool = False) -> None:
        super().__init__()
        self.dilation = nn.Conv2d(channels, 1, 1)
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.norm = nn.BatchNorm2d(channels) if finish else None
        self.relu = AnnealedReLU() if finish else None
        nn.init.zeros_(self.dilation.weight)
        nn.init.constant_(self.dilation.bias, 1.0)  # type: ignore[arg-type]
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = deform_depthwise(x, self.weight, self.dilation(x))
        x = x if self.norm is None else self.norm(x)
        return x if self.relu is None else self.relu(x)
