# SPDX-License-Identifier: Apache-2.0
"""Operations of a graph, and the tensors that they make.

Every operation produces one tensor, named like the operation. Numbers are those of docs/numbers.md: an int8 activation
``q`` stands for ``scale * (q - zero_point)``; head outputs are int16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from codenet.fit import STRETCH

INPUT_ZERO_POINT = -14
"""Zero point of the image tensor ``q = pixel - 128``: grey 114 is zero, and is what padding reads."""

INPUT_SCALE = 1 / 64


@dataclass(frozen=True)
class Tensor:
    """Shape ``[height, width, channels]`` and meaning of a tensor of ``dtype`` ``int8`` or ``int16``."""

    name: str
    height: int
    width: int
    channels: int
    scale: float
    zero_point: int
    dtype: str = "int8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Requantize:
    """``y = clamp((acc * m + b) >> s, lo, hi)``; ``m`` int16 ``[C]``, ``b`` int64 ``[C]`` within 48 bits, the others
    scalars.

    ``lo`` and ``hi`` are within int8, or int16 for wide outputs.
    """

    m: np.ndarray
    b: np.ndarray
    s: int
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. ``name`` is also the name of its output; ``inputs`` are names of earlier operations."""

    name: str
    inputs: tuple[str, ...] = ()
    kind: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Input(Operation):
    """The image, int8 ``[height, width, 3]``: ``q = pixel - 128``.

    ``fit``: how a photo becomes it, one of :data:`codenet.fit.FITS`.
    """

    kind: ClassVar[str] = "input"
    height: int
    width: int
    fit: str = STRETCH


@dataclass(frozen=True, kw_only=True)
class Convolution(Operation):
    """Full convolution, kernel 1 or 3, padding ``kernel // 2`` with the input's zero point.

    ``weights`` int8 ``[O, K, K, I]``, within [-7, 7] (``weight_bits`` 4) or [-127, 127] (8). ``wide``: int16 output.
    """

    kind: ClassVar[str] = "convolution"
    weights: np.ndarray
    weight_bits: int = 4
    stride: int = 1
    requantize: Requantize
    scale: float
    zero_point: int
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Depthwise(Operation):
    """Depthwise 3x3, ``weights`` int8 ``[C, 3, 3]`` within [-7, 7]; with a second input, the dilation of each pixel.

    ``acc[y,x,c] = sum_ij w[c,i,j] * q[y*stride + i*d, x*stride + j*d, c]``, ``d`` = 1 or the second input (one channel,
    values 0 to 7, of the output's height and width; stride 1 only).
    """

    kind: ClassVar[str] = "depthwise"
    weights: np.ndarray
    stride: int = 1
    requantize: Requantize
    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class MaxPool(Operation):
    """Maximum of the 3x3 window, padding with the zero point (which must be the smallest value of the input)."""

    kind: ClassVar[str] = "max_pool"
    stride: int = 2


@dataclass(frozen=True, kw_only=True)
class Upsample(Operation):
    """Nearest-neighbour upsampling by 2: ``y[i, j] = x[i // 2, j // 2]``."""

    kind: ClassVar[str] = "upsample"


@dataclass(frozen=True, kw_only=True)
class Concat(Operation):
    """Concatenation of channels; all inputs share height, width, scale and zero point."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, kw_only=True)
class Slice(Operation):
    """Channels ``start`` to ``stop`` (exclusive)."""

    kind: ClassVar[str] = "slice"
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Shuffle(Operation):
    """ShuffleNet channel shuffle: ``y[k * groups + g] = x[g * (C // groups) + k]``."""

    kind: ClassVar[str] = "shuffle"
    groups: int = 2


KINDS: dict[str, type[Operation]] = {
    cls.kind: cls for cls in (Input, Convolution, Depthwise, MaxPool, Upsample, Concat, Slice, Shuffle)
}
