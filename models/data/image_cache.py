# SPDX-License-Identifier: Apache-2.0
"""Images decoded once: all of a data set at one size, in a memory-mapped file."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from codenet.errors import CodenetError
from codenet.fit import STRETCH
from codenet.vision import image as photos
from models.data.annotations import DetectionData, Record

#: Problems that an error lists; more are counted.
_SHOWN = 20


def read_image(path: Path) -> Image.Image:
    """An upright RGB image; `CodenetError` naming the file for anything that does not decode."""
    try:
        return photos.load(path)
    except OSError as error:
        raise CodenetError(f"data: {path}: cannot be read: {error}") from error


def _read_checked(record: Record) -> Image.Image:
    """The image of a record; `CodenetError` if its size is not the annotation's, since the boxes would then lie
    elsewhere.
    """
    image = read_image(record.path)
    if image.size != (record.width, record.height):
        raise CodenetError(
            f"{record.path}: image is {image.width}x{image.height} after its orientation tag, annotated as "
            f"{record.width}x{record.height}: its boxes lie elsewhere"
        )
    return image


def cached_images(data: DetectionData, size: int | tuple[int, int], cache: Path, fit: str = STRETCH) -> np.ndarray:
    """All images fitted into ``size`` (height and width, or the side of a square; `codenet.vision.image.resize`): uint8
    ``[N, H, W, 3]``, a memory-mapped file in ``cache``.

    The file is named after the images' paths, sizes and times of change, so that changed data makes a new one. Making
    it is the check that all images decode and are as large as annotated: `CodenetError` lists all that do not, and says
    if there is no room for it.
    """
    height, width = (size, size) if isinstance(size, int) else size
    stamp = hashlib.sha256()
    for record in data:
        stat = record.path.stat()
        line = f"{record.path} {stat.st_size} {stat.st_mtime_ns} {record.width} {record.height}\n"
        stamp.update(line.encode())
    kind = (f"{height}x{width}" if height != width else f"{height}") + f"-{fit}" * (fit != STRETCH)
    path = cache / f"images-{kind}-{stamp.hexdigest()[:16]}.npy"
    if not path.is_file():
        # Several processes may come here at once; each writes a file of its own.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _fill(data, (height, width), fit, partial)
            partial.rename(path)
        except OSError as error:
            needed = len(data) * height * width * 3 / 1e6
            raise CodenetError(
                f"{path}: the decoded photos cannot be kept ({needed:.0f} MB): {error.strerror or error}; make room, "
                f"or take a smaller --cache-size"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new file of uint8 zeros, mapped into memory, whose space is reserved: writing to it cannot fail.

    Without that, the first store to a page that a full disk has no room for kills the process (SIGBUS).
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, offset + math.prod(shape))
        else:
            file.truncate(offset + math.prod(shape))
    return np.memmap(path, np.uint8, "r+", offset, shape)


def _fill(data: DetectionData, size: tuple[int, int], fit: str, path: Path) -> None:
    images = _allocate(path, (len(data), *size, 3))

    def place(index: int) -> str | None:
        try:
            images[index] = photos.resize(_read_checked(data.records[index]), *size, fit)
        except CodenetError as error:
            return str(error)
        return None

    # Threads: Pillow decodes and resizes without the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(place, range(len(data)))
        problems = [
            problem for problem in tqdm(found, total=len(data), desc="images", unit="img", mininterval=1) if problem
        ]
    if problems:
        more = f"\n  ... and {len(problems) - _SHOWN} more" * (len(problems) > _SHOWN)
        raise CodenetError(
            f"data: {len(problems)} of {len(data)} images cannot be used; replace them, or take them out of the split"
            + "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
            + more
        )
    images.flush()
