# SPDX-License-Identifier: Apache-2.0
"""One owner of a board at a time, among all programs that run on it."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from codenet.devices.linux.kernel import Kernel, naming
from codenet.errors import DeviceError

NAME = "shm/codenet.lock"
"""The file below ``/dev``: in memory, and every user may write there."""


class BoardLock:
    """The board, from here to :meth:`close` or the end of the process.

    Parameters
    ----------
    device:
        Name of the device, for errors.

    Raises
    ------
    DeviceError
        Another program has the board, or this one has it open already: the message says which. Or the file cannot be
        opened.
    """

    def __init__(self, kernel: Kernel, device: str) -> None:
        self._file = -1
        path = kernel.dev / NAME
        with naming(path):
            path.parent.mkdir(exist_ok=True)
            file = _open(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 1000, 0).decode(errors="replace")
            os.close(file)
            raise DeviceError(f"device {device}: the board is busy: {_who(owner)}") from None
        except BaseException:
            os.close(file)
            raise
        self._file = file
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {' '.join(sys.argv)}".encode(errors="replace"), 0)

    def close(self) -> None:
        """Let others have the board. Calling it twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close()


def _open(path: Path) -> int:
    """Open the file for any user who comes later, too; Linux lets nobody *create* what another user has in such a
    folder.
    """
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.fchmod(file, 0o666)  # Whatever the umask.
        except PermissionError:
            pass  # Somebody else has just created it.
        return file


def _who(owner: str) -> str:
    number, _, command = owner.partition(" ")
    if number == str(os.getpid()):
        return "this process has it open already; close that device first, or pass it to both detectors"
    return f"process {number} has it ({command.strip() or 'unknown'})" if number else "another process has it"
