# SPDX-License-Identifier: Apache-2.0
"""What is done with an accelerator whatever its program: set it up, start it, reset it, and take turns at it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from codenet.errors import DeviceError
from codenet.isa import ErrorCause
from codenet.registers import BY_NAME

if TYPE_CHECKING:
    from codenet.devices.base import Device

RESET_SECONDS = 2.0
"""How long bus transfers may take to end."""


class Registers(Protocol):
    """What can be written at offsets."""

    def write(self, offset: int, value: int) -> None:
        """Write the register at ``offset``, in bytes."""


def configure(device: Registers, *, program_offset: int = 0, watchdog_cycles: int = 0) -> None:
    """Set what stays the same from frame to frame, and let the accelerator interrupt.

    ``program_offset``: of the first descriptor, from the base address. ``watchdog_cycles``: after which a step that
    does not end is an error; 0: never.
    """
    _write(device, "PROGRAM_OFFSET", program_offset)
    _write(device, "WATCHDOG", watchdog_cycles)
    _write(device, "IRQ_ENABLE", 1)


def start(device: Registers, base: int) -> None:
    """Start the program in the memory at address ``base``."""
    _write(device, "BASE_ADDRESS", base)
    _write(device, "IRQ_STATUS", 1)
    _write(device, "CONTROL", 1 << BY_NAME["CONTROL"].field("start").shift)


def reset(device: Device) -> None:
    """Stop whatever runs and return to idle.

    Raises
    ------
    DeviceError
        The device stays busy.
    """
    _write(device, "CONTROL", 1 << BY_NAME["CONTROL"].field("reset").shift)
    status = BY_NAME["STATUS"]
    deadline = time.monotonic() + RESET_SECONDS
    while status.extract(value := device.read(status.offset), "busy"):
        if time.monotonic() > deadline:
            raise DeviceError(
                f"device {device.name}: still busy {RESET_SECONDS} s after a reset (STATUS {value:#010x}): bus "
                f"transfers never ended; load the bitstream again"
            )
    _write(device, "IRQ_STATUS", 1)


def describe_state(device: Device, step_names: Sequence[str]) -> str:
    """Status, step, error cause and counters of a program, for an error message."""
    status = BY_NAME["STATUS"]
    value = device.read(status.offset)
    step, cause = status.extract(value, "step"), status.extract(value, "cause")
    name = f" {step_names[step]!r}" if step < len(step_names) else ""
    known = ErrorCause(cause).name if cause in ErrorCause.__members__.values() else f"unknown ({cause})"
    steps, cycles = (device.read(BY_NAME[counter].offset) for counter in ("FRAME_STEPS", "FRAME_CYCLES"))
    return (
        f"STATUS {value:#010x}, step {step}{name} of {len(step_names)}, cause {known}, "
        f"{steps} steps finished, {cycles} cycles"
    )


def _write(device: Registers, register: str, value: int) -> None:
    device.write(BY_NAME[register].offset, value)


class User(Protocol):
    """A program that runs frames on a device."""

    def settle(self) -> None:
        """Wait for the frame that runs, if one does, and keep its outcome, or its error."""


class Turns:
    """One user of a device at a time, in the order in which they ask, whatever the thread.

    Attributes
    ----------
    user:
        Who had the device last; its settings are in the registers, and a frame of its may be running.
    reset_failed:
        The device may still be busy with something that nobody waits for.
    """

    def __init__(self) -> None:
        self.user: User | None = None
        self.reset_failed = False
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._thread: int | None = None
        self._depth = 0

    @contextmanager
    def take(self, user: User | None) -> Iterator[bool]:
        """The device for ``user``, whose turn it becomes when a frame of somebody else has been settled.

        Yields whether somebody else had it before, so that the registers have to be set anew.

        Raises
        ------
        DeviceError
            This thread is in the middle of somebody else's frame.
        """
        with self:
            other = self.user if self.user is not user else None
            if other is not None and self._depth > 1:
                raise DeviceError(f"the device is busy with {other}, from whose frame this call comes")
            if other is not None:
                other.settle()
            new = user is None or self.user is not user
            self.user = user
            yield new

    def leave(self, user: User) -> None:
        """Forget ``user``, which has no frame running."""
        with self:
            if self.user is user:
                self.user = None

    def __enter__(self) -> Turns:
        """Keep others from the device, and whoever had it last in its place."""
        self._acquire()
        return self

    @contextmanager
    def now(self) -> Iterator[bool]:
        """The same if nobody else has the device at this moment, without waiting; yields whether that is so."""
        taken = self._acquire(wait=False)
        try:
            yield taken
        finally:
            if taken:
                self.__exit__()

    def _acquire(self, wait: bool = True) -> bool:
        own = threading.get_ident()
        ticket = threading.Lock()
        ticket.acquire()
        if not self._guard.acquire(wait):
            return False
        try:
            if self._thread in (None, own):
                self._thread = own
                self._depth += 1
                return True
            if not wait:
                return False
            self._waiting.append(ticket)
        finally:
            self._guard.release()
        try:
            ticket.acquire()
        except BaseException:  # The keyboard: whoever has been let in must let the next one in.
            with self._guard:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                else:
                    self._let_in()
            raise
        self._thread, self._depth = own, 1
        return True

    def __exit__(self, *exception: object) -> None:
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._let_in()

    def _let_in(self) -> None:
        self._thread = None
        if self._waiting:
            self._thread = -1  # Nobody's yet, and not free.
            self._waiting.popleft().release()
