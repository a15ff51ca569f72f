# SPDX-License-Identifier: Apache-2.0
"""Waiting for the accelerator's interrupt, also for one that is lost on its way."""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from codenet.devices.base import Device
from codenet.devices.linux.kernel import Kernel, naming
from codenet.errors import DeviceTimeout
from codenet.registers import BY_NAME

logger = logging.getLogger(__name__)

RECHECK_SECONDS = 0.1
"""How long an interrupt is waited for before IRQ_STATUS is read anyway."""

LATE_SECONDS = 0.01
"""How much later than IRQ_STATUS an interrupt may be seen."""


class Interrupt(Protocol):
    """Where interrupts arrive."""

    def wait(self, seconds: float) -> bool:
        """Return at an interrupt, or after ``seconds``; whether there was one."""


def wait_until_pending(device: Device, interrupt: Interrupt, timeout: float) -> bool:
    """Return when IRQ_STATUS says that a program has ended.

    Returns
    -------
    False if it says so although no interrupt has arrived: it is not connected, and of no use from now on.

    Raises
    ------
    DeviceTimeout
        ``timeout`` seconds have passed.
    """
    offset = BY_NAME["IRQ_STATUS"].offset
    deadline = time.monotonic() + timeout
    while not device.read(offset) & 1:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeviceTimeout(f"device {device.name}: no interrupt within {timeout} s")
        came = interrupt.wait(min(left, RECHECK_SECONDS))
        if not came and device.read(offset) & 1 and not interrupt.wait(LATE_SECONDS):
            logger.warning("device %s: its interrupt does not arrive; IRQ_STATUS is polled from now on", device.name)
            return False
    return True


def find_uio(kernel: Kernel, name: str) -> Path | None:
    """Folder in sysfs of the UIO device of this name: that of its node in the device tree, without address."""
    for folder in kernel.entries("uio"):
        if kernel.attribute(folder / "name").partition("@")[0] == name:
            return folder
    return None


class UioInterrupt:
    """The interrupt of a UIO device (uio_pdrv_genirq): off when it has come, until it is turned on again.

    Parameters
    ----------
    file:
        Open node, which becomes this object's own.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file

    @classmethod
    def open(cls, kernel: Kernel, folder: Path) -> UioInterrupt | None:
        """Of the device with this folder in sysfs; ``None`` if it has no interrupt.

        Raises
        ------
        DeviceError
            Its node is missing, or may not be opened.
        """
        path = kernel.dev / folder.name
        with naming(path):
            file = kernel.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                _enable(file)
            except OSError as error:
                os.close(file)
                if error.errno in (errno.EIO, errno.ENOSYS):
                    return None
                raise
        return cls(path, file)

    def __str__(self) -> str:
        return f"of {self._path}"

    def wait(self, seconds: float) -> bool:
        """As of :class:`Interrupt`.

        Raises
        ------
        DeviceError
            The device has gone.
        """
        with naming(self._path):
            _enable(self._file)
            poll = select.poll()
            poll.register(self._file, select.POLLIN)
            for _, events in poll.poll(1000 * seconds):
                if not events & select.POLLIN:
                    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
                os.read(self._file, 4)
                return True
        return False

    def close(self) -> None:
        """Close the node. Calling it twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _enable(file: int) -> None:
    """Turning it on twice does no harm."""
    os.write(file, np.uint32(1).tobytes())
