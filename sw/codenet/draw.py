"""Detections drawn over their photo."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from codenet.decode import Detection
from codenet.image import Source, load

COLOURS = (
    (230, 60, 50),
    (40, 120, 220),
    (30, 150, 70),
    (240, 140, 20),
    (140, 70, 200),
    (0, 150, 170),
    (220, 50, 140),
    (130, 100, 40),
)
"""Box colours, by class, dark enough for white text."""


def draw(photo: Source, detections: Iterable[Detection]) -> Image.Image:
    """Copy of the photo (anything :func:`codenet.image.load` takes) with a box, class and score for each detection.

    Line and letter sizes follow the photo's. The best detections are drawn last, over the others.
    """
    image = load(photo)
    canvas = ImageDraw.Draw(image)
    unit = min(image.size)
    line = max(1, round(unit / 160))
    font = ImageFont.load_default(size=max(12, round(unit / 26)))
    for detection in sorted(detections, key=lambda d: d.score):
        colour = COLOURS[detection.class_index % len(COLOURS)]
        canvas.rectangle(detection.box, outline=colour, width=line)
        _label(canvas, image.size, detection, font, colour, line)
    return image


def _label(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    detection: Detection,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    colour: tuple[int, int, int],
    line: int,
) -> None:
    """A filled tag above the box, or inside it where the photo ends."""
    text = f"{detection.label} {100 * detection.score:.0f} %"
    _, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right + 4 * line, bottom - top + 4 * line
    x = max(0, min(detection.box[0], size[0] - width))
    y = detection.box[1] - height
    if y < 0:
        y = min(detection.box[1], size[1] - height)
    canvas.rectangle((x, y, x + width, y + height), fill=colour)
    canvas.text((x + 2 * line, y + 2 * line - top), text, font=font, fill=(255, 255, 255))
