"""Frames to detect in: from a camera, through OpenCV where it is installed, or from a folder of photos."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codenet.errors import DeviceError, FormatError
from codenet.vision.image import Source

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

LOST_FRAMES = 5
"""So many reads that fail one after the other mean that the camera is gone."""


def frames(source: int | str | os.PathLike[str] = 0, *, size: tuple[int, int] = (640, 480)) -> Iterator[Source]:
    """Frames without end.

    Parameters
    ----------
    source:
        Number of a camera (0: ``/dev/video0``) or its device file: RGB arrays, uint8 ``[H, W, 3]``. Or a folder: the paths of its photos
        by name, over and over; or one photo.
    size:
        Width and height to ask the camera for. It may deliver others. Smaller ones cost the processor less.

    Raises
    ------
    DeviceError
        OpenCV is not installed, or the camera cannot be opened, or has stopped.
    FormatError
        A folder without photos.
    FileNotFoundError
        No such file or folder.
    """
    if isinstance(source, int):
        return _camera(source, size)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(2, "no such camera, folder or photo", str(path))
    if path.is_char_device():
        return _camera(str(path), size)
    photos = photos_in(path) if path.is_dir() else [path]
    return itertools.cycle(photos)


def photos_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Photos of a folder, by name.

    Raises
    ------
    FormatError
        There are none.
    """
    photos = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise FormatError(f"folder {folder}: has no photos ({', '.join(sorted(SUFFIXES))})")
    return photos


def _camera(source: int | str, size: tuple[int, int]) -> Iterator[np.ndarray]:
    try:
        import cv2
    except ImportError as error:
        raise DeviceError(
            f"camera {source}: needs OpenCV (cv2), which is not installed here ({error}); PYNQ images have it, "
            f"Debian and Ubuntu: apt install python3-opencv"
        ) from error
    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        capture.release()
        raise DeviceError(f"camera {source}: cannot be opened; is it plugged in (ls /dev/video*), and not in use?")
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # A frame that waits is an old one.
    return _read(capture, source)


def _read(capture: Any, source: int | str) -> Iterator[np.ndarray]:
    try:
        lost = 0
        while lost < LOST_FRAMES:
            good, frame = capture.read()
            lost = 0 if good else lost + 1
            if good:
                yield frame[..., ::-1]  # OpenCV's are blue, green, red; this is only another way of looking at them.
        raise DeviceError(f"camera {source}: has stopped, {LOST_FRAMES} frames failed one after the other")
    finally:
        capture.release()
