# SPDX-License-Identifier: Apache-2.0
"""Where the frames of a session come from, and what may happen to them: they end, or they come back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from codenet.errors import DeviceError
from codenet.vision.camera import (
    VIDEO_SUFFIXES,
    frames,
    is_address,
    is_camera,
    photos_in,
    without_password,
)
from codenet.vision.image import Source

SILENCE = 10.0
"""Seconds without a frame after which a camera in a network is lost."""


@dataclass(frozen=True)
class Feed:
    """Frames that can be opened again.

    Attributes
    ----------
    name:
        What messages call it, without passwords.
    open:
        Begins anew: a generator of frames, which raises :class:`codenet.errors.DeviceError` when the camera fails.
    lasting:
        A camera: it has no end, and after a failure it may come back.
    loop:
        What ends begins again.
    """

    name: str
    open: Callable[[], Iterator[Source]]
    lasting: bool
    loop: bool = False


def camera_feed(source: int | str | os.PathLike[str], size: tuple[int, int] = (640, 480)) -> Feed:
    """A camera, as :func:`codenet.vision.camera.frames` takes it.

    One in a network is read by a thread of its own, which keeps the newest frame only: others queue up where OpenCV
    reads them, and a detector that is slower than the camera would fall behind without end.
    """
    name = without_password(str(source))

    def open_camera() -> Iterator[Source]:
        return newest(frames(source, size=size), f"camera {name}") if is_address(source) else frames(source, size=size)

    return Feed(f"camera {name}", open_camera, lasting=True)


def file_feed(path: str | os.PathLike[str], photos: Sequence[Path] = (), *, loop: bool = False) -> Feed:
    """A video file, or ``photos`` under the name ``path``.

    Raises
    ------
    FileNotFoundError
        There is neither.
    """
    if Path(path).suffix.lower() in VIDEO_SUFFIXES and Path(path).is_file():
        return Feed(f"video {path}", lambda: frames(path), lasting=False, loop=loop)
    if not any(photo.exists() for photo in photos):
        raise FileNotFoundError(2, "no such camera, folder, photo or video", os.fspath(path))
    return Feed(str(path), lambda: (photo for photo in photos), lasting=False, loop=loop)


def feed(
    source: int | str | os.PathLike[str],
    photos: Sequence[Path] | None = None,
    *,
    size: tuple[int, int] = (640, 480),
    loop: bool = False,
) -> Feed:
    """Camera, video or photos, whichever ``source`` is.

    Parameters
    ----------
    photos:
        Those that ``source`` names; by default those of the folder, or the one photo.
    size:
        Width and height to ask a camera for.

    Raises
    ------
    FileNotFoundError
        No such camera, video, folder or photo.
    FormatError
        A folder without photos.
    """
    if is_camera(source):
        return camera_feed(source, size)
    path = Path(str(source))
    if photos is None:
        photos = photos_in(path) if path.is_dir() else [path]
    return file_feed(path, photos, loop=loop)


def newest(source: Iterator[Source], name: str, silence: float = SILENCE) -> Iterator[Source]:
    """The newest of ``source``'s frames each time one is asked for; those that nobody waited for are dropped.

    Raises
    ------
    DeviceError
        What ``source`` raises; or it has been silent for ``silence`` seconds.
    """
    slot = _Slot()
    threading.Thread(target=slot.fill, args=(source,), name="codenet-camera", daemon=True).start()
    try:
        while True:
            frame = slot.take(name, silence)
            if frame is None:
                return
            yield frame
    finally:
        slot.close()


class _Slot:
    """Room for one frame, between the thread that fills it and one that takes."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._frame: Source | None = None
        self._error: Exception | None = None
        self._closed = False

    def fill(self, source: Iterator[Source]) -> None:
        error = None
        try:
            with closing(source):  # type: ignore[type-var]
                for frame in source:
                    with self._change:
                        if self._closed:
                            return
                        self._frame = frame
                        self._change.notify()
        except Exception as failure:
            error = failure
        with self._change:
            self._error, self._closed = error, True
            self._change.notify()

    def take(self, name: str, silence: float) -> Source | None:
        with self._change:
            if not self._change.wait_for(lambda: self._frame is not None or self._closed, silence):
                raise DeviceError(f"{name}: no frame for {silence:g} s")
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def close(self) -> None:
        with self._change:
            self._closed = True
