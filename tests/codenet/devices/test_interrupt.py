# SPDX-License-Identifier: Apache-2.0
"""Waiting for an interrupt: one that comes, that comes late, that is another's, that never comes."""

import errno
import os

import pytest

from codenet.config import AcceleratorConfig
from codenet.devices.linux import interrupt
from codenet.devices.linux.interrupt import UioInterrupt, find_uio, wait_until_pending
from codenet.devices.linux.kernel import Kernel
from codenet.errors import DeviceError, DeviceTimeout
from tests.codenet.fakes import FakeDevice


class Script:
    """An interrupt that comes as told, one answer a wait; ``ends``: the wait at whose end the program has ended."""

    def __init__(self, device, answers, ends):
        self.device, self.answers, self.ends, self.waits = device, answers, ends, []

    def wait(self, seconds):
        self.waits.append(seconds)
        if len(self.waits) == self.ends:
            self.device.registers["IRQ_STATUS"] = 1
        return self.answers[len(self.waits) - 1]


@pytest.fixture
def device():
    return FakeDevice(AcceleratorConfig())


@pytest.mark.parametrize(
    ("answers", "ends", "trusted"),
    [
        ([True], 1, True),
        ([True, False, True], 3, True),  # another's, then a pause, then ours
        ([False, True], 1, True),  # late
        ([False, False], 1, False),  # lost
    ],
    ids=["at once", "after another's", "late", "lost"],
)
def test_whether_it_can_be_trusted(device, answers, ends, trusted):
    script = Script(device, answers, ends)
    assert wait_until_pending(device, script, 100.0) is trusted
    assert len(script.waits) == len(answers)
    assert max(script.waits) <= interrupt.RECHECK_SECONDS


def test_program_that_has_ended_before(device):
    device.registers["IRQ_STATUS"] = 1
    assert wait_until_pending(device, Script(device, [], 0), 1.0)


def test_program_that_does_not_end(device):
    class Never:
        def wait(self, seconds):
            return False

    with pytest.raises(DeviceTimeout, match="device fake: no interrupt within 0.01 s"):
        wait_until_pending(device, Never(), 0.01)


@pytest.fixture
def kernel(tmp_path):
    for n, name in enumerate(["other", "codenet@43c00000"]):
        folder = tmp_path / f"sys/class/uio/uio{n}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
    (tmp_path / "dev").mkdir()
    return Kernel(tmp_path / "sys", tmp_path / "dev")


def test_device_by_its_name(kernel):
    assert find_uio(kernel, "codenet") == kernel.sysfs / "class/uio/uio1"
    assert find_uio(kernel, "code") is None


def test_device_without_an_interrupt(kernel, monkeypatch):
    def refuse(file, data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (kernel.dev / "uio1").touch()
    monkeypatch.setattr(interrupt.os, "write", refuse)
    assert UioInterrupt.open(kernel, find_uio(kernel, "codenet")) is None


def test_node_that_is_missing(kernel):
    with pytest.raises(DeviceError, match="dev/uio1: does not exist"):
        UioInterrupt.open(kernel, find_uio(kernel, "codenet"))
