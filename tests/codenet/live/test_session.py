# SPDX-License-Identifier: Apache-2.0
"""Sessions go on whatever the camera does, end when there is no more, and obey their controls."""

import threading

import pytest

from codenet.errors import DeviceError, FormatError, GraphError
from codenet.live.feed import Feed
from codenet.live.outputs import Output
from codenet.live.session import Controls, Rate, Session
from tests.codenet.live.stage import PHOTO, make_detector


class Log(Output):
    """Notes what it is told; ``then`` is called with each frame."""

    def __init__(self, then=lambda seen: None):
        self.told, self.frames, self.then = [], [], then

    def seen(self, seen):
        self.told.append(seen.number)
        self.frames.append(seen)
        self.then(seen)

    def lost(self, reason):
        self.told.append(f"lost: {reason}")

    def back(self, name):
        self.told.append(f"back: {name}")


@pytest.fixture
def detector():
    with make_detector() as detector:
        yield detector
        assert not detector.accelerator.running


def camera(*lives):
    """A camera that gives so many frames each time it is opened, and then fails; ``None``: it does not open."""
    left = list(lives)

    def open_camera():
        count = left.pop(0)
        if count is None:
            raise DeviceError("camera 0: cannot be opened")

        def frames():
            for _ in range(count):
                yield PHOTO
            raise DeviceError("camera 0: has stopped")

        return frames()

    return Feed("camera 0", open_camera, lasting=True)


def run(detector, feed, log, **options):
    session = Session(detector, feed, [log], delays=(0.0,), **options)
    session.run()
    return session


def test_camera_that_vanishes_and_comes_back(detector):
    log = Log(lambda seen: seen.number == 7 and session.stop())
    session = Session(detector, camera(3, None, None, 0, 2, 5), [log], delays=(0.0,))
    assert session.run() == 7
    lost, back = "lost: camera 0: has stopped", "back: camera 0"
    assert log.told == [1, 2, 3, lost, back, 4, 5, lost, back, 6, 7]


@pytest.mark.parametrize(("lives", "message"), [((None,), "cannot be opened"), ((0, 5), "has stopped")])
def test_camera_that_never_was_there_is_an_error(detector, lives, message):
    log = Log()
    with pytest.raises(DeviceError, match=f"camera 0: {message}"):
        run(detector, camera(*lives), log)
    assert log.told == []


def test_attempts_are_made_less_and_less_often(detector):
    waits = []
    session = Session(detector, camera(1, *[None] * 4, 1, None, 2), [log := Log()], delays=(1.0, 2.0, 5.0))
    log.then = lambda seen: seen.number == 3 and session.stop()

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return self.is_set()

    session._stop = Stop()
    session.run()
    assert [wait for wait in waits if wait >= 1.0] == [1.0, 2.0, 5.0, 5.0, 5.0, 1.0, 2.0]


def test_files_end_or_begin_again(detector):
    files = Feed("folder", lambda: (photo for photo in [PHOTO] * 3), lasting=False)
    log = Log()
    run(detector, files, log)
    assert log.told == [1, 2, 3]
    log = Log(lambda seen: seen.number == 8 and session.stop())
    again = Feed("folder", files.open, lasting=False, loop=True)
    session = Session(detector, again, [log])
    assert session.run() == 8


def test_photos_that_are_none_are_left_out_and_do_not_loop_for_ever(detector, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    errors, log = [], Log()
    files = Feed("folder", lambda: (photo for photo in [bad, PHOTO, tmp_path / "no.jpg"]), lasting=False)
    run(detector, files, log, on_bad=errors.append)
    assert log.told == [1] and [type(error) for error in errors] == [FormatError, FileNotFoundError]
    run(detector, Feed("folder", lambda: (photo for photo in [bad]), False, loop=True), Log(), on_bad=errors.append)
    assert len(errors) == 3


def test_failure_of_the_accelerator_ends_the_session(detector):
    log = Log(lambda seen: setattr(detector.device, "silent", True))
    detector.accelerator.timeout = 0.01
    with pytest.raises(DeviceError, match="no end of program"):
        run(detector, camera(50), log)
    assert len(log.told) in (1, 2)


def test_what_is_seen_is_what_the_detector_finds(detector):
    log = Log()
    run(detector, Feed("folder", lambda: (photo for photo in [PHOTO]), lasting=False), log)
    (seen,) = log.frames
    assert seen.detections == detector(PHOTO) and seen.photo is PHOTO and seen.photo_size == (60, 200)
    assert seen.times.cycles == 4321 and seen.accelerator_ms == pytest.approx(4321 / 150e3)
    assert seen.profile is None and seen.threshold == detector.threshold


def test_threshold_changes_while_it_runs(detector, monkeypatch):
    """From the next frame that is started on: one is in flight."""
    controls, scores = Controls(0.3), []
    log = Log(lambda seen: setattr(controls, "threshold", 0.8))
    start = detector.accelerator.start
    monkeypatch.setattr(detector.accelerator, "start", lambda *, score: (scores.append(score), start(score=score)))
    photos = Feed("folder", lambda: (photo for photo in [PHOTO] * 6), lasting=False)
    run(detector, photos, log, controls=controls)
    assert scores == [0.3, 0.3, 0.8, 0.8, 0.8, 0.8]
    assert [seen.threshold for seen in log.frames] == [0.3] + [0.8] * 5


def test_profile_is_read_once_when_it_is_wanted(detector):
    controls = Controls(0.3)
    log = Log(lambda seen: setattr(controls, "profile", seen.number == 2))
    run(detector, Feed("folder", lambda: (photo for photo in [PHOTO] * 6), lasting=False), log, controls=controls)
    assert [seen.profile is not None for seen in log.frames] == [False, False, True, False, False, False]
    (step,) = log.frames[2].profile
    assert step.name == "peaks" and step.counters == tuple(range(1000, 1008))
    assert not controls.profile


def test_counters_are_read_before_the_next_frame_starts(detector):
    with detector.stream([PHOTO] * 4) as stream:
        next(stream)
        stream.profile_next()
        detector.device.writes.clear()
        assert next(stream).profile is not None
        names = [name for name, _ in detector.device.writes]
        assert names.index("PROFILE_INDEX") < names.index("CONTROL")
        assert next(stream).profile is None


@pytest.mark.parametrize("score", [0.0, 1.0, -1.0, 2.0])
def test_threshold_of_a_stream_is_within_0_and_1(detector, score):
    with detector.stream([PHOTO]) as stream:
        with pytest.raises(GraphError, match="score threshold"):
            stream.threshold = score
        assert stream.threshold == detector.threshold


def test_so_many_frames_a_second(detector):
    waits = []
    session = Session(detector, Feed("folder", lambda: (p for p in [PHOTO] * 5), False), [Log()], rate=0.01)

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return False

    session._stop = Stop()
    session.run()
    assert waits[0] == 0.0 and all(100 * n - 20 < wait <= 100 * n for n, wait in enumerate(waits[1:], 1))


def test_rate():
    rate = Rate()
    assert rate.tick(10.0) == 0.0
    assert rate.tick(10.25) == pytest.approx(4.0)
    for n in range(100):
        value = rate.tick(20.0 + 0.1 * n)
    assert value == pytest.approx(10.0)
