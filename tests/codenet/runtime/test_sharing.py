# SPDX-License-Identifier: Apache-2.0
"""Several programs on one open device: every frame is its owner's, whoever asks meanwhile, in one thread or in many."""

import gc
import threading
import time

import numpy as np
import pytest

from codenet import Detector
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.devices import selftest
from codenet.devices.golden import GoldenDevice
from codenet.errors import DeviceError, DeviceTimeout
from codenet.isa import ErrorCause
from codenet.runtime.accelerator import Accelerator
from tests.codenet.fakes import HEIGHT, WIDTH, FakeDevice, detector_program, write_outputs
from tests.networks import network

SMALL = AcceleratorConfig.small()
PHOTOS = [np.random.default_rng(n).integers(0, 256, (48, 64, 3), dtype=np.uint8) for n in range(3)]
IMAGE = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.int8)


class SlowDevice(GoldenDevice):
    """Is busy from start to the end of the wait, and counts what would be lost on hardware."""

    def __init__(self, config):
        super().__init__(config)
        self.busy = False
        self.order = []
        self.lost = 0

    def _command(self, value):
        self.lost += self.busy
        self.busy = bool(value & 1)
        if self.busy:
            self.order.append(self._values["BASE_ADDRESS"])
        super()._command(value)

    def wait(self, timeout):
        time.sleep(0.002)
        super().wait(timeout)
        self.busy = False


@pytest.fixture(scope="module")
def programs():
    """Two networks, each with its own answer."""
    graphs = [network(32, equal_heads=True, name=f"net{seed}", seed=seed) for seed in (0, 1)]
    return [compile_graph(graph, SMALL) for graph in graphs]


@pytest.fixture(scope="module")
def alone(programs):
    """Of each network, what it says to each photo."""
    answers = []
    for program in programs:
        with Detector(program, "golden", threshold=0.05) as detector:
            answers.append([detector(photo) for photo in PHOTOS])
    assert all(answers[0]) and answers[0] != answers[1], "networks that say the same test nothing"
    return answers


@pytest.fixture
def device():
    with SlowDevice(SMALL) as device:
        yield device
        assert not device.lost


def opened(programs, device):
    return [Detector(program, device, threshold=0.05) for program in programs]


def test_one_streams_and_the_other_is_called(programs, alone, device):
    first, second = opened(programs, device)
    with first.stream(PHOTOS) as stream:
        for number, result in enumerate(stream):
            assert result.detections == alone[0][number]
            assert [second(photo) for photo in PHOTOS] == alone[1]
    first.close(), second.close()


def test_a_detector_is_opened_while_another_streams(programs, alone, device):
    with Detector(programs[0], device, threshold=0.05) as first, first.stream(PHOTOS) as stream:
        found = [next(stream).detections]
        with Detector(programs[1], device, threshold=0.05) as second:
            assert second(PHOTOS[0]) == alone[1][0]
            found.append(next(stream).detections)
        selftest.require(device)
        found.append(next(stream).detections)
    assert found == alone[0]


def test_two_streams_in_one_thread(programs, alone, device):
    first, second = opened(programs, device)
    pairs = [(a.detections, b.detections) for a, b in zip(first.stream(PHOTOS), second.stream(PHOTOS), strict=True)]
    assert [list(found) for found in zip(*pairs, strict=True)] == alone
    first.close(), second.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_threads_take_turns(programs, alone, device, workers):
    """All results are right, and nobody waits for the end of another's stream."""
    detectors = opened([*programs, programs[0]], device)
    found = [None] * 3

    def run(number):
        with detectors[number].stream(PHOTOS * 5, workers=workers) as stream:
            found[number] = [result.detections for result in stream]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [alone[0] * 5, alone[1] * 5, alone[0] * 5]
    assert len(device.order) == 45
    last = {base: number for number, base in enumerate(device.order)}
    assert min(last.values()) > 20, "one had all its frames before the others had theirs"
    for detector in detectors:
        detector.close()


def test_one_detector_called_by_many_threads(programs, alone, device):
    detector = opened(programs, device)[0]
    found = [None] * 6

    def run(number):
        found[number] = detector(PHOTOS[number % 3])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == alone[0] * 2
    detector.close()


def test_a_detector_whose_stream_is_open_says_so(programs, alone, device):
    detector = opened(programs, device)[0]
    with detector.stream(PHOTOS) as stream:
        assert next(stream).detections == alone[0][0]
        for other in (lambda: detector(PHOTOS[0]), lambda: next(detector.stream(PHOTOS))):
            with pytest.raises(DeviceError, match="program 'net0' is busy with a stream of MainThread; close it"):
                other()
        assert [result.detections for result in stream] == alone[0][1:]
    assert detector(PHOTOS[0]) == alone[0][0]
    detector.close()


def test_from_within_another_frame(programs, device):
    with Accelerator(device, programs[0]) as one, Accelerator(device, programs[1]) as two:
        image = np.zeros((32, 32, 3), np.int8)
        with pytest.raises(DeviceError, match="busy with program 'net0', from whose frame this call comes"):
            one.run(image, on_step=lambda step: two.run(image))
        device.busy = False
        two.run(image)


@pytest.fixture
def fakes():
    device = FakeDevice(AcceleratorConfig())
    first, second = (Accelerator(device, detector_program(name=name), watchdog_cycles=n) for n, name in enumerate("ab"))
    return device, first, second


def test_an_error_goes_to_the_frame_that_had_it(fakes):
    device, first, second = fakes
    device.fail = ErrorCause.INPUT_READ
    first.start()
    device.fail, device.compute = None, write_outputs([(1, 2, 0, 9)])
    assert second.run(IMAGE).peaks["x"].tolist() == [1]
    with pytest.raises(DeviceError, match="program 'a' stopped: .*cause INPUT_READ"):
        first.finish()
    assert first.run(IMAGE).peaks_found == 1


def test_a_timeout_goes_to_the_frame_that_had_it(fakes):
    device, first, second = fakes
    first.timeout, device.silent = 0.01, True
    first.start()
    device.silent = False
    second.run(IMAGE)
    with pytest.raises(DeviceTimeout, match="no end of program 'a'"):
        first.finish()


def test_a_device_that_stays_busy_is_not_started(fakes, monkeypatch):
    device, first, second = fakes
    monkeypatch.setattr("codenet.devices.control.RESET_SECONDS", 0.01)
    device.fail = ErrorCause.INPUT_READ
    first.start()
    device.stuck = True
    with pytest.raises(DeviceError, match="still busy"):
        second.run(IMAGE)
    with pytest.raises(DeviceError, match="cause INPUT_READ.*still busy"):
        first.finish()
    device.fail, device.stuck = None, False
    second.run(IMAGE)


def test_whoever_takes_the_device_resets_what_another_left_in_it(fakes):
    device, first, second = fakes
    for accelerator in (first, second):
        accelerator.run(IMAGE)
    writes = len(device.writes)
    first.run(IMAGE)
    assert device.writes[writes] == ("CONTROL", 2)
    assert device.writes.index(("CONTROL", 1), writes) > writes


def test_each_has_its_own_settings(fakes):
    device, first, second = fakes
    for accelerator, cycles in ((first, 0), (second, 1), (second, 1), (first, 0)):
        accelerator.run(IMAGE)
        assert device.registers["WATCHDOG"] == cycles
    writes = len(device.writes)
    first.run(IMAGE)
    assert [name for name, _ in device.writes[writes:]] == ["BASE_ADDRESS", "IRQ_STATUS", "CONTROL", "IRQ_STATUS"]


def test_counters_of_another_frame(fakes):
    device, first, second = fakes
    device.registers["PROFILE_INDEX"] = 0
    first.run(IMAGE)
    assert len(first.profile()) == 1
    second.run(IMAGE)
    with pytest.raises(DeviceError, match="another frame than one of program 'a'"):
        first.profile()


def test_closing_one_leaves_the_other(fakes):
    device, first, second = fakes
    second.start()
    first.close()
    assert device.registers["STATUS"] == 2 and second.finish().cycles == 4321
    second.close()
    assert device.turns.user is None


def test_a_stream_that_is_dropped_while_another_thread_has_the_device(programs, alone, device):
    """Finalizers run in the middle of anything: they must not wait for the device."""
    first, second = opened(programs, device)
    stream = first.stream(PHOTOS)
    next(stream)
    taken, dropped = threading.Event(), threading.Event()

    def hold():
        with device.turns:
            taken.set()
            dropped.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(10)
    del stream
    gc.collect()
    dropped.set()
    thread.join(10)
    device.busy = False  # A reset in the middle of a frame is meant here.
    assert second(PHOTOS[0]) == alone[1][0]
    assert first(PHOTOS[1]) == alone[0][1]
    first.close(), second.close()
