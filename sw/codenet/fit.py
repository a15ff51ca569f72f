# SPDX-License-Identifier: Apache-2.0
"""How a photo is fitted into the network's input: the one geometry for training, evaluation and the runtime."""

from __future__ import annotations

from dataclasses import dataclass

STRETCH, LETTERBOX = "stretch", "letterbox"

FITS = (STRETCH, LETTERBOX)
"""Ways to fit a photo: to the whole input, whatever that does to its aspect ratio; or as large as it fits with its
aspect ratio, in the middle, with grey beside it.
"""


@dataclass(frozen=True)
class Placement:
    """Where a photo lies in an input.

    Attributes
    ----------
    photo_size, input_size:
        Height and width in pixels.
    top, left, height, width:
        The input's pixels that show the photo; all others are grey.
    """

    photo_size: tuple[int, int]
    input_size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @property
    def whole(self) -> bool:
        """Whether the photo fills the input."""
        return (self.height, self.width) == self.input_size

    @property
    def frame(self) -> tuple[float, float]:
        """Width and height of the input in units of the photo's sides; 1 and 1 if the photo fills it."""
        return self.input_size[1] / self.width, self.input_size[0] / self.height


def place(photo_size: tuple[int, int], input_size: tuple[int, int], fit: str = STRETCH) -> Placement:
    """Where a photo of ``photo_size`` lies in an input of ``input_size`` (height and width, pixels).

    A letterboxed photo fills the input in the direction in which it is the longer one; the other side is rounded half
    up, at least one pixel, and of an odd number of grey pixels the last row or column gets one more.
    """
    height, width = input_size
    if fit == LETTERBOX:
        rows, columns = photo_size
        if columns * height >= rows * width:
            height = max(1, (2 * rows * width + columns) // (2 * columns))
        else:
            width = max(1, (2 * columns * height + rows) // (2 * rows))
    return Placement(photo_size, input_size, (input_size[0] - height) // 2, (input_size[1] - width) // 2, height, width)
