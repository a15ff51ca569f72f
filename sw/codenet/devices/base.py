# SPDX-License-Identifier: Apache-2.0
"""The small interface that every device implements; the driver (:mod:`codenet.runtime.accelerator`) needs nothing
else.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from codenet.devices.control import Turns
from codenet.errors import DeviceTimeout
from codenet.registers import BY_NAME

Parts: TypeAlias = "Iterable[tuple[int, int]]"
"""Parts of a buffer: (offset, size) in bytes."""

LONGEST_PAUSE = 2.5e-4
"""Seconds between two looks at the interrupt, at most: what a frame may lose to polling."""


class Buffer(ABC):
    """Memory that host and accelerator share.

    Attributes
    ----------
    address:
        Address of the first byte as the accelerator sees it, a multiple of 128.
    array:
        uint8 ``[size]``, the host's view.
    """

    address: int
    array: np.ndarray

    def flush(self, parts: Parts | None = None) -> None:
        """Make what the host wrote, everywhere or in ``parts``, visible to the accelerator.

        Nothing to do on coherent devices. Where a cache is in between, it works in lines: parts begin and end between
        planes.
        """

    def invalidate(self, parts: Parts | None = None) -> None:
        """Make what the accelerator wrote, everywhere or in ``parts``, visible to the host. Nothing to do on coherent
        devices.

        What the host wrote there and did not flush may be lost.
        """

    def close(self) -> None:
        """Release the memory. Calling it twice does no harm."""


AnyDevice = TypeVar("AnyDevice", bound="Device")


class Device(ABC):
    """Registers, buffers and the interrupt of one accelerator.

    Attributes
    ----------
    clock_hz:
        What its clock is set to; ``None`` where time is simulated or there is no clock.
    reports_steps:
        Whether it calls ``on_step``; hardware does not.
    on_step:
        Called with the index of each step as soon as its outputs are in memory, before a later one can write anything.
    turns:
        Whose frame runs: all that starts programs takes turns here.
    """

    name: str
    clock_hz: float | None = None
    reports_steps: bool = False
    on_step: Callable[[int], None] | None = None
    turns: Turns

    def __new__(cls, *arguments: Any, **named: Any) -> Device:
        device = super().__new__(cls)
        device.turns = Turns()
        return device

    def facts(self) -> dict[str, str]:
        """What else is known about it, by name, for people."""
        return {}

    @abstractmethod
    def read(self, offset: int) -> int:
        """32-bit register at byte ``offset`` (:mod:`codenet.registers`)."""

    @abstractmethod
    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""

    @abstractmethod
    def allocate(self, size: int) -> Buffer:
        """Buffer of ``size`` bytes, zeroed, that accelerator and host both reach.

        Raises
        ------
        DeviceError
            No memory left.
        """

    def wait(self, timeout: float) -> None:
        """Return when the accelerator's interrupt is pending.

        The default polls IRQ_STATUS with back-off; devices with a real interrupt override it.

        Raises
        ------
        DeviceTimeout
            ``timeout`` seconds have passed.
        """
        deadline = time.monotonic() + timeout
        pause = 1e-5
        while not self.read(BY_NAME["IRQ_STATUS"].offset) & 1:
            if time.monotonic() > deadline:
                raise DeviceTimeout(f"device {self.name}: no interrupt within {timeout} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Release the device. Calling it twice does no harm."""

    def __enter__(self: AnyDevice) -> AnyDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
