# SPDX-License-Identifier: Apache-2.0
"""The driver for PYNQ against a package that stands in for PYNQ's; tests/sim/platforms/test_pynq.py has the real one,
and the RTL.
"""

import asyncio
import sys

import numpy as np
import pytest

from codenet import Detector, devices
from codenet.devices import bitstream, selftest
from codenet.devices.linux.kernel import Kernel
from codenet.devices.pynq import PynqDevice
from codenet.devices.pynq import device as pynq
from codenet.errors import DeviceError
from codenet.runtime.accelerator import Accelerator
from tests.board.handoff import write_bitstream
from tests.board.networks import PHOTO, SMALL, THRESHOLD, expected, program
from tests.codenet.devices.fake_pynq import FakeBoard

IMAGE = np.zeros((64, 64, 3), np.int8)


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = write_bitstream(tmp_path)
    monkeypatch.setenv(bitstream.ENVIRONMENT, str(path))
    monkeypatch.setattr(selftest, "measure_clock", lambda device: device.clock_hz)
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(pynq, "Kernel", lambda: Kernel(tmp_path / "sys", tmp_path / "dev"))
    return path


@pytest.fixture
def install(monkeypatch, path):
    def install(*arguments, **options):
        board = FakeBoard(SMALL, *arguments, **options)
        board.install(monkeypatch)
        return board

    return install


VERSIONS = [("2.7.0", False), ("3.0.1", False), ("3.1.2", False), ("3.1.2", True), ("4.0.0", True)]


@pytest.mark.parametrize(("version", "xrt"), VERSIONS)
def test_detects_what_the_golden_model_detects(install, version, xrt):
    board = install(version, xrt=xrt)
    with devices.open_device("pynq", SMALL) as device, Detector(program(), device, threshold=THRESHOLD) as detector:
        assert detector(PHOTO) == expected()
        assert (device.clock_hz, board.system.clock_hz) == (150e6, 150e6)
        assert board.system.is_wide(0)
        assert device.facts()["PYNQ"] == version
        assert type(device._ip).__name__ == "CodenetIP", "the driver is not bound"


@pytest.mark.parametrize(("version", "xrt"), VERSIONS)
def test_parts_are_synchronized_where_that_is_possible(install, path, version, xrt):
    board = install(version, xrt=xrt)
    with PynqDevice.load(path) as device, Accelerator(device, program()) as accelerator:
        accelerator.run(IMAGE)
        board.synchronized.clear()
        accelerator.run(IMAGE)
    flushed, read = (
        sum(size for name, _, size in board.synchronized if name == kind) for kind in ("flush", "invalidate")
    )
    whole = program().memory_bytes + -program().memory_bytes % 128
    if version == "3.1.2" and not xrt:
        assert (flushed, read) == (whole, whole)
    else:
        assert program().input.size <= flushed <= program().input.size + 128
        assert 0 < read < whole // 2


def test_present_on_a_board_with_the_package(install, monkeypatch, tmp_path):
    monkeypatch.setattr(pynq, "BOARD", tmp_path / "pynq_board")
    monkeypatch.setattr(pynq.importlib.util, "find_spec", lambda name: object())
    assert not pynq.is_present()
    (tmp_path / "pynq_board").touch()
    assert pynq.is_present()
    install()
    with devices.open_device("auto", SMALL) as device:
        assert device.name == "pynq"
    monkeypatch.setattr(pynq.importlib.util, "find_spec", lambda name: None)
    assert not pynq.is_present()


def test_package_that_is_missing(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(DeviceError, match=r"the package pynq cannot be imported .*pynq_venv.sh"):
        devices.open_device("pynq", SMALL)


def test_bitstream_that_is_missing(install, monkeypatch, path):
    install()
    path.rename(path.with_suffix(".away"))
    with pytest.raises(DeviceError, match=r"codenet.bit, which CODENET_BITSTREAM names: no such file"):
        devices.open_device("pynq", SMALL)
    with pytest.raises(DeviceError, match=r"codenet.bit: no such file"):
        PynqDevice.load(path)
    monkeypatch.delenv(bitstream.ENVIRONMENT)
    monkeypatch.setattr(bitstream, "SHIPPED", path)
    with pytest.raises(DeviceError, match=r"no bitstream: set CODENET_BITSTREAM to one"):
        devices.open_device("pynq", SMALL)
    path.with_suffix(".away").rename(path)
    devices.open_device("pynq", SMALL).close()


def test_description_that_is_missing_or_broken(install, path):
    install()
    description = path.with_suffix(".hwh")
    text = description.read_text()
    for broken, words in (
        (None, "its hardware description codenet.hwh is not beside it"),
        (text[:-20], "cannot be read"),
    ):
        description.unlink(missing_ok=True)
        if broken is not None:
            description.write_text(broken)
        with pytest.raises(DeviceError, match=words):
            PynqDevice.load(path)


def test_user_who_is_not_root(install, path):
    board = install(root=False)
    with pytest.raises(
        DeviceError, match=r"Root permissions required.; PYNQ needs root, this is user \d+: use sudo -E"
    ):
        PynqDevice.load(path)
    board.root = True
    PynqDevice.load(path)


def test_memory_ends(install, path, monkeypatch, tmp_path):
    install(memory_bytes=40_000)
    monkeypatch.setattr(pynq, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 500000 kB\nCmaTotal:  131072 kB\nCmaFree:  2048 kB\n")
    device = PynqDevice.load(path)
    words = r"buffer of 57216 bytes \(RuntimeError: BO allocation failed.*\); 2 of 128 MiB contiguous memory \(CMA\) are free"
    with pytest.raises(DeviceError, match=words):
        Accelerator(device, program())
    selftest.require(device)


def test_another_overlay_in_between(install, path, tmp_path):
    install()
    device = PynqDevice.load(path)
    other = write_bitstream(tmp_path, "other")
    overlay = sys.modules["pynq"].Overlay(str(other), download=False)
    for clock in overlay.clock_dict.values():
        clock.pop("enable", None)
    overlay.download()
    with pytest.raises(DeviceError, match=r"another overlay has been loaded in place of .*codenet\.bit"):
        selftest.require(device)
    device.close()
    selftest.require(PynqDevice.load(other))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vlnv": "codenet.org:user:codenet:2.0"}, "finds codenet.org:user:codenet:2.0 in it, expected .*:1.0"),
        ({"vlnv": "xilinx.com:ip:axi_gpio:2.0"}, r"its \.hwh has no accelerator"),
        ({"clock_mhz": 0.01}, "clock of 0.01 MHz: the PLLs .* run at 1000, 1300, 1050 MHz"),
    ],
)
def test_overlay_that_is_not_ours(install, path, tmp_path, changes, words):
    install()
    with pytest.raises(DeviceError, match=words):
        PynqDevice.load(write_bitstream(tmp_path, "bad", **changes))
    selftest.require(PynqDevice.load(path))


def test_something_else_in_the_logic(install, path, monkeypatch):
    board = install()
    board.accelerator._values["IDENTITY"] = 0x12345678
    writes = []
    monkeypatch.setattr(board.accelerator, "write", lambda *arguments: writes.append(arguments))
    with pytest.raises(DeviceError, match="self-test: identity: .*IDENTITY reads 0x12345678"):
        devices.open_device("pynq", SMALL)
    assert not writes


def test_clock_that_the_design_does_not_tell(install, path, tmp_path):
    board = install()
    with PynqDevice.load(write_bitstream(tmp_path, "plain", clock_mhz=None)) as device:
        assert device.clock_hz == board.system.clock_hz == 100e6


def test_closed(install, path):
    install()
    device = PynqDevice.load(path)
    buffer = device.allocate(1000)
    assert buffer.array.size == 1000 and not buffer.array.any() and buffer.address % 128 == 0
    buffer.close()
    buffer.close()
    device.close()
    device.close()
    for use in (lambda: device.read(0), lambda: device.allocate(10), lambda: buffer.flush()):
        with pytest.raises(DeviceError, match="closed"):
            use()


def test_interrupt_through_an_event_loop(install, path):
    board = install()
    device = PynqDevice.load(path)
    ip = device._ip
    device.close()
    waited = []

    class Interrupt:
        async def wait(self):
            waited.append(True)
            board.accelerator._values["IRQ_STATUS"] = int(len(waited) == 2)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        ip.interrupt = Interrupt()
        waiting = PynqDevice(ip)
        waiting.wait(1.0)
        assert len(waited) == 2, "one of another cause was taken for ours"
    finally:
        loop.close()
        asyncio.set_event_loop(None)
