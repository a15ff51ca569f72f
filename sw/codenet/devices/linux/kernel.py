# SPDX-License-Identifier: Apache-2.0
"""What the plain-Linux driver asks of the kernel, in one place: attributes, mappings, and words for what is missing.

Everything here goes through files below three roots, so that stand-ins can take their place. Two things no plain file
can stand in for, as something must happen *during* the call: an access to mapped registers, and a command written to an
attribute. They are the methods that a simulated kernel overrides (:mod:`sim.platforms.linux`).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from codenet.errors import DeviceError

_GONE = (errno.ENODEV, errno.ENXIO, errno.EIO)


class Kernel:
    """Files of the kernel.

    Parameters
    ----------
    sysfs, dev, firmware:
        Roots: ``/sys``, ``/dev``, ``/lib/firmware``.
    """

    def __init__(
        self, sysfs: Path = Path("/sys"), dev: Path = Path("/dev"), firmware: Path = Path("/lib/firmware")
    ) -> None:
        self.sysfs, self.dev, self.firmware = sysfs, dev, firmware
        self._attributes: dict[Path, int] = {}

    def open(self, path: Path, flags: int) -> int:
        """File descriptor of a node or attribute. Raises OSError."""
        return os.open(path, flags)

    def entries(self, kind: str) -> list[Path]:
        """Devices of a class, by name: folders below ``/sys/class``."""
        folder = self.sysfs / "class" / kind
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def attribute(self, path: Path) -> str:
        """Text of an attribute, without the line end.

        Raises
        ------
        DeviceError
            It is missing, may not be read, or its device has gone.
        """
        with naming(path):
            return path.read_text().strip()

    def number(self, path: Path) -> int:
        """An attribute that is a number, decimal or with 0x in front."""
        text = self.attribute(path)
        try:
            return int(text, 0)
        except ValueError:
            raise DeviceError(f"{path}: reads {text!r}, expected a number") from None

    def command(self, path: Path, text: str) -> None:
        """Write an attribute, in one piece: the kernel acts on it before this returns.

        Raises
        ------
        DeviceError
            It is missing, may not be written, its device has gone, or the kernel refuses.
        """
        with naming(path):
            if path not in self._attributes:
                self._attributes[path] = self.open(path, os.O_WRONLY)
            os.write(self._attributes[path], text.encode())

    def registers(self, path: Path, size: int, offset: int) -> np.ndarray:
        """Map ``size`` bytes at ``offset`` (a multiple of the page size) of a device as registers: uint32
        ``[size / 4]``.

        Raises
        ------
        DeviceError
            The node is missing, may not be opened or mapped.
        """
        with naming(path):
            file = self.open(path, os.O_RDWR | os.O_SYNC)
            try:
                return np.frombuffer(mmap.mmap(file, size, offset=offset), np.uint32)
            finally:
                os.close(file)

    def memory(self, path: Path, size: int) -> np.ndarray:
        """Map memory that is shared with a device, through the cache: uint8 ``[size]``. Errors as of
        :meth:`registers`.
        """
        with naming(path):
            file = self.open(path, os.O_RDWR)
            try:
                return np.frombuffer(mmap.mmap(file, size), np.uint8)
            finally:
                os.close(file)

    def close(self) -> None:
        """Close attributes. Mappings go when the last array that views them does."""
        for file in self._attributes.values():
            os.close(file)
        self._attributes.clear()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What goes wrong with ``path`` as a :class:`DeviceError` that says what that may mean."""
    try:
        yield
    except DeviceError:
        raise
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path}: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return f"no permission for user {os.geteuid()}; use sudo, or let a udev rule give access"
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, OSError) and error.errno in _GONE:
        return f"the device has gone ({error.strerror})"
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)
