# SPDX-License-Identifier: Apache-2.0
"""A board has one owner among all programs, who is named to the others."""

import gc
import os
import signal
import subprocess
import sys

import pytest

from codenet.devices.linux.kernel import Kernel
from codenet.devices.linux.lock import NAME, BoardLock
from codenet.devices.linux.uio import UioDevice
from codenet.devices.pynq import PynqDevice
from codenet.devices.pynq import device as pynq
from codenet.errors import DeviceError
from tests.board.handoff import write_bitstream
from tests.board.networks import SMALL
from tests.codenet.devices.fake_pynq import FakeBoard

OTHER = """
import sys, time
from pathlib import Path
from codenet.devices.linux.kernel import Kernel
from codenet.devices.linux.lock import BoardLock
lock = BoardLock(Kernel(dev=Path(sys.argv[1])), "uio")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def kernel(tmp_path):
    (tmp_path / "dev").mkdir()
    return Kernel(tmp_path / "sys", tmp_path / "dev")


@pytest.fixture
def other(kernel):
    """Another program that has the board."""
    words = [sys.executable, "-c", OTHER, str(kernel.dev), "--camera", "3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.fixture
def opened(kernel, tmp_path, monkeypatch):
    """Ways to open the board, by device."""
    FakeBoard(SMALL).install(monkeypatch)
    monkeypatch.setattr(pynq, "Kernel", lambda: kernel)
    path = write_bitstream(tmp_path)
    return {"uio": lambda: UioDevice(path, kernel=kernel), "pynq": lambda: PynqDevice.load(path)}


@pytest.mark.parametrize("name", ["uio", "pynq"])
def test_another_program_has_the_board(opened, other, name):
    with pytest.raises(
        DeviceError, match=rf"{name}: the board is busy: process {other.pid} has it \(-c .*--camera 3\)"
    ):
        opened[name]()
    other.send_signal(signal.SIGKILL)
    other.wait()
    if name == "pynq":
        opened[name]().close()
    else:
        with pytest.raises(DeviceError, match="fpga_manager"):
            opened[name]()


def test_the_board_twice_in_one_program(opened):
    device = opened["pynq"]()
    for name in ("pynq", "uio"):
        with pytest.raises(DeviceError, match="this process has it open already; close that device first"):
            opened[name]()
    device.read(0)
    device.close()
    opened["pynq"]().close()


def test_a_device_that_nobody_holds_any_more(opened):
    opened["pynq"]()
    gc.collect()
    opened["pynq"]().close()


def test_a_failure_to_open_lets_the_board_go(opened, kernel):
    for _ in range(2):
        with pytest.raises(DeviceError, match="fpga_manager"):
            opened["uio"]()
    BoardLock(kernel, "uio").close()


def test_any_user_may_have_it_next(kernel):
    before = os.umask(0o077)
    try:
        lock = BoardLock(kernel, "uio")
    finally:
        os.umask(before)
    lock.close()
    lock.close()
    assert (kernel.dev / NAME).stat().st_mode & 0o777 == 0o666


def test_a_lock_that_cannot_be(kernel):
    (kernel.dev / NAME).mkdir(parents=True)
    with pytest.raises(DeviceError, match=r"codenet\.lock: Is a directory"):
        BoardLock(kernel, "uio")
