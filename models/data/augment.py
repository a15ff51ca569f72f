# SPDX-License-Identifier: Apache-2.0
"""Training augmentation: crop or zoom out, horizontal flip, colour jitter, four images in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from codenet.errors import CodenetError
from models.network.config import PIXEL_OFFSET

#: RGB to luma and two colour differences (YIQ); hue is the angle in the plane of the latter.
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

#: Part of the picture's side at which the four images of a mosaic meet, lowest and highest.
MEETING = (0.3, 0.7)

#: Image, boxes in units of the image's sides, labels.
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes.

    ``scale``: side of the region shown, in units of the picture's that shows the whole image (above 1: the image
    shrinks into grey).
    ``aspect``: largest factor between the changes of width and height. ``jitter``: largest relative change of
    brightness, contrast and saturation. ``hue``: largest turn of the colours, in parts of a full turn. ``keep``: boxes
    with less than this part of their area in view are dropped.

    ``mosaic``: how likely four images share one picture; ``mosaic_scale``: an image's side in it, in units of the
    picture's; ``mosaic_end``: the part of the run after which there are none, so that the network ends on pictures as
    it will see them.
    """

    scale: tuple[float, float] = (0.7, 1.15)
    aspect: float = 1.2
    flip: float = 0.5
    jitter: float = 0.2
    keep: float = 0.3
    hue: float = 0.0
    mosaic: float = 0.0
    mosaic_scale: tuple[float, float] = (0.4, 1.0)
    mosaic_end: float = 0.8

    def __post_init__(self) -> None:
        for name in ("scale", "mosaic_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise CodenetError(f"augmentation: {name} is {low} to {high}, expected a range above 0")
        for name, low, high in (("flip", 0, 1), ("jitter", 0, 1), ("keep", 0, 1), ("hue", 0, 0.5), ("mosaic", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise CodenetError(f"augmentation: {name} is {getattr(self, name)}, expected {low} to {high}")
        if self.aspect < 1:
            raise CodenetError(f"augmentation: aspect is {self.aspect}, expected 1 or more")

    def _position(self, width: float, height: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """A view of this width and height: one smaller than the image lies inside of it, a larger one contains it."""
        x0, y0 = (rng.uniform(min(0, 1 - side), max(0, 1 - side)) for side in (width, height))
        return x0, y0, x0 + width, y0 + height

    def _stretch(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(-0.5, 0.5) * np.log(self.aspect)))

    def region(
        self, rng: np.random.Generator, frame: tuple[float, float] = (1.0, 1.0)
    ) -> tuple[float, float, float, float]:
        """A random view x0, y0, x1, y1 in units of the image's sides; ``frame``: as of a call."""
        scale = rng.uniform(*self.scale)
        stretch = self._stretch(rng)
        return self._position(frame[0] * scale * stretch, frame[1] * scale / stretch, rng)

    def color(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change brightness, contrast, saturation and hue of an RGB image (any dtype, returned as uint8)."""
        brightness, contrast, saturation = rng.uniform(1 - self.jitter, 1 + self.jitter, 3)
        pixels = image.astype(np.float32)
        if self.hue:
            pixels = turn_hue(pixels, rng.uniform(-self.hue, self.hue))
        luma = pixels @ YIQ[0].astype(np.float32)
        pixels = luma[..., None] * (1 - saturation) + pixels * saturation
        pixels = (pixels - luma.mean()) * contrast + luma.mean() * brightness
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def _crop(self, sample: Sample, region: tuple[float, float, float, float], height: int, width: int) -> Sample:
        """The part ``region`` of a sample; boxes too little in view are dropped, the others clipped."""
        image, boxes, labels = sample
        x0, y0, x1, y1 = region
        boxes = (boxes - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
        clipped = boxes.clip(0, 1)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) > self.keep * area
        return view(image, region, height, width), clipped[visible], labels[visible]

    def _finish(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image, boxes, labels = sample
        if rng.random() < self.flip:
            image = image[:, ::-1]
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        return self.color(image, rng), boxes, labels

    def __call__(
        self,
        image: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        size: tuple[int, int],
        rng: np.random.Generator,
        frame: tuple[float, float] = (1.0, 1.0),
    ) -> Sample:
        """Augment one image.

        Parameters
        ----------
        image: uint8 ``[H, W, 3]``; boxes: ``[N, 4]`` x0, y0, x1, y1 in units of the image's sides; labels: ``[N]``.
        size: height and width of the picture. frame: width and height, in units of the image's sides, of the picture
        that shows the whole image (`codenet.fit.Placement.frame`): above 1 where the image is letterboxed.

        Returns the image uint8 ``[*size, 3]``, the boxes still in view (clipped, in units of ``size``), and their
        labels.
        """
        return self._finish(self._crop((image, boxes, labels), self.region(rng, frame), *size), rng)

    def combine(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        rng: np.random.Generator,
        frames: Sequence[tuple[float, float]] = ((1.0, 1.0),) * 4,
    ) -> Sample:
        """One picture of four samples that meet at a random point; parameters (``frames``: of each) and result as of a
        call.

        Each image has a random scale (``mosaic_scale``), and as much of it is shown as its corner of the picture holds.
        """
        middle_x, middle_y = (round(side * rng.uniform(*MEETING)) for side in reversed(size))
        canvas = np.empty((*size, 3), np.uint8)
        boxes, labels = [], []
        corners = [(y, x) for y in ((0, middle_y), (middle_y, size[0])) for x in ((0, middle_x), (middle_x, size[1]))]
        for sample, frame, ((top, bottom), (left, right)) in zip(samples, frames, corners, strict=True):
            scale, stretch = rng.uniform(*self.mosaic_scale), self._stretch(rng)
            height, width = bottom - top, right - left
            shown = (frame[0] * (width / (size[1] * scale)), frame[1] * (height / (size[0] * scale)))
            region = self._position(shown[0] * stretch, shown[1] / stretch, rng)
            canvas[top:bottom, left:right], part, names = self._crop(sample, region, height, width)
            boxes.append((part * [width, height, width, height] + [left, top, left, top]) / [*size[::-1], *size[::-1]])
            labels.append(names)
        return self._finish((canvas, np.concatenate(boxes), np.concatenate(labels)), rng)


def turn_hue(pixels: np.ndarray, part: float) -> np.ndarray:
    """Turn the hue of RGB pixels, float32 ``[..., 3]``, by a part of a full turn; luma stays."""
    sine, cosine = np.sin(2 * np.pi * part), np.cos(2 * np.pi * part)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return pixels @ (np.linalg.inv(YIQ) @ turn @ YIQ).T.astype(np.float32)


def view(image: np.ndarray, region: tuple[float, float, float, float], rows: int, columns: int) -> np.ndarray:
    """The part ``region`` (x0, y0, x1, y1 in units of the sides) of an image, stretched to ``[rows, columns, 3]``.

    What lies outside of the image is the padding grey.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = region
    inside = (max(x0, 0), max(y0, 0), min(x1, 1), min(y1, 1))
    # Where the visible part of the image lies on the canvas, in whole pixels.
    left, right = (round((x - x0) / (x1 - x0) * columns) for x in (inside[0], inside[2]))
    top, bottom = (round((y - y0) / (y1 - y0) * rows) for y in (inside[1], inside[3]))
    canvas = np.full((rows, columns, 3), PIXEL_OFFSET, np.uint8)
    if right > left and bottom > top:
        box = (inside[0] * width, inside[1] * height, inside[2] * width, inside[3] * height)
        part = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box)
        canvas[top:bottom, left:right] = np.asarray(part)
    return canvas
