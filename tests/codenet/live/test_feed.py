# SPDX-License-Identifier: Apache-2.0
"""Frames that come as they happen: the newest counts, and silence is told."""

import sys
import threading
import types
from itertools import islice

import numpy as np
import pytest

from codenet.errors import DeviceError
from codenet.live.feed import feed, newest
from tests.codenet.live.stage import until


class Camera:
    """Yields what it is given, when it is given, and notes when it is closed."""

    def __init__(self):
        self.go, self.given, self.closed = threading.Semaphore(0), 0, threading.Event()

    def __iter__(self):
        try:
            while True:
                self.go.acquire()
                self.given += 1
                yield self.given
        finally:
            self.closed.set()

    def give(self, count):
        before = self.given
        for _ in range(count):
            self.go.release()
        until(lambda: self.given == before + count)


def test_frames_that_nobody_waited_for_are_dropped():
    camera = Camera()
    frames = newest(iter(camera), "camera x")
    camera.go.release()
    assert next(frames) == 1
    camera.give(10)
    first = next(frames)
    assert first in (10, 11)  # The thread may not yet have put down the last one.
    camera.give(1)
    assert until(lambda: next(frames)) > first
    frames.close()
    camera.go.release()
    assert camera.closed.wait(20)


def test_silent_camera_is_lost():
    camera = Camera()
    frames = newest(iter(camera), "camera rtsp://x", silence=0.05)
    with pytest.raises(DeviceError, match="camera rtsp://x: no frame for 0.05 s"):
        next(frames)
    camera.go.release()
    assert camera.closed.wait(20)


def test_failure_of_the_camera_comes_after_its_last_frame():
    def camera():
        yield 1
        raise DeviceError("camera x: has stopped")

    frames = newest(camera(), "camera x")
    with pytest.raises(DeviceError, match="has stopped"):
        assert list(frames) == [1]
    assert list(newest(iter(x for x in ()), "camera x")) == []


@pytest.fixture
def opencv(monkeypatch):
    """Stands in for OpenCV: a camera that shows black."""
    made = []

    class Capture:
        def __init__(self, source):
            self.source = source
            made.append(self)

        def isOpened(self):
            return True

        def set(self, name, value):
            pass

        def read(self):
            return True, np.zeros((4, 6, 3), np.uint8)

        def release(self):
            pass

    names = {name: name for name in ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT", "CAP_PROP_BUFFERSIZE")}
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=Capture, **names))
    return made


@pytest.mark.parametrize(
    ("source", "name", "opened"),
    [
        (0, "camera 0", 0),
        ("1", "camera 1", 1),
        ("/dev/null", "camera /dev/null", "/dev/null"),
        ("rtsp://me:secret@x/1", "camera rtsp://me:...@x/1", "rtsp://me:secret@x/1"),
    ],
)
def test_cameras_last_and_keep_their_password(opencv, source, name, opened):
    camera = feed(source)
    assert camera.name == name and camera.lasting and not opencv
    frames = camera.open()
    assert [frame.shape for frame in islice(frames, 2)] == [(4, 6, 3)] * 2
    assert opencv[0].source == opened
    # OpenCV keeps old frames of cameras in a network.
    names = [thread.name for thread in threading.enumerate()]
    assert not str(source).startswith("rtsp") or "codenet-camera" in names
    frames.close()


def test_files_end(opencv, tmp_path):
    photos = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    photos[0].touch()
    some = feed(tmp_path, photos, loop=True)
    assert (some.name, some.lasting, some.loop) == (str(tmp_path), False, True)
    assert list(some.open()) == list(some.open()) == photos
    (tmp_path / "film.mp4").touch()
    film = feed(tmp_path / "film.mp4")
    assert (film.name, film.lasting) == (f"video {tmp_path / 'film.mp4'}", False)
    assert next(film.open()).shape == (4, 6, 3)


@pytest.mark.parametrize("name", ["no.jpg", "no.mp4", "no"])
def test_files_that_are_not_there(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no such camera, folder, photo or video"):
        feed(tmp_path / name, [tmp_path / name])
