"""Training augmentation: crop or zoom out, horizontal flip, colour jitter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.configs import PIXEL_OFFSET


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes.

    ``scale``: side of the region shown, in units of the image's side (above 1: the image shrinks into grey).
    ``aspect``: largest factor between the changes of width and height. ``jitter``: largest relative change of
    brightness, contrast and saturation. ``keep``: boxes with less than this part of their area in view are dropped.
    """

    scale: tuple[float, float] = (0.7, 1.15)
    aspect: float = 1.2
    flip: float = 0.5
    jitter: float = 0.2
    keep: float = 0.3

    def region(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """A random view x0, y0, x1, y1 in units of the image's sides."""
        scale = rng.uniform(*self.scale)
        stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(self.aspect))
        width, height = scale * stretch, scale / stretch
        # A view smaller than the image lies inside of it, a larger one contains it.
        x0, y0 = (rng.uniform(min(0, 1 - side), max(0, 1 - side)) for side in (width, height))
        return x0, y0, x0 + width, y0 + height

    def color(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change brightness, contrast and saturation of an RGB image (any dtype, returned as uint8)."""
        brightness, contrast, saturation = rng.uniform(1 - self.jitter, 1 + self.jitter, 3)
        pixels = image.astype(np.float32)
        luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
        pixels = luma[..., None] * (1 - saturation) + pixels * saturation
        pixels = (pixels - luma.mean()) * contrast + luma.mean() * brightness
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Augment one image.

        Parameters
        ----------
        image: uint8 ``[H, W, 3]``; boxes: ``[N, 4]`` x0, y0, x1, y1 in units of the image's sides; labels: ``[N]``.

        Returns the image uint8 ``[size, size, 3]``, the boxes still in view (clipped, in units of ``size``), and their
        labels.
        """
        x0, y0, x1, y1 = self.region(rng)
        image = view(image, (x0, y0, x1, y1), size)
        boxes = (boxes - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
        clipped = boxes.clip(0, 1)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) > self.keep * area
        boxes, labels = clipped[visible], labels[visible]
        if rng.random() < self.flip:
            image = image[:, ::-1]
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        return self.color(image, rng), boxes, labels


def view(image: np.ndarray, region: tuple[float, float, float, float], size: int) -> np.ndarray:
    """The part ``region`` (x0, y0, x1, y1 in units of the sides) of an image, stretched to ``size`` x ``size``.

    What lies outside of the image is the padding grey.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = region
    inside = (max(x0, 0), max(y0, 0), min(x1, 1), min(y1, 1))
    # Where the visible part of the image lies on the canvas, in whole pixels.
    left, right = (round((x - x0) / (x1 - x0) * size) for x in (inside[0], inside[2]))
    top, bottom = (round((y - y0) / (y1 - y0) * size) for y in (inside[1], inside[3]))
    canvas = np.full((size, size, 3), PIXEL_OFFSET, np.uint8)
    if right > left and bottom > top:
        box = (inside[0] * width, inside[1] * height, inside[2] * width, inside[3] * height)
        part = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box)
        canvas[top:bottom, left:right] = np.asarray(part)
    return canvas
