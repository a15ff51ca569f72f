# SPDX-License-Identifier: Apache-2.0
"""The simulated board whose clock runs by itself, and the self-test on the RTL."""

import threading
import time

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import control, selftest
from codenet.errors import DeviceError
from codenet.registers import BY_NAME
from sim.platforms.live_board import LiveBoard
from sim.timing import DramTiming
from sim.verilator.board import MEMORY_BASE, MEMORY_BYTES, PORT0_READ, RtlDevice

SMALL = AcceleratorConfig.small()


@pytest.fixture
def live():
    board = LiveBoard(SMALL, memory_bytes=1 << 20)
    yield board
    board.close()
    board.close()


def start_copy(board):
    image, source, target, size = selftest.copy_step(SMALL, 16, 32)
    address = board.allocate(len(image))
    memory = board.memory(address, len(image))
    memory[:] = image
    memory[source : source + size] = np.arange(size) % 251
    control.configure(board)
    control.start(board, address)
    return address, memory[source : source + size], memory[target : target + size]


def test_runs_by_itself_and_calls_at_the_interrupt(live):
    called = threading.Event()
    live.on_interrupt.append(called.set)
    _, source, target = start_copy(live)
    assert called.wait(20)
    assert np.array_equal(source, target)
    before = live.board.cycles
    time.sleep(0.05)
    assert live.board.cycles == before, "the clock goes on although nothing runs"
    assert BY_NAME["STATUS"].extract(live.read(BY_NAME["STATUS"].offset), "done")


def test_stray_access_is_told_at_the_next_register_access(live):
    address, _, _ = start_copy(live)
    live.write(BY_NAME["CONTROL"].offset, 2)
    status = BY_NAME["STATUS"]
    while status.extract(live.read(status.offset), "busy"):  # A start before the last transfers have ended is ignored.
        time.sleep(0.001)
    live.free(address)
    control.start(live, address)
    with pytest.raises(DeviceError, match="lie outside"):
        for _ in range(1000):
            live.read(BY_NAME["STATUS"].offset)
            time.sleep(0.001)


def test_memory_is_used_again_and_ends(live):
    first = live.allocate(400_000)
    second = live.allocate(400_000)
    assert second >= first + 400_000
    with pytest.raises(MemoryError):
        live.allocate(400_000)
    live.free(first)
    assert live.allocate(300_000) == first


@pytest.mark.parametrize(
    "config", [pytest.param(AcceleratorConfig(), marks=pytest.mark.slow), SMALL], ids=["default", "small"]
)
def test_self_test_on_the_rtl(config):
    with RtlDevice(config, DramTiming(jitter=20, stall=0.1)) as device:
        checks = {check.name: check for check in selftest.diagnose(device)}
        assert [check.passed for check in checks.values()] == [True, True, True, True, None]
        assert "read 8192 bytes" in checks["memory"].text


def test_clock_step_runs_long_and_writes_nothing():
    with RtlDevice(SMALL, max_cycles=50_000) as device:
        image = selftest.idle_step(SMALL, 4095, 3 * SMALL.window_depth)
        buffer = device.allocate(len(image))
        buffer.array[:] = image
        with selftest.running(device, buffer):
            device.board.run(300_000)
            first = device.read(BY_NAME["FRAME_CYCLES"].offset)
            device.board.run(100_000)
            second = device.read(BY_NAME["FRAME_CYCLES"].offset)
            assert BY_NAME["STATUS"].extract(device.read(BY_NAME["STATUS"].offset), "busy")
        assert second - first == pytest.approx(100_000, abs=50)
        assert np.array_equal(buffer.array, image)


def test_self_test_finds_memory_that_hangs(monkeypatch):
    monkeypatch.setattr(selftest, "SECONDS", 0.01)
    monkeypatch.setattr(selftest, "WATCHDOG_CYCLES", 10_000)
    with RtlDevice(SMALL) as device:
        device.board.halt(PORT0_READ)
        checks = list(selftest.diagnose(device))
        assert checks[-1].name == "memory"
        assert "still busy" in checks[-1].text
        device.board.allow(MEMORY_BASE, MEMORY_BYTES)  # What was outstanding now arrives in memory that was given back.
        device.board.halt(0)
        device.board.run(2000, until_interrupt=False)
        selftest.require(device)
