"""Photos: from anything that shows one to the int8 tensor that the network reads.

The only image processing outside the network is here: decode, orient, stretch to the input size. The same functions serve
training, evaluation and the detector, so that all see the same pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from codenet.errors import FormatError

Source: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"

GREY = 114
"""Brightness behind transparent pixels: the value that the network reads as zero."""

BILINEAR = getattr(Image, "Resampling", Image).BILINEAR  # Pillow 9.0 has no Resampling.

ORIENTATION = 0x0112
"""EXIF tag: 1 upright, 2 to 8 turned or mirrored."""


@dataclass(frozen=True)
class Stretched:
    """A photo at the size of the network's input (:func:`stretch`).

    Attributes
    ----------
    image:
        RGB; with ``swapped``, blue and red in each other's place.
    photo_size:
        Height and width that the upright photo had.
    """

    image: Image.Image
    photo_size: tuple[int, int]
    swapped: bool

    def write(self, pixels: np.ndarray) -> None:
        """Write into an accelerator's input, uint8 ``[height, width, 4]`` (:attr:`codenet.runtime.accelerator.Accelerator.pixels`)."""
        raw = self.image.tobytes("raw", "BGRX" if self.swapped else "RGBX")
        np.bitwise_xor(np.frombuffer(raw, np.uint8).reshape(pixels.shape), 0x80, out=pixels)


def load(source: Source) -> Image.Image:
    """Photo as an upright RGB image.

    Parameters
    ----------
    source:
        Path of an image file, a PIL image, or a uint8 array ``[H, W]`` (grey), ``[H, W, 3]`` (RGB) or ``[H, W, 4]`` (RGBA).
        Orientation tags are applied, 16-bit grey is scaled to 8 bits, transparent pixels are laid over grey 114. Of an
        animation the current (first) frame is taken.

    Raises
    ------
    FormatError
        Not an image, truncated, corrupted, of zero size, or of a pixel type without a defined brightness.
    FileNotFoundError, PermissionError
        As the operating system says.
    """
    image = _rgb(source)
    own = type(image) is Image.Image and image is not source
    return image if own else image.copy()


def resize(photo: Image.Image, height: int, width: int) -> np.ndarray:
    """Stretch an RGB photo to the network's input: uint8 ``[height, width, 3]``, bilinear with antialiasing."""
    if photo.mode != "RGB":
        raise FormatError(f"photo of mode {photo.mode}: expected RGB (codenet.vision.image.load converts)")
    _check_size(photo, "photo")
    return np.array(photo.resize((width, height), BILINEAR))


def stretch(source: Source, height: int, width: int) -> Stretched:
    """The pixels of ``resize(load(source), height, width)``, in fewer passes over the photo.

    Nothing is copied that stands upright and is RGB already; an RGB view of a BGR array (``frame[..., ::-1]``, as OpenCV's
    frames need) is read as it lies in memory, and swapped when it is small. Pillow's ``draft`` and ``reducing_gap`` would be
    faster on large photos, but give other pixels.

    Raises
    ------
    FormatError, FileNotFoundError, PermissionError
        As of :func:`load`.
    """
    swapped = isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] == 3 and source.strides[2] < 0
    image = _rgb(source[..., ::-1] if swapped else source)  # type: ignore[index]
    return Stretched(image.resize((width, height), BILINEAR), (image.height, image.width), swapped)


def to_activation(rgb: np.ndarray) -> np.ndarray:
    """The network's input tensor, int8 ``[H, W, 3]``: ``q = pixel - 128`` of uint8 ``[H, W, 3]``."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise FormatError(f"pixels of {rgb.dtype} {list(rgb.shape)}: expected uint8 [H, W, 3]")
    return (rgb ^ 0x80).view(np.int8)


def _rgb(source: Source) -> Image.Image:
    """As :func:`load`, but maybe the source itself."""
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), "photo")
    if isinstance(source, Image.Image):
        return _decoded(source, "photo")
    if not isinstance(source, str | os.PathLike):
        raise FormatError(f"photo of type {type(source).__name__}: expected a path, a PIL image or a uint8 array")
    if Path(source).is_dir():
        raise FormatError(f"photo {source}: is a folder, expected an image file")
    with Path(source).open("rb") as file:
        return _decoded(file, f"photo {source}")


def _decoded(source: Image.Image | BinaryIO, name: str) -> Image.Image:
    try:
        image = source if isinstance(source, Image.Image) else Image.open(source)
        _check_size(image, name)
        # A TIFF is turned while it is loaded (and Pillow 9.0 would then turn it once more).
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) != 1
        image = ImageOps.exif_transpose(image) if turned else image
        image.load()
        return _to_rgb(image, name)
    except FormatError:
        raise
    except Exception as error:  # Decoders raise whatever they trip over in a broken file.
        raise FormatError(f"{name}: expected an image, found something else or a broken one ({error})") from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise FormatError(f"photo array of {array.dtype}: expected uint8")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise FormatError(f"photo array of shape {list(array.shape)}: expected [H, W], [H, W, 3] or [H, W, 4]")
    if array.size == 0:
        raise FormatError(f"photo array of shape {list(array.shape)}: expected at least one pixel")
    return Image.fromarray(array)


def _check_size(image: Image.Image, name: str) -> None:
    if image.width == 0 or image.height == 0:
        raise FormatError(f"{name}: size {image.width}x{image.height}, expected at least one pixel")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_16_bit(image, name)
    elif image.mode == "F":
        raise FormatError(f"{name}: floating-point pixels, expected 8 or 16 bits")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        photo = image.convert("RGBA")
        ground = Image.new("RGBA", photo.size, (GREY, GREY, GREY, 255))
        image = Image.alpha_composite(ground, photo)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise FormatError(f"{name}: pixel values from {low} to {high}, expected 8 or 16 bits")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
