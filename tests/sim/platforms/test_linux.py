# SPDX-License-Identifier: Apache-2.0
"""The driver for plain Linux on the RTL, through stand-ins for the kernel's files."""

import numpy as np
import pytest

from codenet import devices
from codenet.cli import doctor
from codenet.devices import bitstream, selftest
from codenet.devices.linux import interrupt, uio
from codenet.devices.linux.uio import UioDevice
from codenet.errors import DeviceError, DeviceTimeout, FormatError
from codenet.runtime.accelerator import Accelerator
from sim.platforms.linux import SimulatedKernel
from sim.platforms.processing_system import SimulatedTime
from sim.timing import DramTiming
from tests.board import checks
from tests.board.handoff import BASE, hwh, write_bitstream
from tests.board.networks import SMALL, program


@pytest.fixture
def kernel(live, system, tmp_path, simulated_time):
    kernel = SimulatedKernel(tmp_path, live, system, BASE)
    yield kernel
    kernel.close()
    kernel.shut_down()


@pytest.fixture
def path(tmp_path):
    return write_bitstream(tmp_path)


@pytest.fixture
def open_board(kernel, path):
    def open_board():
        device = UioDevice(path, kernel=kernel)
        try:
            selftest.require(device)
        except BaseException:
            device.close()
            raise
        return device

    return open_board


def test_detects_what_the_golden_model_detects(open_board):
    with open_board() as device:
        assert device.facts()["interrupt"].endswith("dev/uio0")
        checks.detects(device, times=2)


def test_two_frames_in_flight(open_board):
    with open_board() as device:
        checks.two_frames_in_flight(device)


def test_device_by_name(kernel, path, monkeypatch):
    monkeypatch.setattr(uio, "Kernel", lambda: kernel)
    monkeypatch.setenv(bitstream.ENVIRONMENT, str(path))
    assert uio.is_present()
    with devices.open_device("auto", SMALL) as device:
        assert device.name == "uio"
    lines = [str(check) for check in doctor.examine("uio", program())]
    assert lines[0] == "ok      device: uio opens"
    assert lines[3] == "ok      configuration: is the one that program 'tiny' was compiled for"
    assert lines[4].startswith("ok      memory: the accelerator read 8192 bytes at 0x")
    assert lines[5] == "ok      clock: 150.0 MHz counted against the wall, set to 150.0 MHz"
    assert lines[6].startswith(f"-       bitstream: {path}")
    kernel.udmabuf.rename(kernel.udmabuf.with_name("gone"))
    kernel.udmabuf.with_name("gone").rename(kernel.sysfs / "gone")
    assert not uio.is_present()


def test_memory_of_an_older_module(live, system, tmp_path, path, simulated_time):
    kernel = SimulatedKernel(tmp_path, live, system, BASE, memory_class="udmabuf")
    with UioDevice(path, kernel=kernel) as device:
        selftest.require(device)
        checks.detects(device)
    kernel.shut_down()


def test_only_what_has_changed_is_synchronized(kernel, open_board):
    with open_board() as device, Accelerator(device, program()) as accelerator:
        accelerator.run(checks.IMAGE)
        kernel.syncs.clear()
        accelerator.run(checks.IMAGE)
        layout = program().input
        (flushed,) = [size for command, _, size in kernel.syncs if command == "sync_for_device"]
        assert layout.size <= flushed <= layout.size + 128
        read = sum(size for command, _, size in kernel.syncs if command == "sync_for_cpu")
        assert 0 < read < program().memory_bytes // 2


def test_clock_ports_and_facts(open_board, system, kernel):
    with open_board() as device:
        assert device.clock_hz == system.clock_hz == 150e6
        assert system.is_wide(0) and system.is_wide(1)
        facts = device.facts()
    assert facts["clock"] == "150 MHz"
    assert facts["registers"].endswith("uio0")
    assert facts["memory for the accelerator"] == "1048576 of 1048576 bytes of udmabuf0 are free"
    with pytest.raises(DeviceError, match="closed"):
        device.read(0)


def test_clock_that_is_another_than_the_registers_say(open_board, live, system, monkeypatch):
    monkeypatch.setattr(selftest, "time", SimulatedTime(live, system, slower=1.5))
    with pytest.raises(DeviceError, match=r"self-test: clock: 100\.0 MHz counted against the wall, set to 150\.0 MHz"):
        open_board()


def test_logic_that_is_loaded_already(kernel, path):
    with pytest.raises(DeviceError, match=r"nothing is loaded into the logic \(state 'unknown'\)"):
        UioDevice(kernel=kernel)
    UioDevice(path, kernel=kernel).close()
    with UioDevice(kernel=kernel) as device:
        assert device.clock_hz == 150e6
        checks.detects(device)


def test_registers_without_uio(kernel, path):
    (kernel.uio / "name").write_text("another\n")
    with UioDevice(path, kernel=kernel) as device:
        assert device.facts()["registers"].endswith("mem")
        assert "polled" in device.facts()["interrupt"]
        checks.detects(device)
    with pytest.raises(DeviceError, match="no device 'codenet' for the registers, and no .hwh"):
        UioDevice(kernel=kernel)


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_each_frame_is_an_interrupt(kernel, open_board, monkeypatch):
    monkeypatch.setattr(interrupt, "RECHECK_SECONDS", 60.0)  # A lost one is a timeout.
    with open_board() as device:
        before = kernel.node.count
        checks.detects(device, times=2)
        assert kernel.node.count == before + 2


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_interrupt_that_is_not_connected(open_board, kernel, held, monkeypatch, caplog):
    with open_board() as device:
        monkeypatch.setattr(kernel.node, "_level", lambda: False)
        held()
        checks.detects(device, times=2)
        assert "polled" in device.facts()["interrupt"]
    words = "device uio: its interrupt does not arrive; IRQ_STATUS is polled from now on"
    assert [record.message for record in caplog.records] == [words]


def test_interrupt_that_never_comes(open_board):
    with open_board() as device:
        with pytest.raises(DeviceTimeout, match="no interrupt within 0.2 s"):
            device.wait(0.2)
        checks.detects(device)


def test_program_for_another_array(open_board):
    checks.program_for_another_array(open_board)


def test_bitstream_of_another_version(open_board, live, monkeypatch):
    checks.bitstream_of_another_version(open_board, live, monkeypatch)


def test_accelerator_that_is_stuck(open_board, live):
    with open_board() as device:
        checks.stuck_accelerator(device, live)


def test_step_that_takes_too_long(open_board):
    with open_board() as device:
        checks.step_that_takes_too_long(device)


def test_memory_ends(open_board):
    with open_board() as device:
        first = device.allocate(1_000_000)
        words = r"no room for a buffer of 100000 bytes: 48512 of 1048576 bytes of .*udmabuf0 are free"
        with pytest.raises(DeviceError, match=words):
            device.allocate(100_000)
        with pytest.raises(DeviceError, match="no room for a buffer of 57"):
            Accelerator(device, program())
        first.close()
        checks.detects(device)


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_uio_device_that_goes_away_while_it_is_waited_for(open_board, kernel):
    device = open_board()
    accelerator = Accelerator(device, program())
    kernel.vanish()
    accelerator.start()
    with pytest.raises(DeviceError, match="uio0: the device has gone"):
        accelerator.finish()
        raise DeviceError("it was faster")
    accelerator.close()
    device.close()
    with pytest.raises(DeviceError, match="uio0: does not exist"):
        open_board()
    kernel.return_uio()
    with open_board() as device:
        checks.detects(device)


@pytest.mark.parametrize("name", ["dev/uio0", "dev/udmabuf0", "dev/mem", "sys/class/fpga_manager/fpga0/firmware"])
def test_missing_permission(open_board, kernel, tmp_path, name):
    kernel.denied.add(tmp_path / name)
    with pytest.raises(DeviceError, match=rf"{name}: no permission for user \d+; use sudo"):
        open_board()
    kernel.denied.clear()
    selftest.require(open_board())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dev/uio0", "dev/uio0: does not exist"),
        ("dev/udmabuf0", "dev/udmabuf0: does not exist"),
        ("sys/class/u-dma-buf", "class/u-dma-buf: there is none; load the module u-dma-buf"),
        ("sys/class/fpga_manager/fpga0", "class/fpga_manager: there is none: no Zynq"),
        ("sys/class/fpga_manager/fpga0/firmware", "has no attribute 'firmware', which Xilinx's kernels have"),
        ("firmware", "firmware/codenet.bin: does not exist"),
        ("codenet.hwh", "codenet.bit: its hardware description codenet.hwh is not beside it"),
    ],
)
def test_missing_file(open_board, kernel, tmp_path, name, words):
    (tmp_path / name).rename(tmp_path / "away")
    with pytest.raises(DeviceError, match=words):
        open_board()
    (tmp_path / "away").rename(tmp_path / name)
    selftest.require(open_board())


def test_handoff_of_another_board(open_board, kernel, path):
    """Whatever the logic holds stays."""
    good = path.with_suffix(".hwh").read_text()
    path.with_suffix(".hwh").write_text(hwh(accelerator={"C_BOARDS": "zybo-z7-20"}))
    with pytest.raises(DeviceError, match="is for zybo-z7-20, but this board is pynq-z2"):
        open_board()
    assert kernel.loaded is None
    path.with_suffix(".hwh").write_text(good)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"no bitstream at all", FormatError, "as a .bit file does"),
        (None, FormatError, r"bytes of bitstream: expected \d+, as its header says"),
    ],
    ids=["something else", "truncated"],
)
def test_file_that_is_no_bitstream(open_board, kernel, path, content, error, words):
    good = path.read_bytes()
    path.write_bytes(good[:-8] if content is None else content)
    with pytest.raises(error, match=words):
        open_board()
    assert kernel.loaded is None
    path.write_bytes(good)
    selftest.require(open_board())


def test_bitstream_that_the_manager_refuses(open_board, kernel, monkeypatch):
    monkeypatch.setattr("sim.platforms.linux.SYNC_WORD", b"\x01\x02\x03\x04")
    with pytest.raises(DeviceError, match=r"codenet.bit: .*firmware: Invalid argument; state 'write init error'"):
        open_board()


def test_logic_that_does_not_start(open_board, kernel, monkeypatch):
    monkeypatch.setattr(kernel, "_load", lambda name: (kernel.manager / "state").write_text("write complete\n"))
    with pytest.raises(DeviceError, match=r"state is 'write complete' after loading it, expected 'operating'"):
        open_board()


def test_commands_of_the_memory(open_board, kernel, monkeypatch):
    commands = []
    with open_board() as device:
        device.allocate(256)
        buffer = device.allocate(1000)
        monkeypatch.setattr(kernel, "command", lambda path, text: commands.append((path.name, text)))
        buffer.flush([(0, 128), (256, 512)])
        buffer.invalidate([(70, 10)])
        buffer.flush()
        device._pool.coherent = True
        buffer.flush()
        buffer.invalidate()
    # Offset in bits 63 to 32, size in 31 to 4, direction in 3 and 2 (1: to the device, 2: from it), bit 0: do it. In
    # whole lines of 64.
    assert commands == [
        ("sync_for_device", "0x0000010000000085"),
        ("sync_for_device", "0x0000020000000205"),
        ("sync_for_cpu", "0x0000014000000049"),
        ("sync_for_device", "0x0000010000000405"),
    ]


def test_register_offsets_and_values(open_board):
    with open_board() as device:
        for offset in (-4, 2, 4096):
            with pytest.raises(DeviceError, match="register offset"):
                device.read(offset)
        with pytest.raises(DeviceError, match="expected 32 bits"):
            device.write(0x5C, 2**32)
        buffer = device.allocate(100)
        assert buffer.address % 128 == 0 and not buffer.array.any()
        buffer.close()
        buffer.close()
        with pytest.raises(DeviceError, match="closed"):
            buffer.flush()
        assert np.array_equal(buffer.array, [])
