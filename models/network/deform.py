# SPDX-License-Identifier: Apache-2.0
"""The deformable convolution of CoDeNet and of the variants that its paper compares: one block, `DeformConv`, with
options.

A 3x3 convolution samples nine places around each pixel. The variants differ in where these lie (paper, sections 2 and
3):

==============  ====================================================================================================
``regular``     at fixed distances; kernels of 3, 5, 7 or 9
``original``    18 fractional offsets a pixel from the regular places, two a tap, without bound (Dai et al., 2017)
``bounded``     the same, but no sample lies further than 7 rows or columns from its pixel
``square``      one fractional number ``s`` a pixel, in [-7, 8]: the taps lie at ``s`` times their regular distance
``rounded``     the same with ``s`` rounded to integers in [0, 7], or to a subset of these: what the accelerator
                computes
==============  ====================================================================================================

Fractional places are sampled by bilinear interpolation; outside of the image all is zero. Every variant starts at the
regular places.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.network.blocks import AnnealedReLU, single
from models.network.config import ALL_DILATIONS, MAX_DILATION, NetworkConfig

#: Range of the fractional square distance, as in the code released with the paper.
SQUARE_BOUNDS = (-7.0, 8.0)

#: Row and column of the nine taps, in the order of a kernel's weights.
_TAPS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def round_dilation(s: torch.Tensor, dilations: Sequence[int] = ALL_DILATIONS) -> torch.Tensor:
    """The nearest of ``dilations`` (sorted), the larger one of two equally near: for all eight
    ``clamp(floor(s + 0.5), 0, 7)``.

    Half up, as the accelerator's requantizer rounds.
    """
    members = _members(dilations, s)
    thresholds = (members[1:] + members[:-1]) / 2
    return members[torch.bucketize(s, thresholds, right=True)]


def _members(dilations: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """The dilations as a tensor, made where it is needed: a copy from the host cannot be captured in a CUDA graph."""
    members = torch.empty(len(dilations), dtype=like.dtype, device=like.device)
    for number, dilation in enumerate(dilations):
        members[number].fill_(dilation)
    return members


def dilation_masks(s: torch.Tensor, dilations: Sequence[int] = ALL_DILATIONS) -> torch.Tensor:
    """One-hot masks ``[len(dilations), N, 1, H, W]`` of the rounded dilation, with the gradient of linear
    interpolation.

    Forward, mask ``k`` is 1 where `round_dilation` gives ``dilations[k]``. Backward, it is as if the masks were the
    weights of linear interpolation between the two dilations around ``s``: straight-through rounding.
    """
    members = _members(dilations, s)
    column = members.view(-1, 1, 1, 1, 1)
    hard = (round_dilation(s.detach(), dilations) == column).to(s.dtype)
    if not s.requires_grad or len(dilations) == 1:
        return hard
    bounded = s.clamp(dilations[0], dilations[-1])
    below = _below(s.detach(), members)
    low, high = members[below], members[below + 1]
    fraction = (bounded - low) / (high - low)
    soft = (low == column) * (1 - fraction) + (high == column) * fraction
    return hard + soft - soft.detach()


def _below(s: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """Index of the lower of the two sorted ``members`` between which ``s``, bounded, lies."""
    return (torch.bucketize(s, members, right=True) - 1).clamp(0, max(0, len(members) - 2))


def rounded_conv(
    x: torch.Tensor, weight: torch.Tensor, s: torch.Tensor, dilations: Sequence[int] = ALL_DILATIONS
) -> torch.Tensor:
    """3x3 convolution with an integer dilation per pixel, full or depthwise.

    ``out[n, o, y, x] = sum over c and i, j in {-1, 0, 1} of weight[o, c, i, j] * x[n, c, y + i * d, x + j * d]`` with
    ``d = round_dilation(s[n, 0, y, x], dilations)`` and zeros outside of the image; depthwise: ``c = o`` only.

    Parameters
    ----------
    x:
        ``[N, C, H, W]``.
    weight:
        ``[O, C, 3, 3]``, or ``[C, 1, 3, 3]`` for depthwise.
    s:
        ``[N, 1, H, W]``, the dilation before rounding.

    Returns
    -------
    ``[N, O, H, W]``. Gradients reach all three arguments.
    """
    if x.is_cuda and weight.shape[1] == 1:
        return gathered_conv(x, weight, s, dilations)
    groups = x.shape[1] // weight.shape[1]
    masks = dilation_masks(s, dilations)
    below = _below(s.detach(), _members(dilations, s))
    first, last = int(below.min()), min(int(below.max()) + 1, len(dilations) - 1)

    def at(d: int) -> torch.Tensor:
        if d == 0:
            return F.conv2d(x, weight.sum(dim=(2, 3), keepdim=True), groups=groups)
        return F.conv2d(x, weight, padding=d, dilation=d, groups=groups)

    return functools.reduce(torch.add, (masks[number] * at(dilations[number]) for number in range(first, last + 1)))


def gathered_conv(
    x: torch.Tensor, weight: torch.Tensor, s: torch.Tensor, dilations: Sequence[int] = ALL_DILATIONS
) -> torch.Tensor:
    """`rounded_conv`, depthwise, by reading the nine samples of each pixel: what a GPU is faster at, and never waits
    for.

    ``x`` may be of half precision; the result has its dtype.
    """
    out: torch.Tensor = _Gathered.apply(x, weight, s, tuple(dilations))
    return out


class _Gathered(torch.autograd.Function):
    """The depthwise convolution on rows of channels, ``[N * H * W, C]``; gradients are those of `dilation_masks`."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, s: torch.Tensor, dilations: tuple[int, ...]
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, s)
        ctx.dilations = dilations
        taps = _taps(weight, x.dtype)
        out = (_samples(_padded_rows(x), round_dilation(s, dilations)) * taps).sum(dim=1)
        return _image(out, *x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        x, weight, s = ctx.saved_tensors
        rows, taps, grad = _padded_rows(x), _taps(weight, x.dtype), _rows(grads[0])
        chosen = round_dilation(s, ctx.dilations)
        samples = _samples(rows, chosen)
        weight_grad = (samples * grad[:, None]).sum(dim=0, dtype=weight.dtype).T.reshape(weight.shape)
        parts = (grad.to(weight.dtype)[:, None] * taps.to(weight.dtype)).flatten(0, 1)
        x_grad = torch.zeros(rows.shape, dtype=weight.dtype, device=x.device)
        x_grad.index_add_(0, _tap_rows(chosen).flatten(), parts)
        n, channels, height, width = x.shape
        padded = _image(x_grad, n, channels, height + 2 * MAX_DILATION, width + 2 * MAX_DILATION)
        inner = padded[:, :, MAX_DILATION : MAX_DILATION + height, MAX_DILATION : MAX_DILATION + width]
        s_grad = _slope(rows, s, chosen, (samples * taps).sum(dim=1), taps, grad, ctx.dilations)
        return inner.to(x.dtype), weight_grad, s_grad, None


def _slope(
    rows: torch.Tensor,
    s: torch.Tensor,
    chosen: torch.Tensor,
    result: torch.Tensor,
    taps: torch.Tensor,
    grad: torch.Tensor,
    dilations: tuple[int, ...],
) -> torch.Tensor:
    """Gradient of ``s``: how the result differs between the two dilations around it, one of which was ``chosen``."""
    if len(dilations) == 1:
        return torch.zeros_like(s)
    members = _members(dilations, s)
    below = _below(s, members)
    low, high = members[below], members[below + 1]
    other = (_samples(rows, low + high - chosen) * taps).sum(dim=1)
    difference = (grad * (result - other)).sum(dim=1, dtype=s.dtype).view_as(s)
    slope = torch.where(chosen == high, difference, -difference) / (high - low)
    return slope * ((s >= dilations[0]) & (s <= dilations[-1]))


def _taps(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Depthwise weights ``[C, 1, 3, 3]`` as ``[9, C]``."""
    return weight.flatten(1).T.to(dtype)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """``[N, C, H, W]`` as ``[N * H * W, C]``; no copy where channels are the last dimension in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _image(rows: torch.Tensor, n: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Inverse of `_rows`."""
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def _padded_rows(x: torch.Tensor) -> torch.Tensor:
    """`_rows` of an image with zeros around it as far as a tap reaches: no tap needs a comparison with the border."""
    return _rows(F.pad(x, [MAX_DILATION] * 4))


def _tap_rows(dilation: torch.Tensor) -> torch.Tensor:
    """`_padded_rows` that the taps of each pixel read, int64 ``[N * H * W, 9]``; ``dilation``: ``[N, 1, H, W]``."""
    n, _, height, width = dilation.shape
    d = dilation.long().view(n, height, width, 1)
    tap = torch.arange(9, device=d.device)
    columns = width + 2 * MAX_DILATION
    image = torch.arange(n, device=d.device).view(-1, 1, 1, 1) * (height + 2 * MAX_DILATION)
    y = torch.arange(MAX_DILATION, MAX_DILATION + height, device=d.device).view(-1, 1, 1) + d * (tap // 3 - 1)
    x = torch.arange(MAX_DILATION, MAX_DILATION + width, device=d.device).view(-1, 1) + d * (tap % 3 - 1)
    return ((image + y) * columns + x).view(-1, 9)


def _samples(rows: torch.Tensor, dilation: torch.Tensor) -> torch.Tensor:
    """The nine samples of each pixel, ``[N * H * W, 9, C]``, from `_padded_rows`."""
    return rows.index_select(0, _tap_rows(dilation).flatten()).view(-1, 9, rows.shape[1])


def sampled_conv(x: torch.Tensor, weight: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """3x3 convolution, full or depthwise, whose taps lie at any places, by bilinear interpolation with zeros outside of
    the image.

    Parameters
    ----------
    x:
        ``[N, C, H, W]``.
    weight:
        ``[O, C, 3, 3]``, or ``[C, 1, 3, 3]`` for depthwise.
    places:
        ``[N, 9, 2, H, W]``, row and column of each tap relative to the pixel.

    Returns
    -------
    ``[N, O, H, W]``. Gradients reach all three arguments.
    """
    n, channels, height, width = x.shape
    rows = places[:, :, 0] + torch.arange(height, dtype=x.dtype, device=x.device).view(-1, 1)
    columns = places[:, :, 1] + torch.arange(width, dtype=x.dtype, device=x.device)
    # grid_sample has -1 and 1 at the image's edges, half a pixel beyond the centres of the outermost pixels.
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    samples = F.grid_sample(x, grid.view(n, 9 * height, width, 2), padding_mode="zeros", align_corners=False)
    samples = samples.view(n, channels, 9, height, width)
    if weight.shape[1] == 1 and channels == len(weight):
        return (samples * weight.view(1, channels, 9, 1, 1)).sum(dim=2)
    return F.conv2d(samples.flatten(1, 2), weight.reshape(len(weight), channels * 9, 1, 1))


def square_places(s: torch.Tensor) -> torch.Tensor:
    """Places of the taps at ``s`` (``[N, 1, H, W]``) times their regular distance, ``s`` clamped to `SQUARE_BOUNDS`:
    ``[N, 9, 2, H, W]``.
    """
    return s.clamp(*SQUARE_BOUNDS).unsqueeze(1) * _regular_places(s)


def offset_places(offsets: torch.Tensor, bounded: bool) -> torch.Tensor:
    """Places of the taps from 18 offsets (``[N, 18, H, W]``: row, column of the first tap, then the second):
    ``[N, 9, 2, H, W]``.
    """
    places = offsets.unflatten(1, (9, 2)) + _regular_places(offsets)
    return places.clamp(-MAX_DILATION, MAX_DILATION) if bounded else places


def _regular_places(like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(_TAPS, dtype=like.dtype, device=like.device).view(1, 9, 2, 1, 1)


class DeformConv(nn.Module):
    """A deformable convolution with its own 1x1 convolution for where it samples: ``[N, inputs, H, W]`` to
    ``[N, outputs, H, W]``.

    ``config``: sampling, kernel and set of dilations. With ``outputs`` None the convolution is depthwise. ``norm`` and
    ``relu`` follow if asked for. The 1x1 convolution is ``dilation`` (one channel, starts at 1 everywhere) or
    ``offsets`` (18 channels, start at 0), none for regular sampling. It reads all inputs but the last ``skipped``.
    """

    def __init__(
        self,
        config: NetworkConfig,
        inputs: int,
        outputs: int | None = None,
        norm: bool = False,
        relu: bool = False,
        skipped: int = 0,
    ) -> None:
        super().__init__()
        self.sampling, self.dilations, self.kernel = config.sampling, config.dilations, config.kernel
        if self.sampling in ("square", "rounded"):
            self.dilation = _constant_conv(inputs - skipped, 1, 1.0)
        elif self.sampling != "regular":
            self.offsets = _constant_conv(inputs - skipped, 18, 0.0)
        shape = (inputs, 1) if outputs is None else (outputs, inputs)
        self.weight = nn.Parameter(torch.empty(*shape, self.kernel, self.kernel))
        self.norm = nn.BatchNorm2d(shape[0]) if norm else None
        self.relu = AnnealedReLU() if relu else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # On a CPU in float32: oneDNN's gradient of a dilated depthwise convolution's weights in bfloat16 reads memory
        # that nobody wrote.
        with torch.autocast(x.device.type, enabled=False):
            x = self._sample(x if x.is_cuda and self.sampling == "rounded" else single(x))
        x = x if self.norm is None else self.norm(x)
        return x if self.relu is None else self.relu(x)

    def _sample(self, x: torch.Tensor) -> torch.Tensor:
        if self.sampling == "rounded":
            return rounded_conv(x, self.weight, on_first(self.dilation, single(x)), self.dilations)
        if self.sampling == "square":
            return sampled_conv(x, self.weight, square_places(on_first(self.dilation, x)))
        if self.sampling == "regular":
            return F.conv2d(x, self.weight, padding=self.kernel // 2, groups=x.shape[1] // self.weight.shape[1])
        return sampled_conv(x, self.weight, offset_places(on_first(self.offsets, x), self.sampling == "bounded"))


def on_first(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """``conv`` of as many of the first channels of ``x`` as it reads."""
    return conv(x[:, : conv.in_channels])  # type: ignore[no-any-return]


def _constant_conv(inputs: int, outputs: int, bias: float) -> nn.Conv2d:
    """A 1x1 convolution that gives ``bias`` everywhere until it is trained."""
    conv = nn.Conv2d(inputs, outputs, 1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv


#: Names under which `models.quantization` knows the accelerator's convolution.
DeformDepthwise, deform_depthwise = DeformConv, rounded_conv
