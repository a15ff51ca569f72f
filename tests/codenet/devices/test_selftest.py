# SPDX-License-Identifier: Apache-2.0
"""Self-diagnosis: on the golden model, on devices with one fault each, and of the words for what is wrong."""

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import selftest
from codenet.devices.golden import GoldenDevice
from codenet.errors import DeviceError
from codenet.isa import ISA_VERSION, Descriptor, ErrorCause
from codenet.registers import BY_NAME
from tests.codenet.fakes import FakeDevice, detector_program

CONFIG = AcceleratorConfig()


def copies(width_bits=64, lost=0):
    """What the accelerator does to memory in the loop-back, through a write port of ``width_bits``."""

    def compute(memory):
        step = Descriptor.decode(memory[:128].tobytes())
        source, target = (int(word) for word in memory[step.parameter_address :][:16].view("<u8"))
        size = 16 * step.output_pixels
        words = memory[source : source + size].copy().reshape(-1, 8)
        if width_bits == 32:
            words[:, 4:] = 0
        memory[target : target + size - lost] = words.reshape(-1)[: size - lost]
        return 0

    return compute


def failed(device, program=None):
    checks = list(selftest.diagnose(device, program))
    assert checks[-1].passed is False
    return checks[-1]


@pytest.mark.parametrize("config", [AcceleratorConfig(), AcceleratorConfig.small(), AcceleratorConfig(outputs=24)])
def test_golden_model_passes(config):
    device = GoldenDevice(config)
    checks = list(selftest.diagnose(device))
    assert [(check.name, check.passed) for check in checks] == [
        ("identity", True),
        ("register bus", True),
        ("configuration", True),
        ("memory", True),
        ("clock", None),
    ]
    selftest.require(device)
    assert not device._buffers, "memory was not released"


def test_each_check_is_a_line():
    lines = [str(check) for check in selftest.diagnose(GoldenDevice(CONFIG), detector_program())]
    assert lines[0].startswith(
        f"ok      identity: a CoDeNet accelerator of version {ISA_VERSION} answers, 512 multipliers"
    )
    assert lines[2] == "ok      configuration: is the one that program 'by hand' was compiled for"


def test_something_else_answers_and_is_not_written_to():
    device = FakeDevice(CONFIG)
    device.registers["IDENTITY"] = 0xFFFFFFFF
    assert "IDENTITY reads 0xffffffff" in failed(device).text
    assert not device.writes


def test_another_version():
    device = FakeDevice(CONFIG)
    device.registers["VERSION"] = 2
    assert f"version 2, but this package drives version {ISA_VERSION}; load another bitstream" in failed(device).text


def test_register_bit_that_is_stuck(monkeypatch):
    device = FakeDevice(CONFIG)
    read = device.read
    monkeypatch.setattr(device, "read", lambda offset: read(offset) | (offset == BY_NAME["SCRATCH"].offset) << 7)
    check = failed(device)
    assert check.name == "register bus"
    assert "bits 0x00000080 differ" in check.text


def test_program_for_another_accelerator():
    check = failed(GoldenDevice(AcceleratorConfig.small()), detector_program())
    assert check.name == "configuration"
    assert "compiled for outputs=32" in check.text
    with pytest.raises(DeviceError, match="failed its self-test: configuration: .*compiled for"):
        selftest.require(GoldenDevice(AcceleratorConfig.small()), detector_program())


def test_memory_copied(monkeypatch):
    device = FakeDevice(CONFIG, copies())
    monkeypatch.setattr(device, "clock_hz", None)
    selftest.require(device)
    assert device.buffers[0].closed == 1
    assert device.registers["STATUS"] == 0


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda memory: 0, "nothing arrived; writes, or the caches"),
        (copies(width_bits=32), "upper half of each 64 bits is wrong: an AXI port of the processor is 32 bits wide"),
        (copies(lost=8), "of 8192 bytes differ, the first at 8184"),
    ],
    ids=["no write", "32 bits", "last beat lost"],
)
def test_memory_that_differs(compute, words):
    check = failed(FakeDevice(CONFIG, compute))
    assert check.name == "memory"
    assert words in check.text


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ErrorCause.DAMAGED, "cause DAMAGED; the accelerator reads something else than the host wrote"),
        (ErrorCause.PARAMETER_READ, "cause PARAMETER_READ; the address lies outside of memory"),
        (ErrorCause.WATCHDOG, "cause WATCHDOG; memory does not answer"),
        (99, r"cause unknown (99)"),
    ],
)
def test_copy_that_stops_leaves_the_device_reset(cause, words):
    device = FakeDevice(CONFIG)
    device.fail = cause
    text = failed(device).text
    assert text.startswith("the copy stopped: STATUS ") and words in text
    assert device.registers["STATUS"] == 0
    assert device.buffers[0].closed == 1


def test_copy_that_never_ends(monkeypatch):
    monkeypatch.setattr(selftest, "SECONDS", 0.01)
    device = FakeDevice(CONFIG)
    device.silent = True
    assert "no interrupt within 0.01 s" in failed(device).text
    assert device.registers["STATUS"] == 0


def test_words_for_the_lower_half():
    expected = np.arange(1, 65, dtype=np.uint8)
    found = expected.copy().reshape(-1, 8)
    found[:, :4] = 0
    assert "lower half of each 64 bits" in selftest.describe_difference(expected, found.reshape(-1))
    assert selftest.describe_difference(expected, expected) == ""


class Clocked(FakeDevice):
    """Counts cycles of a clock while a program runs, as long as ``limit``."""

    clock_hz = 150e6

    def __init__(self, actual_hz, limit=2**32):
        super().__init__(CONFIG, copies())
        self.actual_hz, self.limit = actual_hz, limit
        self.time = 0.0

    def allocate(self, size):
        self.silent = bool(self.buffers)  # The second program is the one that is timed.
        return super().allocate(size)

    def read(self, offset):
        if self.silent and offset == BY_NAME["FRAME_CYCLES"].offset:
            return min(int(self.time * self.actual_hz), self.limit)
        if self.silent and offset == BY_NAME["STATUS"].offset and self.time * self.actual_hz > self.limit:
            return 2
        return super().read(offset)

    def _command(self, value):
        self.time = 0.0 if value & 1 else self.time
        super()._command(value)


@pytest.fixture
def wall(monkeypatch):
    """Time passes in sleep only; returns how to tie it to a device."""

    def tie(device):
        clock = [0.0]

        def sleep(seconds):
            clock[0] += seconds
            device.time += seconds

        monkeypatch.setattr(selftest.time, "sleep", sleep)
        monkeypatch.setattr(selftest.time, "perf_counter", lambda: clock[0])
        return device

    return tie


@pytest.mark.parametrize(("hertz", "passed"), [(150e6, True), (152e6, True), (100e6, False), (166.7e6, False)])
def test_clock_against_the_wall(wall, hertz, passed):
    device = wall(Clocked(hertz))
    checks = list(selftest.diagnose(device))
    assert (checks[4].name, checks[4].passed) == ("clock", passed)
    assert checks[4].text == f"{hertz / 1e6:.1f} MHz counted against the wall, set to 150.0 MHz"


def test_clock_of_an_accelerator_that_is_done_early(wall):
    device = wall(Clocked(150e6, limit=1_000_000))
    assert list(selftest.diagnose(device))[4].passed


def test_clock_that_stands_still(wall):
    check = failed(wall(Clocked(0.0)))
    assert check.name == "clock"
    assert "it does not count" in check.text


def test_facts_come_last(monkeypatch):
    device = GoldenDevice(CONFIG)
    monkeypatch.setattr(device, "facts", lambda: {"bitstream": "a.bit"})
    assert str(list(selftest.diagnose(device))[-1]) == "-       bitstream: a.bit"
