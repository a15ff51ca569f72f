# SPDX-License-Identifier: Apache-2.0
"""What every board has to do, whatever its driver: frames as the golden model, and one error for what is wrong, after
which all is well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codenet import Detector
from codenet.config import AcceleratorConfig
from codenet.devices.base import Device
from codenet.errors import DeviceError
from codenet.isa import ISA_VERSION
from codenet.registers import BY_NAME
from codenet.runtime.accelerator import Accelerator
from sim.platforms.live_board import LiveBoard
from sim.verilator.board import PORT0_READ
from tests.board.networks import PHOTO, THRESHOLD, expected, program

IMAGE = np.zeros((64, 64, 3), np.int8)


def detects(device: Device, times: int = 1) -> None:
    with Detector(program(), device, threshold=THRESHOLD) as detector:
        for _ in range(times):
            assert detector(PHOTO) == expected()


def two_frames_in_flight(device: Device) -> None:
    photos = [np.full((64, 64, 3), value, np.int8) for value in (-100, 0, 100)]
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


def program_for_another_array(open_device: Callable[[], Device]) -> None:
    words = "configuration outputs=8, .* compiled for outputs=32"
    with open_device() as device, pytest.raises(DeviceError, match=words):
        Accelerator(device, program(AcceleratorConfig()))
    with open_device() as device:
        detects(device)


def bitstream_of_another_version(
    open_device: Callable[[], Device], live: LiveBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset, read = BY_NAME["VERSION"].offset, live.read
    monkeypatch.setattr(live, "read", lambda address: 99 if address == offset else read(address))
    words = f"self-test: identity: .*version 99, but this package drives version {ISA_VERSION}; load another bitstream"
    with pytest.raises(DeviceError, match=words):
        open_device()
    monkeypatch.setattr(live, "read", read)
    with open_device() as device:
        detects(device)


def stuck_accelerator(device: Device, live: LiveBoard) -> None:
    """Memory that does not answer: a timeout that says all there is to know, a reset that does not help, until memory
    answers again.
    """
    with Accelerator(device, program(), timeout=60.0) as accelerator:
        good = accelerator.run(IMAGE).read("heatmap")
        accelerator.timeout = 0.3
        live.board.halt(PORT0_READ)
        words = r"within 0.3 s: STATUS 0x\w+, step 0 'stem' of 20, cause NONE, 0 steps finished, \d+ cycles; and then: .*still busy"
        with pytest.raises(DeviceError, match=words):
            accelerator.run(IMAGE)
        live.board.halt(0)
        accelerator.timeout = 60.0
        assert np.array_equal(accelerator.run(IMAGE).read("heatmap"), good)


def step_that_takes_too_long(device: Device) -> None:
    with Accelerator(device, program(), watchdog_cycles=20) as accelerator:
        words = r"stopped: STATUS \w+, step 0 'stem' of 20, cause WATCHDOG, 0 steps finished, \d+ cycles"
        with pytest.raises(DeviceError, match=words):
            accelerator.run(IMAGE)
        device.write(BY_NAME["WATCHDOG"].offset, 0)
        accelerator.run(IMAGE)
