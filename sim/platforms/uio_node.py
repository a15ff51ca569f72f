# SPDX-License-Identifier: Apache-2.0
"""A stand-in for /dev/uioN as far as interrupts go: the slave of a pseudo terminal, which can be opened, polled, read
and written as a UIO node can. (It cannot be mapped.)"""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable
from pathlib import Path


class UioNode:
    """UIO's rules with uio_pdrv_genirq: an interrupt is off at first and after it has come; writing a 1 of 32 bits
    turns it on; a read gives the number of interrupts so far, 32 bits.

    Parameters
    ----------
    level:
        The interrupt line.
    """

    def __init__(self, level: Callable[[], bool]) -> None:
        self._level = level
        self._lock = threading.Lock()
        self._enabled = False
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = Path(os.ttyname(self._slave))
        self.count = 0
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="simulated UIO", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Look at the line; call this when it rises."""
        with self._lock:
            if self._enabled and self._level():
                self._enabled = False
                self.count += 1
                os.write(self._master, self.count.to_bytes(4, "little"))

    def close(self) -> None:
        """The device goes away: who has the node open finds it dead. Calling it twice does no harm."""
        if self._thread.is_alive():
            os.write(self._stopped, b".")
            self._thread.join()
            for file in (self._master, self._slave, self._stop, self._stopped):
                os.close(file)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._stop], [], [])
            if self._stop in ready:
                return
            command = os.read(self._master, 4)
            with self._lock:
                self._enabled = any(command)
            self.check()
