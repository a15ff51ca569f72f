# SPDX-License-Identifier: Apache-2.0
"""Frames to detect in: of a camera or a video, through OpenCV where it is installed, or of a folder of photos."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codenet.errors import DeviceError, FormatError
from codenet.vision.image import Source

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

VIDEO_SUFFIXES = {".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}

LOST_FRAMES = 5
"""So many reads that fail one after the other mean that the camera is gone."""


def frames(source: int | str | os.PathLike[str] = 0, *, size: tuple[int, int] = (640, 480)) -> Iterator[Source]:
    """Frames without end, but for videos.

    Parameters
    ----------
    source:
        Number of a camera (0: ``/dev/video0``), its device file, or the address of one in a network (``rtsp://...``):
        RGB arrays, uint8 ``[H, W, 3]``; grey cameras: ``[H, W]``. A video file: its frames, once. A folder: the paths
        of its photos by name, over and over; or one photo.
    size:
        Width and height to ask the camera for. It may deliver others. Smaller ones cost the processor less.

    Raises
    ------
    DeviceError
        OpenCV is not installed, or the camera cannot be opened, or delivers no pictures, or has stopped.
    FormatError
        A folder without photos, a video that OpenCV cannot read, or something that is no source of frames.
    FileNotFoundError
        No such file or folder.
    """
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if is_address(text):
            return _camera(text, without_password(text), size)
        path = Path(source)
        if is_camera(source):
            return _camera(text if path.exists() else int(text), text, size)
        if not path.exists():
            raise FileNotFoundError(2, "no such camera, folder, photo or video", str(path))
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return _video(path)
        return itertools.cycle(photos_in(path) if path.is_dir() else [path])
    if isinstance(source, bool) or not isinstance(source, int | np.integer) or source < 0:
        raise FormatError(
            f"camera {source!r}: expected a number from 0 on, an address, or the path of photos or a video"
        )
    return _camera(int(source), str(source), size)


def is_address(source: int | str | os.PathLike[str]) -> bool:
    """Whether a source of frames is a camera in a network."""
    return not isinstance(source, int) and "://" in os.fspath(source)


def is_camera(source: int | str | os.PathLike[str]) -> bool:
    """Whether frames of a source come as they happen: a number, an address, a device file."""
    if isinstance(source, int) or is_address(source):
        return True
    path = Path(source)
    return path.is_char_device() if path.exists() else os.fspath(source).isdecimal()


def is_photo(path: Path) -> bool:
    """Whether the name is that of a photo. macOS puts files of its own beside them, with ``._`` in front."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def photos_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Photos of a folder, by name.

    Raises
    ------
    FormatError
        There are none.
    """
    photos = sorted(path for path in Path(folder).iterdir() if is_photo(path))
    if not photos:
        raise FormatError(f"folder {folder}: has no photos ({', '.join(sorted(SUFFIXES))})")
    return photos


def _camera(source: int | str, name: str, size: tuple[int, int]) -> Iterator[np.ndarray]:
    cv2 = _opencv(f"camera {name}")
    capture = _opened(cv2, source)
    if capture is None:
        hint = (
            "does its address answer, and is the password right?"
            if "://" in name
            else "is it plugged in (ls /dev/video*), and not in use?"
        )
        raise DeviceError(f"camera {name}: cannot be opened; {hint}")
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # A frame that waits is an old one.
    return _read(capture, name)


def _video(path: Path) -> Iterator[np.ndarray]:
    capture = _opened(_opencv(f"video {path}"), str(path))
    first = None if capture is None else _picture(capture, f"video {path}")
    if capture is None or first is None:
        raise FormatError(f"video {path}: OpenCV finds no pictures in it")
    return _read_video(capture, first, f"video {path}")


def _read_video(capture: Any, picture: np.ndarray | None, name: str) -> Iterator[np.ndarray]:
    try:
        while picture is not None:
            yield picture
            picture = _picture(capture, name)
    finally:
        capture.release()


def _read(capture: Any, name: str) -> Iterator[np.ndarray]:
    try:
        lost = total = 0
        while lost < LOST_FRAMES:
            picture = _picture(capture, f"camera {name}")
            lost = 0 if picture is not None else lost + 1
            if picture is not None:
                total += 1
                yield picture
        what = "has stopped" if total else "delivers no pictures"
        raise DeviceError(f"camera {name}: {what}, {LOST_FRAMES} frames failed one after the other")
    finally:
        capture.release()


def _opencv(name: str) -> Any:
    try:
        import cv2
    except Exception as error:  # One that is made for another NumPy raises other things than ImportError, too.
        raise DeviceError(
            f"{name}: needs OpenCV (cv2), which cannot be imported here ({error}); PYNQ images have it, "
            f"Debian and Ubuntu: apt install python3-opencv"
        ) from error
    return cv2


def _opened(cv2: Any, source: int | str) -> Any:
    """A capture of OpenCV's; ``None`` if it cannot be opened, whatever it says."""
    try:
        capture = cv2.VideoCapture(source)
    except Exception:
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _picture(capture: Any, name: str) -> np.ndarray | None:
    """The next frame, RGB or grey; ``None`` if there is none, which some drivers call a success.

    Raises
    ------
    DeviceError
        Its pixels are of a kind that is no photo's.
    """
    try:
        good, frame = capture.read()
    except Exception as error:
        raise DeviceError(f"{name}: OpenCV fails to read a frame ({' '.join(str(error).split())})") from error
    if not good or not isinstance(frame, np.ndarray) or frame.size == 0:
        return None
    if frame.dtype == np.uint8 and (frame.ndim == 2 or frame.shape[2:] == (1,)):
        return frame.reshape(frame.shape[:2])
    if frame.dtype == np.uint8 and frame.shape[2:] in ((3,), (4,)):
        return frame[..., 2::-1]  # OpenCV's are blue, green, red; this is only another way of looking at them.
    raise DeviceError(f"{name}: delivers {frame.dtype} {list(frame.shape)}, expected uint8 [H, W] or [H, W, 3]")


def without_password(address: str) -> str:
    """An address as messages may have it."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:...@", address)
