# SPDX-License-Identifier: Apache-2.0
"""Photos: from anything that shows one to the int8 tensor that the network reads.

The only image processing outside the network is here: decode, orient, fit into the input. The same functions
serve training, evaluation and the detector, so that all see the same pixels.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from codenet.errors import ConfigError, FormatError
from codenet.fit import STRETCH, Placement, place

logger = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"

Levels: TypeAlias = "tuple[int, int]"
"""Of pixels of more than 8 bits: the values that are black and white."""

FULL_RANGE: Levels = (0, 65535)

GREY = 114
"""Brightness behind transparent pixels: the value that the network reads as zero."""

BILINEAR = getattr(Image, "Resampling", Image).BILINEAR  # Pillow 9.0 has no Resampling.

ORIENTATION = 0x0112
"""EXIF tag: 1 upright, 2 to 8 turned or mirrored."""

IMAGE_WIDTH, IMAGE_LENGTH = 0x0100, 0x0101
"""TIFF tags: size as stored."""

_opening = threading.Lock()
"""Filters of warnings are the process's."""


@dataclass(frozen=True)
class Prepared:
    """A photo at its size in the network's input (:func:`prepare`).

    Attributes
    ----------
    image:
        RGB; with ``swapped``, blue and red in each other's place.
    placement:
        Where in the input it lies.
    """

    image: Image.Image
    placement: Placement
    swapped: bool

    def write(self, pixels: np.ndarray) -> None:
        """Write into an accelerator's input, uint8 ``[height, width, 4]``
        (:attr:`codenet.runtime.accelerator.Accelerator.pixels`).
        """
        raw = self.image.tobytes("raw", "BGRX" if self.swapped else "RGBX")
        if not self.placement.whole:
            pixels[:] = GREY ^ 0x80
        shown = _shown(pixels, self.placement)
        np.bitwise_xor(np.frombuffer(raw, np.uint8).reshape(shown.shape), 0x80, out=shown)


def load(source: Source, *, levels: Levels | None = None) -> Image.Image:
    """Photo as an upright RGB image.

    Parameters
    ----------
    source:
        Path of an image file, a PIL image, or a uint8 array ``[H, W]`` (grey), ``[H, W, 3]`` (RGB) or ``[H, W, 4]``
        (RGBA); or a uint16 array ``[H, W]``. Orientation tags are applied, transparent pixels are laid over grey 114.
        Of an animation the current (first) frame is taken.

        OpenCV's frames are blue, green, red: of ``[H, W, 3]`` give ``frame[..., ::-1]``, of ``[H, W, 4]`` (BGRA)
        ``frame[..., [2, 1, 0, 3]]``, and of ``[H, W]`` the frame itself. The shape says what an array is; grey and RGBA
        arrays whose last axis is reversed are refused, as they would be mirrored, or have alpha for red.
    levels:
        Of grey photos of more than 8 bits: the values that are black and white; what lies beyond is cut off. By default
        0 and 65535, with a warning (logged) if the photo uses less than half of that. Photos of 8 bits stay as they
        are.

    Raises
    ------
    FormatError
        Not an image, truncated, corrupted, of zero size, or of a pixel type without a defined brightness.
    ConfigError
        White is not above black.
    FileNotFoundError, PermissionError
        As the operating system says.
    """
    image = _rgb(source, levels)
    own = type(image) is Image.Image and image is not source
    return image if own else image.copy()


def resize(photo: Image.Image, height: int, width: int, fit: str = STRETCH) -> np.ndarray:
    """Fit an RGB photo into the network's input: uint8 ``[height, width, 3]``, bilinear with antialiasing.

    ``fit``: one of :data:`codenet.fit.FITS`; beside a letterboxed photo is grey 114.
    """
    if photo.mode != "RGB":
        raise FormatError(f"photo of mode {photo.mode}: expected RGB (codenet.vision.image.load converts)")
    _check_size(photo, "photo")
    placement = place((photo.height, photo.width), (height, width), fit)
    small = _scaled(photo, placement)
    if placement.whole:
        return np.array(small)
    pixels = np.full((height, width, 3), GREY, np.uint8)
    _shown(pixels, placement)[:] = small
    return pixels


def prepare(source: Source, height: int, width: int, fit: str = STRETCH, *, levels: Levels | None = None) -> Prepared:
    """The pixels of ``resize(load(source, levels=levels), height, width, fit)``, in fewer passes over the photo.

    Nothing is copied that stands upright and is RGB already; an RGB view of a BGR array (``frame[..., ::-1]``, as
    OpenCV's frames need) is read as it lies in memory, and swapped when it is small. Pillow's ``draft`` and
    ``reducing_gap`` would be faster on large photos, but give other pixels.

    Raises
    ------
    FormatError, ConfigError, FileNotFoundError, PermissionError
        As of :func:`load`.
    """
    swapped = isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] == 3 and source.strides[2] < 0
    image = _rgb(source[..., ::-1] if swapped else source, levels)  # type: ignore[index]
    placement = place((image.height, image.width), (height, width), fit)
    return Prepared(_scaled(image, placement), placement, swapped)


def _scaled(image: Image.Image, placement: Placement) -> Image.Image:
    """Rows first, then columns, each rounded: in one call, versions of Pillow differ in which is first."""
    return image.resize((placement.width, image.height), BILINEAR).resize((placement.width, placement.height), BILINEAR)


def to_activation(rgb: np.ndarray) -> np.ndarray:
    """The network's input tensor, int8 ``[H, W, 3]``: ``q = pixel - 128`` of uint8 ``[H, W, 3]``."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise FormatError(f"pixels of {rgb.dtype} {list(rgb.shape)}: expected uint8 [H, W, 3]")
    return (rgb ^ 0x80).view(np.int8)


def _shown(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    """The part of an input's ``pixels`` that shows the photo."""
    top, left = placement.top, placement.left
    return pixels[top : top + placement.height, left : left + placement.width]


def check_levels(levels: Levels | None) -> None:
    """ConfigError unless black is below white."""
    if levels is not None and not levels[0] < levels[1]:
        raise ConfigError(f"levels {levels[0]} and {levels[1]}: expected black below white")


def _rgb(source: Source, levels: Levels | None) -> Image.Image:
    """As :func:`load`, but maybe the source itself."""
    check_levels(levels)
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), "photo", levels)
    if isinstance(source, Image.Image):
        return _decoded(source, "photo", levels)
    if not isinstance(source, str | os.PathLike):
        raise FormatError(f"photo of type {type(source).__name__}: expected a path, a PIL image or a uint8 array")
    if Path(source).is_dir():
        raise FormatError(f"photo {source}: is a folder, expected an image file")
    with Path(source).open("rb") as file:
        return _decoded(file, f"photo {source}", levels)


def _decoded(source: Image.Image | BinaryIO, name: str, levels: Levels | None) -> Image.Image:
    try:
        image = source if isinstance(source, Image.Image) else open_image(source)
        _check_size(image, name)
        _check_strips(image, name)
        halved = _has_16_bit_colours(image)
        # A TIFF is turned while it is loaded (and Pillow 9.0 would then turn it once more).
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) != 1
        image = ImageOps.exif_transpose(image) if turned else image
        image.load()
        if halved:
            _check_colours(image, name, levels)
        return _to_rgb(image, name, levels)
    except (FormatError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        pixels, limit = (re.findall(r"\d+", str(error)) + ["?", "?"])[:2]
        raise FormatError(f"{name}: has {pixels} pixels, expected at most {limit}; scale it down first") from error
    except UnidentifiedImageError as error:
        raise FormatError(f"{name}: expected an image, found something else or a broken one") from error
    except Exception as error:  # Decoders raise whatever they trip over in a broken file.
        raise FormatError(f"{name}: expected an image, found something else or a broken one ({error})") from error


def open_image(file: BinaryIO | Path) -> Image.Image:
    """``PIL.Image.open`` without its warning that a large photo may be an attack; raises what it raises."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file)


def _from_array(array: np.ndarray) -> Image.Image:
    shape = list(array.shape)
    if array.dtype != np.uint8 and not (array.dtype == np.uint16 and array.ndim == 2):
        raise FormatError(f"photo array of {array.dtype} {shape}: expected uint8, or uint16 [H, W]")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise FormatError(f"photo array of shape {shape}: expected [H, W], [H, W, 3] or [H, W, 4]")
    if array.size == 0:
        raise FormatError(f"photo array of shape {shape}: expected at least one pixel")
    if array.strides[-1] >= 0 or array.shape[-1] == 1:
        return Image.fromarray(array)
    if array.shape[2:] != (3,):
        raise FormatError(_reversed_text(shape))
    # NumPy's copy of a view of BGR goes pixel by pixel, Pillow's does not.
    bgr = np.ascontiguousarray(array[..., ::-1])
    return Image.frombuffer("RGB", (shape[1], shape[0]), bgr, "raw", "BGR", 0, 1)


def _reversed_text(shape: list[int]) -> str:
    if len(shape) == 2:
        return (
            f"photo array {shape} (grey) with its columns reversed, as frame[..., ::-1] makes it: grey has no colours "
            f"to reverse, expected the frame itself (mirrored on purpose: np.fliplr(frame).copy())"
        )
    return (
        f"photo array {shape} (RGBA) with its channels reversed, as frame[..., ::-1] makes it: alpha would be red, "
        f"expected frame[..., [2, 1, 0, 3]] of a BGRA frame, or frame[..., 2::-1] without alpha"
    )


def _check_size(image: Image.Image, name: str) -> None:
    if image.width == 0 or image.height == 0:
        raise FormatError(f"{name}: size {image.width}x{image.height}, expected at least one pixel")


def _check_strips(image: Image.Image, name: str) -> None:
    """Of a TIFF: its strips or tiles reach to its end. Pillow leaves black what none covers."""
    ends = [tile[1][2:] for tile in getattr(image, "tile", ()) if tile[1]]
    if image.format != "TIFF" or not ends:  # None: it has been loaded.
        return
    tags = image.tag_v2  # type: ignore[attr-defined]  # ``image.size`` is that of the photo turned.
    width, height = int(tags[IMAGE_WIDTH]), int(tags[IMAGE_LENGTH])
    right, bottom = map(max, zip(*ends, strict=True))
    if right < width or bottom < height:
        raise FormatError(
            f"{name}: a TIFF of {width}x{height} pixels, whose strips or tiles cover {right}x{bottom}: expected all"
        )


def _to_rgb(image: Image.Image, name: str, levels: Levels | None) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_16_bit(image, name, levels)
    elif image.mode == "F":
        raise FormatError(f"{name}: floating-point pixels, expected 8 or 16 bits")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        photo = image.convert("RGBA")
        ground = Image.new("RGBA", photo.size, (GREY, GREY, GREY, 255))
        image = Image.alpha_composite(ground, photo)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image, name: str, levels: Levels | None) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    black, white = levels or FULL_RANGE
    if levels is None:
        if low < black or high > white:
            raise FormatError(
                f"{name}: pixel values from {low} to {high}, expected 8 or 16 bits; levels=(black, white) says what "
                f"they mean"
            )
        _warn_of_range(name, low, high)
    values = np.clip(values, black, white) - black
    return Image.fromarray(((values * 255 + (white - black) // 2) // (white - black)).astype(np.uint8))


def _warn_of_range(name: str, low: int, high: int) -> None:
    """If pixels from ``low`` to ``high`` use less than half of 16 bits, as those of 10 or 12 bits do, or of thermal
    cameras.
    """
    black, white = FULL_RANGE
    if 2 * (high - low) < white - black and not low == high == black:
        logger.warning(
            "%s: its values go from %d to %d of %d to %d, and show little contrast; levels=(black, white) says what "
            "they mean, for codenet detect --levels BLACK WHITE",
            *(name, low, high, black, white),
        )


def _has_16_bit_colours(image: Image.Image) -> bool:
    """Whether ``image``, not loaded yet, has colours of which Pillow keeps the upper 8 bits only."""
    raw_modes = (str(tile[3]) for tile in getattr(image, "tile", ()))
    return not image.mode.startswith("I") and any(";16" in mode for mode in raw_modes)


def _check_colours(image: Image.Image, name: str, levels: Levels | None) -> None:
    if levels is not None:
        raise FormatError(f"{name}: 16 bits a colour: levels are for grey photos, convert it to 8 bits first")
    extrema = np.array(image.getextrema()).reshape(-1, 2)[: 1 if image.mode.startswith("L") else 3]
    _warn_of_range(name, 256 * int(extrema[:, 0].min()), 256 * int(extrema[:, 1].max()) + 255)
