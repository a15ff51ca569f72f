"""The driver for PYNQ with the real package ``pynq``, on the RTL: ``make test-pynq`` runs this with the versions that matter."""

import asyncio
import time
import warnings
from functools import partial

import numpy as np
import pytest

from codenet import Detector, devices, selftest
from codenet.accelerator import Accelerator
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError, DeviceTimeout
from codenet.registers import BY_NAME
from sim.board import PORT0_READ
from sim.live import LiveBoard
from sim.processing_system import ProcessingSystem, SimulatedTime
from sim.timing import DramTiming
from tests.board.handoff import BASE, INTERRUPT_CONTROLLER, write_bitstream
from tests.board.networks import PHOTO, SMALL, THRESHOLD, expected, program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq", reason="the package pynq is not installed; make test-pynq has it")

from codenet.devices.pynq import PynqDevice  # noqa: E402
from sim.pynq_device import SimulatedPynqDevice  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:No devices found"),
]


@pytest.fixture
def timing():
    return DramTiming()


@pytest.fixture
def live(timing):
    board = LiveBoard(SMALL, timing)
    yield board
    board.close()


@pytest.fixture
def system():
    return ProcessingSystem(narrow_ports=(0, 1))


@pytest.fixture
def fast_clock(monkeypatch, live, system):
    """The self-test measures the simulated clock, which it need not do for long."""
    monkeypatch.setattr(selftest, "time", SimulatedTime(live, system))
    monkeypatch.setattr(selftest, "measure_clock", partial(selftest.measure_clock, seconds=0.001))


@pytest.fixture
def board(live, system, monkeypatch, tmp_path, fast_clock):
    """A board with PYNQ on it, and ``codenet.bit`` where the driver looks."""
    device = SimulatedPynqDevice(live, system, BASE)
    monkeypatch.setattr(pynq.Device, "_active_device", device, raising=False)
    monkeypatch.setenv("CODENET_BITSTREAM", str(write_bitstream(tmp_path)))
    yield device
    device.close()


def open_board():
    return devices.open_device("pynq", SMALL)


def test_detects_what_the_golden_model_detects(board):
    with open_board() as device, Detector(program(), device, threshold=THRESHOLD) as detector:
        assert detector(PHOTO) == expected()
        assert detector(PHOTO) == expected()
    assert [path.name for path in board.bitstreams] == ["codenet.bit"]


def test_two_frames_in_flight(board):
    photos = [np.full((64, 64, 3), value, np.int8) for value in (-100, 0, 100)]
    with open_board() as device:
        with Accelerator(device, program()) as one:
            alone = [one.run(photo).read("heatmap") for photo in photos]
        with Accelerator(device, program(), frames=2) as two:
            found = []
            two.pixels[..., :3] = photos[0].view(np.uint8)
            for n in range(len(photos)):
                two.start()
                if n + 1 < len(photos):
                    two.pixels[..., :3] = photos[n + 1].view(np.uint8)
                found.append(two.finish().read("heatmap"))
    assert all(np.array_equal(a, b) for a, b in zip(alone, found, strict=True))
    assert not np.array_equal(alone[0], alone[2])


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
    with pytest.raises(DeviceError, match=r"self-test: clock: 100\.\d MHz counted against the wall, set to 150\.0 MHz"):
        open_board()


def test_overlay_that_is_already_there(board, tmp_path):
    overlay = pynq.Overlay(str(tmp_path / "codenet.bit"), download=False)
    for clock in overlay.clock_dict.values():
        clock.pop("enable")
    overlay.download()
    device = overlay.codenet_0.open_device()
    with Detector(program(), device, threshold=THRESHOLD) as detector:
        assert detector(PHOTO) == expected()


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
        other = PynqDevice.load(write_bitstream(tmp_path, "other"))
        with pytest.raises(DeviceError, match=r"another overlay has been loaded in place of .*codenet\.bit"):
            accelerator.run(np.zeros((64, 64, 3), np.int8))
        del accelerator
        selftest.require(other)


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
    with pytest.raises(DeviceError, match="bitstream .*bad.bit: FormatError: .* its header is not that of a .bit"):
        PynqDevice.load(path)


def test_no_board(monkeypatch, tmp_path):
    monkeypatch.delattr(pynq.Device, "_active_device", raising=False)
    monkeypatch.setattr(type(pynq.Device), "devices", property(lambda cls: []))
    with pytest.raises(DeviceError, match="No Devices Found; this machine is no board with PYNQ"):
        PynqDevice.load(write_bitstream(tmp_path))


def test_program_for_another_array(board):
    with (
        open_board() as device,
        pytest.raises(DeviceError, match="configuration outputs=8, .* compiled for outputs=32"),
    ):
        Accelerator(device, program(AcceleratorConfig()))
    with open_board() as device, Detector(program(), device, threshold=THRESHOLD) as detector:
        assert detector(PHOTO) == expected()


def test_accelerator_that_is_stuck(board, live):
    image = np.zeros((64, 64, 3), np.int8)
    with open_board() as device, Accelerator(device, program(), timeout=0.5) as accelerator:
        good = accelerator.run(image).read("heatmap")
        live.board.halt(PORT0_READ)
        with pytest.raises(
            DeviceError, match=r"within 0.5 s: STATUS 0x\w+, step 0 .*cause NONE, 0 steps .* and then: .*still busy"
        ):
            accelerator.run(image)
        live.board.halt(0)
        assert np.array_equal(accelerator.run(image).read("heatmap"), good)


def test_step_that_takes_too_long(board, live):
    image = np.zeros((64, 64, 3), np.int8)
    with open_board() as device, Accelerator(device, program(), watchdog_cycles=20) as accelerator:
        with pytest.raises(DeviceError, match=r"stopped: STATUS .* cause WATCHDOG, \d+ steps finished, \d+ cycles"):
            accelerator.run(image)
        device.write(BY_NAME["WATCHDOG"].offset, 0)
        accelerator.run(image)


@pytest.fixture
def board_with_interrupt(live, system, monkeypatch, tmp_path, fast_clock):
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
    for controller in pynq.interrupt._InterruptController._uio_devices.values():
        loop.remove_reader(controller.uio)  # Which keeps it, and it closes its file when it goes.
    del controller
    pynq.interrupt._InterruptController._controllers.clear()
    pynq.interrupt._InterruptController._uio_devices.clear()
    loop.close()
    asyncio.set_event_loop(None)
    device.close()


@pytest.mark.parametrize("timing", [DramTiming(latency=1000)], ids=["slow memory"])
def test_interrupt_of_the_overlay(board_with_interrupt, monkeypatch):
    monkeypatch.setattr("codenet.devices.pynq.RECHECK_SECONDS", 60.0)
    with open_board() as device:
        assert device.facts()["interrupt"] == "of the overlay"
        before = board_with_interrupt.controller.node.count
        monkeypatch.setattr(PynqDevice, "read", counted := Counted(PynqDevice.read))
        with Detector(program(), device, threshold=THRESHOLD) as detector:
            assert detector(PHOTO) == expected()
            assert detector(PHOTO) == expected()
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
        with Detector(program(), device, threshold=THRESHOLD) as detector:
            assert detector(PHOTO) == expected()


def test_polls_where_an_event_loop_runs(board_with_interrupt):
    async def cell():
        with open_board() as device, Detector(program(), device, threshold=THRESHOLD) as detector:
            return detector(PHOTO)

    assert asyncio.get_event_loop_policy().get_event_loop().run_until_complete(cell()) == expected()
