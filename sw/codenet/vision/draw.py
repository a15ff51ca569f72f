# SPDX-License-Identifier: Apache-2.0
"""Detections drawn over their photo."""

from __future__ import annotations

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from codenet.vision.boxes import Detection
from codenet.vision.image import Levels, Source, load

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


def draw(photo: Source, detections: Iterable[Detection], *, levels: Levels | None = None) -> Image.Image:
    """Copy of the photo (as :func:`codenet.vision.image.load` takes it) with a box, class and score for each detection.

    Line and letter sizes follow the photo's. The best detections are drawn last, over the others.
    """
    image = load(photo, levels=levels)
    canvas = ImageDraw.Draw(image)
    line, letters = _line(image), _letters(image)
    for detection in sorted(detections, key=lambda d: d.score):
        colour = COLOURS[detection.class_index % len(COLOURS)]
        canvas.rectangle(detection.box, outline=colour, width=line)
        _label(canvas, image.size, detection, letters, colour, line)
    return image


def caption(image: Image.Image, text: str) -> None:
    """Write a line of text into the lower left corner of an RGB image."""
    tag = _text(text, _letters(image))
    line = _line(image)
    _paste(ImageDraw.Draw(image), tag, 0, image.height - tag.height - 4 * line, (0, 0, 0), line)


def _line(image: Image.Image) -> int:
    return max(1, round(min(image.size) / 160))


def _letters(image: Image.Image) -> int:
    return max(12, round(min(image.size) / 26))


def _label(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    detection: Detection,
    letters: int,
    colour: tuple[int, int, int],
    line: int,
) -> None:
    """A filled tag above the box, or inside it where the photo ends."""
    text = _text(f"{detection.label} {100 * detection.score:.0f} %", letters)
    width, height = text.width + 4 * line, text.height + 4 * line
    x = max(0, min(detection.box[0], size[0] - width))
    y = detection.box[1] - height
    if y < 0:
        y = min(detection.box[1], size[1] - height)
    _paste(canvas, text, x, y, colour, line)


def _paste(
    canvas: ImageDraw.ImageDraw, text: Image.Image, x: float, y: float, colour: tuple[int, int, int], line: int
) -> None:
    """Text, in white, with a margin of two lines on a ground of ``colour``."""
    canvas.rectangle((x, y, x + text.width + 4 * line, y + text.height + 4 * line), fill=colour)
    canvas.bitmap((int(x) + 2 * line, int(y) + 2 * line), text, fill=(255, 255, 255))


def _text(text: str, letters: int) -> Image.Image:
    """Text of a height in pixels, 255 on 0, mode L, with room at the left as in a line of text."""
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont
    try:
        font = ImageFont.load_default(size=letters)
    except TypeError:  # Before Pillow 10.1 there is only a font of dots, 11 pixels high.
        font = ImageFont.load_default()
        mask = font.getmask(text)
        image = Image.new("L", mask.size)
        image.im.paste(mask, (0, 0, *mask.size))
        factor = max(1, round(letters / 11))
        return image.resize((factor * image.width, factor * image.height))
    _, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (math.ceil(right), math.ceil(bottom - top)))
    ImageDraw.Draw(image).text((0, -top), text, font=font, fill=255)
    return image
