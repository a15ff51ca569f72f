# SPDX-License-Identifier: Apache-2.0
"""Augmented batches, computed where the photos are: `models.data.augment.Augmentation` for a whole batch at once.

A view of a photo is stretched by the triangle filter that Pillow's bilinear resize uses, separately along both axes:
``rows @ photo @ columns``, two matrix products with weights that are functions of the view's edges. Outside of the
photo the weights are zero, which is the padding grey as pixels count from it. The four photos of a mosaic have weights
for their own corner of the picture, and are added.

All tensors have shapes that depend on the batch's size alone, and nothing waits for the device: a step can be captured
in a CUDA graph.
"""

from __future__ import annotations

import math

import torch

from codenet.errors import CodenetError
from codenet.fit import STRETCH
from models.data.augment import MEETING, YIQ, Augmentation
from models.network.config import PIXEL_OFFSET, PIXEL_SCALE, NetworkConfig
from models.training.resident.photos import Boxes, Photos


def _uniform(shape: tuple[int, ...], low: float, high: float, device: torch.device) -> torch.Tensor:
    return torch.rand(shape, device=device) * (high - low) + low


def axis_weights(
    region: torch.Tensor, place: torch.Tensor, outputs: int, inputs: int, flip: torch.Tensor | None = None
) -> torch.Tensor:
    """How each output pixel of an axis is mixed from the input's: ``[N, outputs, inputs]``.

    ``region``: ``[N, 2]``, first and last edge of the view in units of the input's side. ``place``: ``[N, 2]``, first
    and last edge of where it lies on the output, in pixels. ``flip``: bool ``[N]``, whether the whole output is
    mirrored. Rows of output pixels that lie outside of the place, or see nothing of the input, are zero.
    """
    pixel = torch.arange(outputs, device=region.device, dtype=torch.float32)[None]
    if flip is not None:
        pixel = torch.where(flip[:, None], outputs - 1 - pixel, pixel)
    first, last = place[:, :1], place[:, 1:]
    zoom = (region[:, 1:] - region[:, :1]) / (last - first).clamp(min=1)
    centre = region[:, :1] + (pixel + 0.5 - first) * zoom
    seen = (pixel + 0.5 > first) & (pixel + 0.5 < last) & (centre > 0) & (centre < 1)
    support = (zoom * inputs).clamp(min=1)
    distance = (torch.arange(inputs, device=region.device) + 0.5) - (centre * inputs)[:, :, None]
    weights = (1 - distance.abs() / support[:, :, None]).clamp(min=0)
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6) * seen[:, :, None]


def square_side(config: NetworkConfig) -> int:
    """Side of a network's input; `CodenetError` for one that views cannot be made for."""
    if not isinstance(config.size, int) or config.fit != STRETCH:
        raise CodenetError(
            f"network {config.name}: photos to {config.input_text}, expected a square input and photos that fill it, "
            f"as all views have; python -m models.train trains this network"
        )
    return config.size


class Views:
    """Draws batches of augmented pictures of ``size`` x ``size`` with their boxes from `Photos`."""

    def __init__(self, photos: Photos, augmentation: Augmentation, size: int) -> None:
        self.photos, self.augmentation, self.size = photos, augmentation, size
        device = photos.pixels.device
        #: Products in 16 bits where they are fast: a pixel has 8, a weight's error is below half of the last place.
        self.half = torch.float16 if device.type == "cuda" else torch.float32
        self.device = device
        yiq = torch.tensor(YIQ, dtype=torch.float32, device=device)
        self._to_yiq, self._from_yiq = yiq, torch.linalg.inv(yiq)
        self._luma = yiq[0]
        self._eye = torch.eye(3, device=device)
        self._whole = torch.tensor([0.0, float(size)], device=device)

    def _stretch(self, count: int) -> torch.Tensor:
        return torch.exp(_uniform((count,), -0.5, 0.5, self.device) * math.log(self.augmentation.aspect))

    def _position(self, side: torch.Tensor) -> torch.Tensor:
        """Edges ``[N, 2]`` of views with these sides: inside of the photo, or around it if larger."""
        low = (1 - side).clamp(max=0)
        start = low + torch.rand_like(side) * ((1 - side).clamp(min=0) - low)
        return torch.stack([start, start + side], dim=1)

    def single(self, index: torch.Tensor) -> tuple[torch.Tensor, Boxes]:
        """A picture of each photo ``index``, int64 ``[N]``: network inputs ``[N, 3, size, size]`` and boxes."""
        count = len(index)
        scale = _uniform((count,), *self.augmentation.scale, self.device)
        stretch = self._stretch(count)
        whole = self._whole.expand(count, 2)
        flip = torch.rand(count, device=self.device) < self.augmentation.flip
        edges = self._position(scale * stretch), self._position(scale / stretch)
        picture = self._render(index, edges, (whole, whole), flip)
        return self._color(picture), self._boxes(self.photos.boxes[index], edges, (whole, whole), flip)

    def mosaic(self, index: torch.Tensor) -> tuple[torch.Tensor, Boxes]:
        """A picture of each four photos ``index``, int64 ``[N, 4]``, that meet at a random point; as `single`."""
        count = len(index)
        meeting = [(_uniform((count,), *MEETING, self.device) * self.size).round() for _ in range(2)]
        flip = torch.rand(count, device=self.device) < self.augmentation.flip
        zero, end = self._whole[:, None].expand(2, count)
        low, high = (
            [torch.stack([zero, middle], dim=1) for middle in meeting],
            [torch.stack([middle, end], dim=1) for middle in meeting],
        )
        picture, parts = None, []
        for corner in range(4):
            places = (high if corner % 2 else low)[0], (high if corner // 2 else low)[1]
            zoom = self.size * _uniform((count,), *self.augmentation.mosaic_scale, self.device)
            stretch = self._stretch(count)
            width, height = ((place[:, 1] - place[:, 0]) / zoom for place in places)
            edges = self._position(width * stretch), self._position(height / stretch)
            part = self._render(index[:, corner], edges, places, flip)
            picture = part if picture is None else picture + part
            parts.append(self._boxes(self.photos.boxes[index[:, corner]], edges, places, flip))
        assert picture is not None
        columns = zip(*((part.corners, part.labels, part.confidence) for part in parts), strict=True)
        return self._color(picture), Boxes(*(torch.cat(column, dim=1) for column in columns))

    def _render(
        self,
        index: torch.Tensor,
        edges: tuple[torch.Tensor, torch.Tensor],
        places: tuple[torch.Tensor, torch.Tensor],
        flip: torch.Tensor,
    ) -> torch.Tensor:
        """Pixels above the padding grey, ``[N, 3, size, size]``; zero where the photo is not seen."""
        side = self.photos.pixels.shape[1]
        source = self.photos.pixels[index].to(self.half) - PIXEL_OFFSET
        across = axis_weights(edges[0], places[0], self.size, side, flip).to(self.half)
        down = axis_weights(edges[1], places[1], self.size, side).to(self.half)
        wide = torch.bmm(source.reshape(len(index), side * 3, side), across.transpose(1, 2))
        picture = torch.bmm(down, wide.reshape(len(index), side, 3 * self.size))
        return picture.reshape(len(index), self.size, 3, self.size).permute(0, 2, 1, 3)

    def _color(self, picture: torch.Tensor) -> torch.Tensor:
        """Change brightness, contrast, saturation and hue, clip to pixels, normalize for the network."""
        count, jitter, hue = len(picture), self.augmentation.jitter, self.augmentation.hue
        brightness, contrast, saturation = _uniform((3, count), 1 - jitter, 1 + jitter, self.device)
        grey = self._luma.expand(3, 3)
        change = (1 - saturation)[:, None, None] * grey + saturation[:, None, None] * self._eye
        if hue:
            angle = _uniform((count,), -hue, hue, self.device) * (2 * math.pi)
            sine, cosine, zero = torch.sin(angle), torch.cos(angle), torch.zeros_like(angle)
            turn = torch.stack([zero + 1, zero, zero, zero, cosine, -sine, zero, sine, cosine], 1).view(count, 3, 3)
            change = change @ (self._from_yiq @ turn @ self._to_yiq)
        pixels = picture.float()
        # All changes keep greys, so that the offset of the pixels is of no account to them, but to brightness.
        mean = torch.einsum("nchw,c->n", pixels, self._luma) / (self.size * self.size)
        change = change * contrast[:, None, None]
        shift = mean * (1 - contrast) + (mean + PIXEL_OFFSET) * (brightness - 1)
        pixels = torch.einsum("nij,njhw->nihw", change, pixels) + shift[:, None, None, None]
        pixels = pixels.clamp(-PIXEL_OFFSET, 255 - PIXEL_OFFSET) / PIXEL_SCALE
        return pixels.contiguous(memory_format=torch.channels_last)

    def _boxes(
        self,
        boxes: Boxes,
        edges: tuple[torch.Tensor, torch.Tensor],
        places: tuple[torch.Tensor, torch.Tensor],
        flip: torch.Tensor,
    ) -> Boxes:
        """Boxes as the view shows them; those too little in view are dropped, the others clipped."""
        lows, highs = (torch.stack([edge[:, n] for edge in edges] * 2, dim=1)[:, None] for n in range(2))
        corners = (boxes.corners - lows) / (highs - lows).clamp(min=1e-6)
        clipped = corners.clamp(0, 1)
        area, visible = (((c[..., 2] - c[..., 0]) * (c[..., 3] - c[..., 1])) for c in (corners, clipped))
        kept = visible > self.augmentation.keep * area
        starts, ends = (torch.stack([place[:, n] for place in places] * 2, dim=1)[:, None] for n in range(2))
        clipped = (starts + clipped * (ends - starts)) / self.size
        x0, y0, x1, y1 = clipped.unbind(dim=2)
        mirrored = torch.stack([1 - x1, y0, 1 - x0, y1], dim=2)
        corners = torch.where(flip[:, None, None], mirrored, clipped)
        return Boxes(corners, boxes.labels, boxes.confidence * kept)
