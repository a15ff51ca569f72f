# SPDX-License-Identifier: Apache-2.0
"""Cameras that are not there, and watching what a stream finds."""

import sys
import types
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from codenet import Detector
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError, FormatError
from codenet.runtime.accelerator import StepProfile
from codenet.runtime.live import notebook_view, watch
from codenet.runtime.profile import profile_table, slowest_table
from codenet.runtime.stream import Times
from codenet.vision.camera import LOST_FRAMES, frames, photos_in
from tests.codenet.fakes import FakeDevice, detector_program, write_outputs


class Capture:
    """OpenCV's VideoCapture as far as it is used: ``script`` says of each read whether it succeeds."""

    opens = True
    script: list[bool] = []
    made: list["Capture"] = []

    def __init__(self, source):
        self.source, self.settings, self.released = source, {}, 0
        self.made.append(self)

    def isOpened(self):
        return self.opens

    def set(self, name, value):
        self.settings[name] = value

    def read(self):
        if not self.script or not self.script.pop(0):
            return False, None
        frame = np.zeros((4, 6, 3), np.uint8)
        frame[...] = (1, 2, 3)  # blue, green, red
        return True, frame

    def release(self):
        self.released += 1


@pytest.fixture
def capture(monkeypatch):
    class Own(Capture):
        made, script, opens = [], [], True

    names = {name: name for name in ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT", "CAP_PROP_BUFFERSIZE")}
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=Own, **names))
    return Own


def test_camera_frames_are_rgb_and_its_end_is_told(capture):
    capture.script[:] = [True, False, False, True, *[False] * LOST_FRAMES, True]
    source = frames(0, size=(320, 240))
    (camera,) = capture.made
    assert camera.source == 0
    assert camera.settings == {"CAP_PROP_FRAME_WIDTH": 320, "CAP_PROP_FRAME_HEIGHT": 240, "CAP_PROP_BUFFERSIZE": 1}
    found = list(islice(source, 2))
    assert all((frame == [3, 2, 1]).all() and frame.shape == (4, 6, 3) for frame in found)
    assert not camera.released
    with pytest.raises(DeviceError, match="camera 0: has stopped, 5 frames failed"):
        next(source)
    assert camera.released == 1


def test_camera_is_released_with_its_frames(capture):
    capture.script[:] = [True] * 3
    source = frames(2)
    next(source)
    source.close()
    assert capture.made[0].released == 1


def test_camera_that_does_not_open(capture):
    capture.opens = False
    with pytest.raises(DeviceError, match="camera 1: cannot be opened"):
        frames(1)
    assert capture.made[0].released == 1


def test_device_file_is_a_camera(capture):
    frames("/dev/null")
    assert capture.made[0].source == "/dev/null"


def test_without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DeviceError, match="camera 0: needs OpenCV .*python3-opencv"):
        frames(0)


def test_folder_of_photos_over_and_over(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in islice(frames(tmp_path), 5)] == ["a.jpg", "b.PNG", "a.jpg", "b.PNG", "a.jpg"]
    assert [path.name for path in islice(frames(tmp_path / "a.jpg"), 2)] == ["a.jpg"] * 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="empty: has no photos"):
        photos_in(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        frames(tmp_path / "video9")


@pytest.fixture
def detector():
    device = FakeDevice(AcceleratorConfig(), write_outputs([(2, 1, 0, 0)], lane_0=256, lane_1=512))
    with Detector(detector_program(), device) as detector:
        yield detector


PHOTO = np.full((60, 200, 3), 7, np.uint8)


def test_every_frame_counts_and_some_are_shown(detector):
    shown = []
    summary = watch(detector.stream([PHOTO] * 20), shown.append, pictures_per_second=1e-3, clock_hz=1e6)
    assert (summary.frames, summary.pictures) == (20, 1) and len(shown) == 1
    assert summary.times.cycles == 4321 and summary.rate == pytest.approx(20 / summary.seconds)
    assert "20 frames in" in str(summary) and "4321 cycles, 4.32 ms" in str(summary)
    boxes = np.asarray(detector.draw(PHOTO, detector(PHOTO)))
    picture = np.asarray(shown[0])
    assert picture.shape == PHOTO.shape and np.array_equal(picture[:40], boxes[:40])
    assert (picture[45:, :100] > 150).all(axis=2).any(), "no frame rate in the picture"
    shown.clear()
    assert watch(detector.stream([PHOTO] * 20), shown.append, pictures_per_second=1e9).pictures == len(shown) == 20


class Recorded(list):
    """A stream of results that were there before."""

    __enter__ = __exit__ = lambda self, *_: None


def test_times_are_means_over_the_frames():
    """Of frames that differ in each time: a sum, or a mean of the wrong one, would be another number."""
    times = [Times(1.0, 2.0, 30.0, 4000), Times(3.0, 5.0, 60.0, 7001), Times(5.0, 5.0, 60.0, 7001)]
    stream = Recorded(types.SimpleNamespace(times=t, photo=PHOTO, detections=[]) for t in times)
    summary = watch(stream, lambda picture: None, pictures_per_second=1e-3)
    assert summary.times == Times(3.0, 4.0, 50.0, 6001)
    assert watch(Recorded(), lambda picture: None).times == Times(0.0, 0.0, 0.0, 0)


def test_watching_ends_when_the_time_is_over(detector):
    def camera():
        while True:
            yield PHOTO

    summary = watch(detector.stream(camera()), lambda picture: None, seconds=0.05)
    assert 1 <= summary.frames and 0.05 <= summary.seconds < 5
    assert not detector.accelerator.running
    assert watch(detector.stream([]), lambda picture: None).rate == 0


def test_stop_button_ends_the_watching_and_not_more(detector):
    def interrupted(picture):
        raise KeyboardInterrupt

    summary = watch(detector.stream([PHOTO] * 3), interrupted)
    assert summary.frames == 1
    assert not detector.accelerator.running
    assert len(detector(PHOTO)) == 1


def test_pictures_in_a_notebook(monkeypatch):
    log = []

    class Handle:
        def update(self, image):
            log.append(("update", image))

    def display(image, display_id):
        log.append(("display", image))
        return Handle()

    fake = types.SimpleNamespace(display=display, Image=lambda data, format: (format, data[:2]))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=fake))
    view = notebook_view()
    for _ in range(3):
        view(Image.new("RGB", (8, 8)))
    jpeg = ("jpeg", b"\xff\xd8")
    assert log == [("display", jpeg), ("update", jpeg), ("update", jpeg)]
    monkeypatch.setitem(sys.modules, "IPython", None)
    notebook_view()(Image.new("RGB", (8, 8)))


def test_slowest_steps():
    steps = [StepProfile(0, "stem", (30, 10, 0, 0, 0, 0, 5, 5)), StepProfile(1, "last", (60, 0, 40, 20, 0, 0, 9, 9))]
    steps.append(StepProfile(2, "peaks", (0, 0, 0, 40, 0, 0, 0, 0)))
    lines = slowest_table(steps, 2).splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["1", "last", "120", "60.0%", "#" * 12 + "." * 12]
    assert lines[2].split() == ["0", "stem", "40", "20.0%", "#" * 6 + "." * 2]
    assert lines[3] == "200 cycles in 3 steps"
    assert "no clock" in slowest_table([StepProfile(0, "stem", (0,) * 8)])
    assert profile_table(steps).splitlines()[2].split()[:4] == ["1", "last", "120", "60"]
