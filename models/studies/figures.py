# SPDX-License-Identifier: Apache-2.0
"""Pictures of what networks sample, drawn with Pillow: how often each distance occurs, and the nine places of some
pixels on their photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codenet.vision.draw import COLOURS

#: Picture of a histogram, in pixels: bars of one layer, gap between layers, height of the bars, margins.
_BAR, _GAP, _HEIGHT, _MARGIN = 26, 46, 180, 40

#: Bars of distances whose nine samples share banks of the accelerator's window.
_CONFLICT = (209, 73, 91)
_PLAIN = (59, 111, 182)

#: Photos are enlarged to at least this height and width, so that dots are small beside objects.
_SMALLEST_SIDE = 480


def histogram_picture(histograms: Mapping[str, np.ndarray], first: int, conflicts: Sequence[int] = ()) -> Image.Image:
    """Bars in percent of a layer's pixels, a group a layer.

    ``histograms``: counts ``[K]`` of the distances ``first``, ``first + 1`` ..., by layer. Those among ``conflicts``
    have another colour.
    """
    length = max(len(counts) for counts in histograms.values())
    group = length * _BAR + _GAP
    picture = Image.new("RGB", (2 * _MARGIN + len(histograms) * group - _GAP, _HEIGHT + 3 * _MARGIN), "white")
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    base = _MARGIN + _HEIGHT
    for number, (name, counts) in enumerate(histograms.items()):
        left = _MARGIN + number * group
        canvas.text((left, base + 30), name, fill="black", font=font)
        for k, share in enumerate(counts / max(1, counts.sum())):
            x, top = left + k * _BAR, base - round(_HEIGHT * float(share))
            colour = _CONFLICT if first + k in conflicts else _PLAIN
            canvas.rectangle((x + 2, top, x + _BAR - 3, base), fill=colour)
            canvas.text((x + _BAR / 2, base + 4), str(first + k), fill="black", font=font, anchor="ma")
            if share >= 0.005:
                canvas.text((x + _BAR / 2, top - 3), f"{100 * share:.0f}", fill="black", font=font, anchor="mb")
        canvas.line((left, base, left + length * _BAR, base), fill="black")
    return picture


@dataclass(frozen=True)
class Samples:
    """The nine places that a layer samples for one pixel: ``centre`` (x, y) and ``places`` float ``[9, 2]`` (x, y), as
    parts of the photo.
    """

    layer: str
    centre: tuple[float, float]
    places: np.ndarray


def sampling_picture(photo: Image.Image, samples: Sequence[Samples]) -> Image.Image:
    """The photo, enlarged if it is small, with a cross at each pixel and nine dots where its layer samples; a colour a
    layer.

    Places outside of the photo are drawn on a grey border, as wide as they need.
    """
    zoom = max(1.0, _SMALLEST_SIDE / min(photo.size))
    photo = photo.resize((round(photo.width * zoom), round(photo.height * zoom)), Image.Resampling.BICUBIC)
    layers = list(dict.fromkeys(sample.layer for sample in samples))
    points = np.concatenate([np.zeros((1, 2)), np.ones((1, 2)), *(sample.places for sample in samples)])
    margin = np.ceil(np.maximum(-points.min(axis=0), points.max(axis=0) - 1) * photo.size).astype(int) + 8
    font = ImageFont.load_default(size=15)
    legend = 22 * len(layers) + 8
    size = (photo.width + 2 * int(margin[0]), photo.height + 2 * int(margin[1]) + legend)
    picture = Image.new("RGB", size, (225, 225, 225))
    picture.paste(photo, (int(margin[0]), int(margin[1])))
    canvas = ImageDraw.Draw(picture)
    radius = max(3, min(photo.size) // 120)
    for sample in samples:
        colour = COLOURS[layers.index(sample.layer) % len(COLOURS)]
        for x, y in sample.places * photo.size + margin:
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white")
        x, y = np.array(sample.centre) * photo.size + margin
        canvas.line((x - 2 * radius, y, x + 2 * radius, y), fill="white", width=2)
        canvas.line((x, y - 2 * radius, x, y + 2 * radius), fill="white", width=2)
    for number, layer in enumerate(layers):
        top = size[1] - legend + 4 + 22 * number
        canvas.rectangle((8, top, 24, top + 16), fill=COLOURS[number % len(COLOURS)])
        canvas.text((32, top), layer, fill="black", font=font)
    return picture
