# SPDX-License-Identifier: Apache-2.0
"""Two frames in flight: the same results as photo by photo, in the right order, whatever goes wrong with one of
them.
"""

import gc
import threading
import types
import weakref

import numpy as np
import pytest
from PIL import Image

from codenet import Detector
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from codenet.errors import ConfigError, DeviceError, FormatError, GraphError
from codenet.isa import ErrorCause
from codenet.runtime import stream as stream_module
from tests.codenet.fakes import HEIGHT, WIDTH, FakeDevice, detector_program, write_outputs
from tests.networks import network

SMALL = AcceleratorConfig.small()


def photo(value: int) -> np.ndarray:
    """All of one brightness: the fake device's peak lies in column ``value``."""
    return np.full((4 * HEIGHT, 4 * WIDTH, 3), value, np.uint8)


@pytest.fixture
def device():
    layout = detector_program().input

    def compute(memory):
        brightness = int(memory[layout.offset + layout.row_bytes + 4]) ^ 0x80
        return write_outputs([(brightness, 1, 0, 0)])(memory)

    return FakeDevice(AcceleratorConfig(), compute)


@pytest.fixture
def detector(device):
    with Detector(detector_program(), device) as detector:
        yield detector


def column(result):
    """In which column of the output the only detection is: boxes have no size and end at their peak."""
    (detection,) = result.detections
    return round(detection.box[0] / 4)


def rest(stream):
    """Column or error of everything that is left."""
    found = []
    while True:
        try:
            found.append(column(next(stream)))
        except StopIteration:
            return found
        except Exception as error:
            found.append(type(error))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_every_photo_in_its_order(detector, workers, count):
    photos = [photo(n % WIDTH) for n in range(count)]
    with detector.stream(iter(photos), workers=workers) as stream:
        results = list(stream)
        assert [column(result) for result in results] == [n % WIDTH for n in range(count)]
        assert all(result.photo is given for result, given in zip(results, photos, strict=True))
        with pytest.raises(StopIteration):
            next(stream)
    assert not detector.accelerator.running


def make_device(name):
    if name == "golden":
        return GoldenDevice(SMALL)
    board = pytest.importorskip(
        "sim.verilator.board", reason="without the simulator: the RTL is left out", exc_type=ImportError
    )
    return board.RtlDevice(SMALL)


@pytest.mark.parametrize("name", ["golden", "rtl"])
def test_the_same_as_photo_by_photo(name, tmp_path):
    program = compile_graph(network(32, equal_heads=True), SMALL)
    rng = np.random.default_rng(5)
    coarse = [rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(5)]
    images = [Image.fromarray(pixels).resize((97 + n, 64), Image.BICUBIC) for n, pixels in enumerate(coarse)]
    images[1].save(tmp_path / "photo.jpg")
    photos = [
        images[0],
        tmp_path / "photo.jpg",
        np.asarray(images[2]),
        np.asarray(images[3])[..., ::-1],
        images[4].convert("RGBA"),
    ]
    with make_device(name) as device, Detector(program, device, threshold=0.05) as detector:
        alone = [detector(given) for given in photos]
        cycles = detector.times.cycles
        for workers in (0, 2):
            with detector.stream(photos, workers=workers) as stream:
                results = list(stream)
            assert [result.detections for result in results] == alone
        with detector.stream(photos) as stream:
            stream.profile_next()
            measured, *others = stream
            assert sum(step.cycles for step in measured.profile) == measured.times.cycles
            assert [result.detections for result in (measured, *others)] == alone
            assert not any(result.profile for result in others)
        assert results[-1].times.cycles == pytest.approx(cycles, rel=0.05)  # They vary with memory's refresh.
        assert (cycles > 0) == (name == "rtl")
    assert len({str(found) for found in alone}) == len(photos) and all(alone), "photos that look alike test nothing"


def test_next_photo_is_prepared_while_a_frame_runs_and_started_before_the_last_is_decoded(
    detector, device, monkeypatch
):
    events = []

    def camera():
        for n in range(3):
            events.append(f"photo {n}, {'running' if detector.accelerator.running else 'idle'}")
            yield photo(n)

    def wait(timeout):
        events.append("wait")

    decode = detector._detections

    def note(outputs, size, top_k):
        events.append(f"decode {outputs.peaks['x'][0]}, {'running' if detector.accelerator.running else 'idle'}")
        return decode(outputs, size, top_k)

    monkeypatch.setattr(device, "wait", wait)
    monkeypatch.setattr(detector, "_detections", note)
    assert [column(result) for result in detector.stream(camera())] == [0, 1, 2]
    assert events == [
        *("photo 0, idle", "photo 1, running", "wait", "decode 0, running"),
        *("photo 2, running", "wait", "decode 1, running"),
        *("wait", "decode 2, idle"),
    ]


def test_workers_take_as_many_photos_more(detector):
    taken = []

    def camera():
        for n in range(5):
            taken.append(n)
            yield photo(n)

    with detector.stream(camera(), workers=2) as stream:
        next(stream)
        assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("where", [0, 1, 3])
def test_bad_photo_is_told_in_its_place(detector, workers, where, tmp_path):
    (tmp_path / "notes.jpg").write_text("no photo")
    for bad, error in ((np.zeros((3, 3)), FormatError), (tmp_path / "notes.jpg", FormatError), (None, FormatError)):
        photos = [photo(n) for n in range(3)]
        photos.insert(where, bad)
        expected = [0, 1, 2]
        expected.insert(where, error)
        assert rest(detector.stream(photos, workers=workers)) == expected
    assert rest(detector.stream([tmp_path / "a.jpg", photo(1)], workers=workers)) == [FileNotFoundError, 1]


def test_device_error_is_told_in_its_place(detector, device):
    def photos():
        for n in range(4):
            device.fail = ErrorCause.INPUT_READ if n == 2 else None  # Taken, and then started.
            yield photo(n)

    assert rest(detector.stream(photos())) == [0, 1, DeviceError, 3]
    assert device.registers["STATUS"] == 2


def test_source_that_breaks_ends_the_stream_after_what_it_gave(detector):
    def camera():
        yield photo(1)
        yield photo(2)
        raise OSError("camera unplugged")

    assert rest(detector.stream(camera())) == [1, 2, OSError]
    assert not detector.accelerator.running


@pytest.mark.parametrize("way", ["close", "break", "del", "exception"])
def test_closing_early_stops_the_frame(detector, device, way):
    stream = detector.stream([photo(1), photo(2), photo(3)], workers=1)
    assert column(next(stream)) == 1
    assert detector.accelerator.running
    if way == "close":
        stream.close()
        stream.close()
        assert list(stream) == []
    elif way == "break":
        for _ in stream:
            break
        del stream
    elif way == "del":
        del stream
    else:
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError
    gc.collect()
    assert not detector.accelerator.running
    assert device.registers["STATUS"] == 0, "no reset"
    assert [d.box[0] for d in detector(photo(3))] == [12]


def test_photos_ahead_are_let_go_at_the_end(detector):
    """A stream that is kept does not keep what nobody will see."""
    seen = []

    def camera():
        for n in range(9):
            image = photo(n)
            seen.append(weakref.ref(image))
            yield image
            del image

    stream = detector.stream(camera(), workers=2)
    assert column(next(stream)) == 0
    ahead = [reference for reference in seen[2:] if reference() is not None]
    assert ahead
    stream.close()
    gc.collect()
    assert [reference() for reference in ahead[:-1]] == [None] * (len(ahead) - 1)  # The camera itself has the last.


@pytest.mark.parametrize("way", ["close", "del"])
def test_closing_does_not_wait_for_a_slow_photo(detector, monkeypatch, way):
    go, prepare = threading.Event(), stream_module.prepare

    def slowly(source, *arguments, **options):
        assert source[0, 0, 0] != 3 or go.wait(20)
        return prepare(source, *arguments, **options)

    monkeypatch.setattr(stream_module, "prepare", slowly)
    stream = detector.stream([photo(1), photo(2), photo(3)], workers=1)
    assert column(next(stream)) == 1 and detector.accelerator.running
    if way == "close":
        stream.close()
    else:
        del stream
    assert not detector.accelerator.running
    go.set()


def test_photos_that_nobody_will_see_are_not_prepared(detector, monkeypatch):
    """Interrupted while the first one is waited for: the second one, behind it, is not begun any more."""
    go, prepare, begun = threading.Event(), stream_module.prepare, []

    def slowly(source, *arguments, **options):
        begun.append(int(source[0, 0, 0]))
        assert go.wait(20)
        return prepare(source, *arguments, **options)

    def interrupted(future, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(stream_module, "prepare", slowly)
    stream = detector.stream([photo(1), photo(2), photo(3)], workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(stream_module.Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    stream.close()
    go.set()
    stream._pool.shutdown()
    assert begun == [1]


def test_another_photo_while_a_stream_runs(detector):
    with detector.stream([photo(1), photo(2)]) as stream:
        next(stream)
        for other in (lambda photos: next(detector.stream(photos)), lambda photos: detector(photos[0])):
            with pytest.raises(DeviceError, match="busy with a stream of MainThread; close it"):
                other([photo(3)])
        assert rest(stream) == [2], "the stream was disturbed"


def test_interrupt_from_the_keyboard_drops_one_frame(detector, device, monkeypatch):
    def interrupted(timeout):
        raise KeyboardInterrupt

    stream = detector.stream([photo(0), photo(1), photo(2)])
    with monkeypatch.context() as patch:
        patch.setattr(device, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    assert rest(stream) == [1, 2]


def test_detector_closed_below_a_stream(detector):
    stream = detector.stream([photo(0), photo(1), photo(2)])
    next(stream)
    detector.close()
    with pytest.raises(DeviceError, match=r"no frame runs|closed"):
        next(stream)
    stream.close()


def test_threshold_and_top_k(detector, device):
    assert [len(result.detections) for result in detector.stream([photo(0)], top_k=0)] == [0]
    with pytest.raises(GraphError, match="1.5"):
        detector.stream([photo(0)], threshold=1.5)
    assert not detector.accelerator.running


def test_times(detector, device, monkeypatch):
    """By a clock that moves a millisecond whenever it is read, and as long as somebody sleeps."""
    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += seconds

    def read():
        sleep(1e-3)
        return now

    def camera():
        for n in range(3):
            sleep(0.02)  # Of the camera: no part of preparing.
            yield photo(n)

    monkeypatch.setattr(stream_module, "time", types.SimpleNamespace(perf_counter=read))
    monkeypatch.setattr(device, "wait", lambda timeout: sleep(0.03))
    results = list(detector.stream(camera()))
    for times in (result.times for result in results):
        assert times.cycles == 4321
        # Fitting and writing the photo, waiting, decoding.
        assert times.prepare_ms == pytest.approx(2)
        assert times.wait_ms == pytest.approx(31)
        assert times.decode_ms == pytest.approx(1)
    detector(photo(1))
    assert detector.times.wait_ms == pytest.approx(31) and detector.times is not results[-1].times


@pytest.mark.parametrize("workers", [-1, 1.5, "2", None, True])
def test_workers_that_are_no_number_of_threads(detector, workers):
    with pytest.raises(ConfigError, match=f"workers {workers!r}: expected 0 or more threads"):
        detector.stream([photo(1)], workers=workers)
