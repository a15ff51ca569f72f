# SPDX-License-Identifier: Apache-2.0
"""Cameras and videos as they come: pictures of every shape, none, and what people give for a camera."""

import sys
import types
from itertools import islice

import numpy as np
import pytest

from codenet.errors import DeviceError, FormatError
from codenet.vision.camera import LOST_FRAMES, frames, photos_in
from codenet.vision.image import load

BGR = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
RGB = BGR[..., ::-1]


@pytest.fixture
def opencv(monkeypatch):
    """Stands in for OpenCV: ``script`` is what reads return, an exception is raised; then nothing comes."""
    made = []

    class Capture:
        def __init__(self, source):
            if isinstance(cv2.opens, Exception):
                raise cv2.opens
            self.source, self.released = source, False
            made.append(self)

        def isOpened(self):
            return cv2.opens

        def set(self, name, value):
            pass

        def read(self):
            result = cv2.script.pop(0) if cv2.script else (False, None)
            if isinstance(result, Exception):
                raise result
            return result

        def release(self):
            self.released = True

    names = {name: name for name in ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT", "CAP_PROP_BUFFERSIZE")}
    cv2 = types.SimpleNamespace(VideoCapture=Capture, made=made, script=[], opens=True, **names)
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    return cv2


@pytest.mark.parametrize("nothing", [None, np.zeros((0, 0, 3), np.uint8), [], 0])
def test_success_and_no_picture(opencv, nothing):
    opencv.script[:] = [(True, nothing), (True, BGR), *[(True, nothing)] * LOST_FRAMES]
    source = frames(0)
    assert np.array_equal(next(source), RGB)
    with pytest.raises(DeviceError, match="camera 0: has stopped, 5 frames failed"):
        next(source)
    assert opencv.made[0].released
    opencv.script[:] = [(True, nothing)] * LOST_FRAMES
    with pytest.raises(DeviceError, match="camera 0: delivers no pictures, 5 frames failed"):
        next(frames(0))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (BGR, RGB),
        (np.dstack([BGR, BGR[..., 0]]), RGB),
        (BGR[..., 0], BGR[..., 0]),
        (BGR[..., :1], BGR[..., 0]),
    ],
    ids=["bgr", "bgra", "grey", "grey with a channel"],
)
def test_pictures_of_every_shape(opencv, frame, expected):
    opencv.script[:] = [(True, frame)]
    picture = next(frames(0))
    assert np.array_equal(picture, expected)
    shown = np.asarray(load(picture))
    assert np.array_equal(shown, expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize("frame", [BGR.astype(np.uint16), BGR[..., :2], BGR / 255, BGR[0, :, 0]])
def test_pictures_that_are_no_photos(opencv, frame):
    opencv.script[:] = [(True, frame)]
    with pytest.raises(DeviceError, match=r"camera 0: delivers .*expected uint8 \[H, W\] or \[H, W, 3\]"):
        next(frames(0))
    assert opencv.made[0].released


@pytest.mark.parametrize("number", [2, np.int64(2), np.uint8(2), "2"])
def test_numbers(opencv, number):
    frames(number)
    assert opencv.made[0].source == 2 and type(opencv.made[0].source) is int


@pytest.mark.parametrize("number", [-1, np.int32(-1), 1.0, True, None, np.arange(2), b"0"])
def test_what_is_no_camera(opencv, number):
    with pytest.raises(FormatError, match="camera .*: expected a number from 0 on"):
        frames(number)


ADDRESS = "rtsp://admin:geheim@10.0.0.7:554/stream1"


def test_address_in_a_network(opencv):
    opencv.script[:] = [(True, BGR)]
    source = frames(ADDRESS)
    assert opencv.made[0].source == ADDRESS and np.array_equal(next(source), RGB)
    for action in (lambda: next(source), lambda: frames(ADDRESS)):
        with pytest.raises(DeviceError, match=r"camera rtsp://admin:\.\.\.@10\.0\.0\.7:554/stream1: ") as caught:
            action()
        assert "geheim" not in str(caught.value), "passwords are nobody's business"
        opencv.opens = False


@pytest.mark.parametrize("opens", [False, RuntimeError("obsensor_uvc_stream_channel.cpp: error: (-2)")])
def test_cameras_that_do_not_open(opencv, opens):
    opencv.opens = opens
    with pytest.raises(DeviceError, match="^camera 3: cannot be opened; is it plugged in"):
        frames(3)


def test_opencv_fails_in_the_middle(opencv):
    opencv.script[:] = [(True, BGR), RuntimeError("OpenCV(4.9)\n  error: (-215)")]
    source = frames(0)
    next(source)
    with pytest.raises(DeviceError, match=r"camera 0: OpenCV fails to read a frame \(OpenCV\(4.9\) error: \(-215\)\)$"):
        next(source)


def test_a_video_ends(opencv, tmp_path):
    (tmp_path / "street.MP4").touch()
    opencv.script[:] = [(True, BGR)] * 7
    found = list(frames(tmp_path / "street.MP4"))
    assert len(found) == 7 and all(np.array_equal(picture, RGB) for picture in found)
    assert opencv.made[0].source == str(tmp_path / "street.MP4") and opencv.made[0].released


@pytest.mark.parametrize("opens", [True, False])
def test_a_video_without_pictures(opencv, tmp_path, opens):
    (tmp_path / "notes.avi").write_text("no video")
    opencv.opens = opens
    with pytest.raises(FormatError, match=r"notes\.avi: OpenCV finds no pictures in it"):
        frames(tmp_path / "notes.avi")


def test_opencv_that_cannot_be_imported(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "a.mp4").touch()
    for source in (np.int64(0), ADDRESS, tmp_path / "a.mp4"):
        with pytest.raises(DeviceError, match="needs OpenCV .*python3-opencv") as caught:
            frames(source)
        assert "geheim" not in str(caught.value)


def test_files_that_macos_adds_are_no_photos(tmp_path):
    for name in ("a.jpg", "._a.jpg", "b.png", ".DS_Store"):
        (tmp_path / name).touch()
    assert [path.name for path in photos_in(tmp_path)] == ["a.jpg", "b.png"]
    assert [path.name for path in islice(frames(tmp_path), 3)] == ["a.jpg", "b.png", "a.jpg"]
