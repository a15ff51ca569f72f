# SPDX-License-Identifier: Apache-2.0
"""The driver for PYNQ with the real package ``pynq``, on the RTL: ``make test-pynq`` runs this with the versions that
matter.
"""

import asyncio
import gc
import time
import warnings

import numpy as np
import pytest

from codenet import devices
from codenet.devices import selftest
from codenet.devices.bit_file import BitFile
from codenet.devices.linux.kernel import Kernel
from codenet.errors import DeviceError, DeviceTimeout
from codenet.runtime.accelerator import Accelerator
from hw.boards.board import PYNQ_Z2
from hw.flow import hwh
from sim.platforms.live_board import LiveBoard
from sim.platforms.processing_system import SimulatedTime
from sim.platforms.uio_node import UioNode
from sim.timing import DramTiming
from tests.board import checks
from tests.board.handoff import BASE, INTERRUPT_CONTROLLER, write_bitstream
from tests.board.networks import SMALL, program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq", reason="the package pynq is not installed; make test-pynq has it")

from codenet.devices.pynq import PynqDevice  # noqa: E402
from sim.platforms.pynq_device import SimulatedPynqDevice  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:No devices found"),
]


@pytest.fixture
def board(live, system, monkeypatch, tmp_path, simulated_time):
    """A board with PYNQ on it, and ``codenet.bit`` where the driver looks."""
    device = SimulatedPynqDevice(live, system, BASE)
    monkeypatch.setattr(pynq.Device, "_active_device", device, raising=False)
    monkeypatch.setenv("CODENET_BITSTREAM", str(write_bitstream(tmp_path)))
    yield device
    device.close()


def open_board():
    return devices.open_device("pynq", SMALL)


def test_detects_what_the_golden_model_detects(board):
    with open_board() as device:
        checks.detects(device, times=2)
    assert [path.name for path in board.bitstreams] == ["codenet.bit"]


def test_two_frames_in_flight(board):
    with open_board() as device:
        checks.two_frames_in_flight(device)


def test_clock_and_ports_are_set(board, system):
    assert (system.clock_hz, system.is_wide(0), system.is_wide(1)) == (100e6, False, False)
    with open_board() as device:
        assert device.clock_hz == system.clock_hz == 150e6
        assert system.is_wide(0) and system.is_wide(1)
        pynq.Clocks.__dict__.get("_real_instance") and delattr(pynq.Clocks, "_real_instance")
        pynq.Clocks.set_device(board)
        assert pynq.Clocks.fclk0_mhz == 150.0, "PYNQ reads another clock from the registers than we"
        facts = device.facts()
    assert facts["clock"] == "150 MHz"
    assert facts["PYNQ"] == pynq.__version__
    assert facts["bitstream"].endswith("codenet.bit")


def test_clock_that_is_another_than_the_registers_say(board, live, system, monkeypatch):
    monkeypatch.setattr(selftest, "time", SimulatedTime(live, system, slower=1.5))
    with pytest.raises(DeviceError, match=r"self-test: clock: 100\.0 MHz counted against the wall, set to 150\.0 MHz"):
        open_board()


def test_files_of_the_build(board, system, tmp_path, monkeypatch):
    """What ``make bitstream`` writes, not the least that PYNQ reads: it binds our driver, which sets the build's clock,
    150 MHz of the DDR PLL.
    """
    (tmp_path / "build").mkdir()
    path = write_bitstream(tmp_path / "build")
    path.with_suffix(".hwh").write_text(hwh.generate(PYNQ_Z2, SMALL, 150, BitFile.parse(path.read_bytes())))
    monkeypatch.setenv("CODENET_BITSTREAM", str(path))
    with open_board() as device:
        assert device.clock_hz == system.clock_hz == 150e6
        assert system.is_wide(0) and system.is_wide(1)
        assert device.facts()["bitstream"].endswith("build/codenet.bit")
        checks.detects(device, times=2)
    overlay = pynq.Overlay(str(path), download=False)
    assert isinstance(overlay.codenet.open_device(), PynqDevice)
    assert overlay.ip_dict["codenet"]["parameters"]["C_OUTPUTS"] == str(SMALL.outputs)


def test_overlay_that_is_already_there(board, tmp_path):
    overlay = pynq.Overlay(str(tmp_path / "codenet.bit"), download=False)
    for clock in overlay.clock_dict.values():
        clock.pop("enable")
    overlay.download()
    device = overlay.codenet_0.open_device()
    checks.detects(device)


def test_memory_goes_back(board, live):
    with open_board() as device:
        for _ in range(3):
            accelerator = Accelerator(device, program())
            outputs = accelerator.run(np.zeros((64, 64, 3), np.int8))
            accelerator.close()
            kept = outputs.memory.sum()
            assert len(live._used) == 1, "memory that an array still views was given back"
            assert outputs.memory.sum() == kept
            del outputs, accelerator
            assert not live._used


def test_memory_ends(system, monkeypatch, tmp_path):
    live = LiveBoard(SMALL, memory_bytes=40_000)
    monkeypatch.setattr(pynq.Device, "_active_device", SimulatedPynqDevice(live, system, BASE), raising=False)
    device = PynqDevice.load(write_bitstream(tmp_path))
    with pytest.raises(
        DeviceError, match=r"no memory for a buffer of 57\d+ bytes \(RuntimeError: BO allocation.* cma="
    ):
        Accelerator(device, program())
    assert not live._used
    device.allocate(8192).close()
    assert not live._used
    live.close()


def test_another_overlay_in_between(board, tmp_path):
    with open_board() as device:
        accelerator = Accelerator(device, program())
        other = write_bitstream(tmp_path, "other")
        overlay = pynq.Overlay(str(other), download=False)
        for clock in overlay.clock_dict.values():
            clock.pop("enable", None)
        overlay.download()
        with pytest.raises(DeviceError, match=r"another overlay has been loaded in place of .*codenet\.bit"):
            accelerator.run(np.zeros((64, 64, 3), np.int8))
        del accelerator
    selftest.require(PynqDevice.load(other))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vlnv": "codenet.org:user:codenet:2.0"}, "finds codenet.org:user:codenet:2.0 in it, expected .*:1.0"),
        ({"vlnv": "xilinx.com:ip:axi_gpio:2.0"}, r"its \.hwh has no accelerator"),
        ({"clock_mhz": 0.01}, "clock of 0.01 MHz: the PLLs .* run at 1000, 1300, 1050 MHz"),
    ],
)
def test_overlay_that_is_not_ours(board, tmp_path, changes, words):
    good = tmp_path / "codenet.bit"
    with pytest.raises(DeviceError, match=words), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PynqDevice.load(write_bitstream(tmp_path, "bad", **changes))
    selftest.require(PynqDevice.load(good))


def test_file_that_is_no_bitstream(board, tmp_path, monkeypatch):
    path = write_bitstream(tmp_path, "bad")
    path.write_bytes(b"no bitstream at all" * 100)
    with pytest.raises(DeviceError, match="bitstream .*bad.bit: FormatError: .* as a .bit file does"):
        PynqDevice.load(path)


def test_no_board(monkeypatch, tmp_path):
    monkeypatch.delattr(pynq.Device, "_active_device", raising=False)
    monkeypatch.setattr(type(pynq.Device), "devices", property(lambda cls: []))
    with pytest.raises(DeviceError, match="No Devices Found; this machine is no board with PYNQ"):
        PynqDevice.load(write_bitstream(tmp_path))


def test_program_for_another_array(board):
    checks.program_for_another_array(open_board)


def test_bitstream_of_another_version(board, live, monkeypatch):
    checks.bitstream_of_another_version(open_board, live, monkeypatch)


def test_accelerator_that_is_stuck(board, live):
    with open_board() as device:
        checks.stuck_accelerator(device, live)


def test_step_that_takes_too_long(board):
    with open_board() as device:
        checks.step_that_takes_too_long(device)


@pytest.fixture
def board_with_interrupt(live, system, monkeypatch, tmp_path, simulated_time):
    device = SimulatedPynqDevice(live, system, BASE, INTERRUPT_CONTROLLER)
    monkeypatch.setattr(pynq.Device, "_active_device", device, raising=False)
    monkeypatch.setattr(
        pynq.interrupt, "get_uio_irq", lambda irq: str(device.controller.node.path) if irq == 61 else None
    )
    monkeypatch.setattr(pynq.interrupt._InterruptController, "_uio_devices", {})
    monkeypatch.setattr(pynq.interrupt._InterruptController, "_controllers", [])
    monkeypatch.setenv("CODENET_BITSTREAM", str(write_bitstream(tmp_path, interrupt=True)))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield device
    # PYNQ closes a node when the object that has it open goes: here, while there is a loop, and not before the node
    # itself.
    files = []
    for controller in pynq.interrupt._InterruptController._uio_devices.values():
        loop.remove_reader(controller.uio)
        controller.wait_events.clear()
        files.append(controller.uio)
    del controller
    pynq.interrupt._InterruptController._controllers.clear()
    pynq.interrupt._InterruptController._uio_devices.clear()
    gc.collect()
    assert all(file.closed for file in files)
    loop.close()
    asyncio.set_event_loop(None)
    device.close()


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_interrupt_of_the_overlay(board_with_interrupt, monkeypatch):
    monkeypatch.setattr("codenet.devices.linux.interrupt.RECHECK_SECONDS", 60.0)
    with open_board() as device:
        assert device.facts()["interrupt"] == "of the overlay"
        before = board_with_interrupt.controller.node.count
        monkeypatch.setattr(PynqDevice, "read", counted := Counted(PynqDevice.read))
        checks.detects(device, times=2)
        assert board_with_interrupt.controller.node.count == before + 2
        assert counted.calls < 100, "it polls"


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __get__(self, instance, owner):
        def call(*arguments):
            self.calls += 1
            return self.function(instance, *arguments)

        return call


def test_interrupt_that_never_comes(board_with_interrupt, monkeypatch):
    with open_board() as device:
        begin = time.monotonic()
        with pytest.raises(DeviceTimeout, match="no interrupt within 0.3 s"):
            device.wait(0.3)
        assert 0.3 <= time.monotonic() - begin < 2
        checks.detects(device)


@pytest.fixture
def kernel(live, tmp_path):
    """UIO as on PYNQ's images: a device for the first interrupt from the logic."""
    kernel = Kernel(tmp_path / "sys", tmp_path / "dev")
    (kernel.sysfs / "class/uio/uio1").mkdir(parents=True)
    (kernel.sysfs / "class/uio/uio1/name").write_text("fabric\n")
    kernel.dev.mkdir()
    node = UioNode(lambda: live.interrupt)
    (kernel.dev / "uio1").symlink_to(node.path)
    kernel.node = node
    yield kernel
    node.close()


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_interrupt_of_the_image(board, live, kernel, tmp_path, monkeypatch):
    monkeypatch.setattr("codenet.devices.linux.interrupt.RECHECK_SECONDS", 60.0)
    live.on_interrupt.append(kernel.node.check)
    with PynqDevice.load(tmp_path / "codenet.bit", kernel) as device:
        assert device.facts()["interrupt"].endswith("dev/uio1")
        checks.detects(device, times=2)
        assert kernel.node.count == 2


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_interrupt_that_is_not_connected(board, kernel, held, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kernel.node, "_level", lambda: False)
    with PynqDevice.load(tmp_path / "codenet.bit", kernel) as device:
        held()
        checks.detects(device, times=2)
        assert "polled" in device.facts()["interrupt"]
    assert [record.message for record in caplog.records] == [
        "device pynq: its interrupt does not arrive; IRQ_STATUS is polled from now on"
    ]


def test_polls_where_an_event_loop_runs(board_with_interrupt):
    async def cell():
        with open_board() as device:
            checks.detects(device)

    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(cell())
