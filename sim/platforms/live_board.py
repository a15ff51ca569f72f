# SPDX-License-Identifier: Apache-2.0
"""The simulated board with a clock that runs by itself, as on a desk: what stand-ins for operating systems' drivers are
made of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from codenet.isa import PLANE_ALIGNMENT
from codenet.registers import BY_NAME
from sim.timing import DramTiming
from sim.verilator.board import GUARD_BYTES, INTERRUPT, MEMORY_BASE, MEMORY_BYTES, Board

_Result = TypeVar("_Result")


class LiveBoard:
    """A :class:`sim.verilator.board.Board` that goes on while nobody looks, and calls back at the interrupt.

    A thread advances the clock from a write to CONTROL until the accelerator is idle. Register accesses happen between
    two of its batches.

    Attributes
    ----------
    on_interrupt:
        Called by that thread when the interrupt line rises.
    accessed:
        Cycle of the last access to a register.
    running:
        While it is not set the clock stands, but for register accesses.
    """

    BATCH = 4000
    """Cycles at a time."""

    def __init__(
        self,
        config: AcceleratorConfig,
        timing: DramTiming | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        library: Path | None = None,
    ) -> None:
        self.board = Board(config, timing or DramTiming(), library)
        self.on_interrupt: list[Callable[[], None]] = []
        self.accessed = 0
        self._end = MEMORY_BASE + memory_bytes
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()
        self._waiting = 0
        self._started = threading.Event()
        self.running = threading.Event()
        self.running.set()
        self._closed = False
        self._failure: DeviceError | None = None
        self._thread = threading.Thread(target=self._clock, name="simulated clock", daemon=True)
        self._thread.start()

    def read(self, offset: int) -> int:
        """Register read; raises what the simulation found wrong meanwhile, once."""
        return self._access(lambda: self.board.read(offset))

    def write(self, offset: int, value: int) -> None:
        """Register write."""
        self._access(lambda: self.board.write(offset, value))
        if offset == BY_NAME["CONTROL"].offset:
            self._started.set()

    @property
    def interrupt(self) -> bool:
        """Level of the interrupt line. Looking at it takes no error away from those who use registers."""
        with self._lock:
            if self._closed:
                return False
            status, enable = (self.board.read(BY_NAME[name].offset) for name in ("IRQ_STATUS", "IRQ_ENABLE"))
            return bool(status & enable & 1)

    def allocate(self, size: int) -> int:
        """Address of ``size`` free bytes, which the accelerator may now use.

        Raises
        ------
        MemoryError
            There are not as many.
        """
        size += -size % PLANE_ALIGNMENT
        address = MEMORY_BASE + GUARD_BYTES
        for start, length in sorted(self._used.items()):
            if address + size + GUARD_BYTES <= start:
                break
            address = start + length + GUARD_BYTES
        if address + size + GUARD_BYTES > self._end:
            raise MemoryError(f"no {size} bytes left")
        self._used[address] = size
        self._access(lambda: self.board.allow(address, size))
        return address

    def free(self, address: int) -> None:
        """Take an allocation back; the accelerator may not use it any more."""
        if self._used.pop(address, None) is not None and not self._closed:
            self._access(lambda: self.board.forbid(address))

    def memory(self, address: int, size: int) -> np.ndarray:
        """View of memory, uint8 ``[size]``."""
        view: np.ndarray = self.board.memory[address - MEMORY_BASE :][:size]
        return view

    def close(self) -> None:
        """Stop the clock. Calling it twice does no harm."""
        if not self._closed:
            self._closed = True
            self._started.set()
            self.running.set()
            self._thread.join()
            self.board.close()

    def _access(self, action: Callable[[], _Result]) -> _Result:
        self._waiting += 1
        with self._lock:
            self._waiting -= 1
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            result = action()
            self.accessed = self.board.cycles
            return result

    def _clock(self) -> None:
        while True:
            self._started.wait()
            if self._closed:
                return
            self._started.clear()
            self.running.wait()
            while self._advance():
                while self._waiting and not self._closed:  # A lock is not fair by itself.
                    time.sleep(0)

    def _advance(self) -> bool:
        """One batch; false when there is nothing to do until the next start."""
        with self._lock:
            if self._closed:
                return False
            try:
                reason = self.board.run(self.BATCH)
                register = BY_NAME["STATUS"]
                busy = bool(register.extract(self.board.read(register.offset), "busy"))
            except DeviceError as error:
                self._failure = error
                self.board.clear_violation()
                return False
        if reason == INTERRUPT:
            for call in self.on_interrupt:
                call()
        return busy
