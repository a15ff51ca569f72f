# SPDX-License-Identifier: Apache-2.0
"""Where things lie in a program's memory: the tensors of the graph, and the input image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codenet.config import CHUNK, LANES, VECTOR_BYTES
from codenet.errors import GraphError
from codenet.fit import FITS, STRETCH
from codenet.graph import INPUT_ZERO_POINT


@dataclass(frozen=True)
class PlacedTensor:
    """Where a tensor of the graph lies once its step has finished.

    Attributes
    ----------
    name, height, width, channels, dtype, scale, zero_point:
        As in the graph: ``int8`` or ``int16`` ``[height, width, channels]``.
    step:
        Index of the step whose end completes the tensor.
    planes:
        Byte offset of each plane that carries a channel.
    index:
        int32 ``[channels]``: ``plane * lanes + lane`` of each channel; 16 lanes a plane for int8, 8 for int16.
    upsample:
        1 if stored at half height and width (nearest neighbour gives the tensor), else 0.
    live_until:
        Last step at whose end all of it is still there (memory that no later step reads may serve another tensor); the
        number of steps for outputs.
    """

    name: str
    height: int
    width: int
    channels: int
    dtype: str
    scale: float
    zero_point: int
    step: int
    planes: tuple[int, ...]
    index: np.ndarray
    upsample: int
    live_until: int

    @property
    def lanes(self) -> int:
        """Channels of one plane."""
        return LANES if self.dtype == "int8" else CHUNK

    def read(self, memory: np.ndarray) -> np.ndarray:
        """The tensor ``[height, width, channels]`` from ``memory`` (uint8, from the base address)."""
        height, width = self.height >> self.upsample, self.width >> self.upsample
        out = np.empty((height, width, self.channels), dtype=self.dtype)
        plane_of, lane_of = np.divmod(self.index, self.lanes)
        for number, offset in enumerate(self.planes):
            chosen = np.flatnonzero(plane_of == number)
            data = memory[offset : offset + height * width * VECTOR_BYTES].view(np.dtype(self.dtype).newbyteorder("<"))
            out[..., chosen] = data.reshape(height, width, self.lanes)[..., lane_of[chosen]]
        return out.repeat(2, axis=0).repeat(2, axis=1) if self.upsample else out

    def read_pixels(self, memory: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """``[len(y), channels]``: the tensor at the pixels (y[n], x[n]), without touching the others."""
        y, x = np.asarray(y, dtype=np.int64) >> self.upsample, np.asarray(x, dtype=np.int64) >> self.upsample
        pixels = y * (self.width >> self.upsample) + x
        out = np.empty((len(pixels), self.channels), dtype=self.dtype)
        plane_of, lane_of = np.divmod(self.index, self.lanes)
        size = (self.height >> self.upsample) * (self.width >> self.upsample) * VECTOR_BYTES
        for number, offset in enumerate(self.planes):
            chosen = np.flatnonzero(plane_of == number)
            data = memory[offset : offset + size].view(np.dtype(self.dtype).newbyteorder("<")).reshape(-1, self.lanes)
            out[:, chosen] = data[pixels[:, None], lane_of[chosen]]
        return out


@dataclass(frozen=True)
class InputLayout:
    """Where the image goes: 4 bytes a pixel, with a border of one row above and one pixel at the left of the zero
    point.

    Pixel (y, x) lies at ``offset + (y + 1) * row_bytes + 4 * (x + 1)``: int8 red, green, blue (``p - 128``), and a byte
    that counts for nothing.

    ``fit``: how a photo becomes the image, one of :data:`codenet.fit.FITS`.
    """

    offset: int
    row_bytes: int
    height: int
    width: int
    fit: str = STRETCH

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise GraphError(f"image fit {self.fit!r}: expected one of {FITS}")

    @property
    def text(self) -> str:
        """Height, width and fit for people, ``"photos to 384x640 (letterbox)"``."""
        return f"photos to {self.height}x{self.width} ({self.fit})"

    @property
    def size(self) -> int:
        """Bytes of the whole buffer."""
        return (self.height + 1) * self.row_bytes

    def write(self, memory: np.ndarray, image: np.ndarray) -> None:
        """Write ``image`` (int8 ``[height, width, 3]``) and its border into ``memory`` (uint8, from the base address).

        Raises
        ------
        GraphError
            Wrong shape or dtype.
        """
        if image.dtype != np.int8 or image.shape != (self.height, self.width, 3):
            raise GraphError(
                f"image is {image.dtype} {list(image.shape)}: expected int8 {[self.height, self.width, 3]}"
            )
        rows = memory[self.offset : self.offset + self.size].view(np.int8).reshape(self.height + 1, self.row_bytes)
        rows[0] = INPUT_ZERO_POINT
        rows[:, :4] = INPUT_ZERO_POINT
        rows[:, 4 * (self.width + 1) :] = INPUT_ZERO_POINT
        pixels = np.full((self.height, self.width, 4), INPUT_ZERO_POINT, dtype=np.int8)
        pixels[..., :3] = image
        rows[1:, 4 : 4 * (self.width + 1)] = pixels.reshape(self.height, 4 * self.width)
