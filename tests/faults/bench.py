# SPDX-License-Identifier: Apache-2.0
"""A small detector on the simulated board, what it must compute, and the ways in which a frame may end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.devices import control
from codenet.devices.golden import GoldenDevice
from codenet.devices.linux.interrupt import wait_until_pending
from codenet.errors import CodenetError, DeviceTimeout
from codenet.isa import ErrorCause
from codenet.program import Program
from codenet.registers import BY_NAME
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.frame import Outputs
from sim.timing import CLOCK_HZ, DramTiming
from sim.verilator.board import GUARD_BYTES, INTERRUPT, MEMORY_BASE, READ, WRITE, RtlDevice
from sim.verilator.library import build
from tests import networks

CONFIG = AcceleratorConfig.small()
SIZE = 32
WATCHDOG_CYCLES = 30_000
"""Ten times what the longest step takes with the slowest memory."""

FRAME_CYCLES = 1_000_000
"""No frame takes as long, each step being watched."""

SECONDS = 100.0
"""On the wall, that a frame may take."""

ONES = 0xFFFF_FFFF
BAND = 0xA5

RIGHT, GOLDEN, UNDEFINED = "right integers", "other integers, as golden says", "no rule, integers"


class Failure(Exception):
    """An end that a fault must not have."""


@cache
def library() -> Path:
    """The board, built once."""
    return build(CONFIG)


@cache
def program() -> Program:
    """A detector with steps of all kinds, 32 x 32 pixels."""
    shape = {"units": (1, 2, 1), "channels": (8, 8, 16, 16, 16), "decoder": (16, 16, 16), "head": 8}
    return compile(networks.network(SIZE, seed=8, **shape), CONFIG)


@cache
def image(seed: int) -> np.ndarray:
    """int8 ``[32, 32, 3]``."""
    return networks.random_image(SIZE, SIZE, seed)


@cache
def expected(seed: int) -> dict[str, bytes | int]:
    """What the golden device leaves of :func:`image`."""
    with Accelerator(GoldenDevice(CONFIG), program()) as accelerator:
        return integers(accelerator.run(image(seed)))


def integers(outputs: Outputs) -> dict[str, bytes | int]:
    """All that a frame gives, to be compared."""
    tensors = {role: outputs.read(role).tobytes() for role in outputs.tensors}
    return {**tensors, "peaks": outputs.peaks.tobytes(), "found": outputs.peaks_found}


class FaultyDevice(RtlDevice):
    """The simulated board, whose cable can be pulled and whose interrupts can be lost, doubled, or made up.

    Attributes
    ----------
    pulled:
        Registers read as ones, and writes are lost.
    accesses:
        Of registers, so far. ``pull_at``: the one from which on the cable is pulled.
    interrupts:
        What each wait for an interrupt says instead of the truth, as long as there is something in it; ``None``:
        nothing is wrong.
    """

    def __init__(self, timing: DramTiming) -> None:
        super().__init__(CONFIG, timing, max_cycles=FRAME_CYCLES, library=library())
        self.board.guard()
        self.pulled = False
        self.accesses = 0
        self.pull_at: int | None = None
        self.interrupts: Iterator[bool] | None = None

    def read(self, offset: int) -> int:
        return ONES if self._unreachable() else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if not self._unreachable():
            super().write(offset, value)

    def _unreachable(self) -> bool:
        self.accesses += 1
        if self.accesses == self.pull_at:
            self.pulled = True
        return self.pulled

    def plug(self) -> None:
        """The cable is back."""
        self.pulled, self.pull_at = False, None

    def wait(self, timeout: float) -> None:
        if self.pulled or self.pull_at is not None or self.interrupts is not None:
            self._end = self.board.cycles + FRAME_CYCLES
            wait_until_pending(self, self._Interrupt(self), SECONDS)
        else:
            super().wait(timeout)

    @dataclass
    class _Interrupt:
        device: FaultyDevice

        def wait(self, seconds: float) -> bool:
            device = self.device
            come = device.board.run(device.POLL) == INTERRUPT
            if device.board.cycles > device._end:
                raise Failure(f"no end within {FRAME_CYCLES} cycles")
            return come if device.interrupts is None else next(device.interrupts, come)


@dataclass
class Bench:
    """One board, switched on, with the program on it; and what is told of the fault.

    Attributes
    ----------
    rng:
        What the fault is drawn from.
    text:
        The fault, for people.
    may_stray:
        Whether this fault may make the accelerator ask for other memory than the program's.
    """

    rng: np.random.Generator
    text: str = ""
    may_stray: bool = False
    device: FaultyDevice = field(init=False)
    accelerator: Accelerator = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        timing = DramTiming(
            latency=int(rng.integers(1, 100)),
            outstanding=int(rng.integers(1, 9)),
            jitter=int(rng.choice([0, 30])),
            stall=float(rng.choice([0.0, 0.2])),
            seed=int(rng.integers(1 << 31)),
        )
        self.device = FaultyDevice(timing)
        self.accelerator = self.open()
        start = self.accelerator._next_frame().buffer.address - MEMORY_BASE
        end = start + program().memory_bytes
        memory = self.device.board.memory
        self._bands = [memory[start - GUARD_BYTES : start], memory[end : end + GUARD_BYTES]]
        for band in self._bands:
            band[:] = BAND

    def open(self) -> Accelerator:
        """As another process opens the device."""
        return Accelerator(self.device, program(), timeout=2 * FRAME_CYCLES / CLOCK_HZ, watchdog_cycles=WATCHDOG_CYCLES)

    def close(self) -> None:
        self.accelerator.close()
        self.device.close()

    @property
    def registers(self) -> dict[str, int]:
        """Settings that a frame needs."""
        names = ("PROGRAM_OFFSET", "WATCHDOG", "IRQ_ENABLE")
        return {name: self.device.read(BY_NAME[name].offset) for name in names}

    def start(self, cycles: int) -> None:
        """Start a frame and let it run for so long."""
        self.accelerator.pixels[..., :3] = image(1).view(np.uint8)
        self.accelerator.start()
        self.device.board.run(cycles)

    def frame(self) -> Outputs | str:
        """Outputs of a frame, or the named error that it ended with."""
        return self.named(lambda: self.accelerator.run(image(1)))

    def named(self, action: Callable[[], Outputs]) -> Outputs | str:
        """Outputs, or the error that a user sees, in short: its class and cause."""
        try:
            return action()
        except CodenetError as error:
            if isinstance(error, DeviceTimeout) or ": no end of " in str(error):
                raise Failure(f"no end within the watchdog's time: {error}") from error
            return short(error)

    def check(self, outputs: Outputs | str) -> str:
        """Outcome of a frame whose memory nobody has changed."""
        if isinstance(outputs, str):
            return outputs
        if integers(outputs) != expected(1):
            raise Failure("wrong integers, and no error")
        return RIGHT

    def check_bus(self) -> None:
        """No rule broken, and nothing written that is not the program's."""
        board = self.device.board
        if board.violation:
            raise Failure(f"a rule of the bus is broken: {board.violation}")
        if not self.may_stray and (board.strays(READ) or board.strays(WRITE)):
            raise Failure(f"{board.strays(READ)} reads and {board.strays(WRITE)} writes outside of the memory")
        if any(np.any(band != BAND) for band in self._bands):
            raise Failure("a guard band was written to")

    def check_next(self) -> None:
        """The next frame, of another photo, is right."""
        self.device.plug()
        self.device.interrupts = None
        try:
            outputs = self.accelerator.run(image(2))
        except CodenetError as error:
            raise Failure(f"the next frame fails: {error}") from error
        if integers(outputs) != expected(2):
            raise Failure("the next frame is wrong")
        settings = {"PROGRAM_OFFSET": 0, "WATCHDOG": WATCHDOG_CYCLES, "IRQ_ENABLE": 1}
        if self.registers != settings:
            raise Failure(f"the next frame runs with {self.registers}, expected {settings}")


def short(error: CodenetError) -> str:
    """Class and cause of an error."""
    text = str(error)
    if "transfers never ended" in text:
        return f"{type(error).__name__}: bus transfers never ended"
    cause = re.search(r"cause (\w+(?: \(\d+\))?)", text)
    if cause:
        return f"{type(error).__name__}: {cause[1]}"
    first = re.sub(r"0x[0-9a-f]+", "...", text).partition(" (")[0]
    return f"{type(error).__name__}: {first.removeprefix('device rtl: ')}"


def because(cause: ErrorCause) -> str:
    """:func:`short` of a program that has stopped."""
    return f"DeviceError: {cause.name}"


@contextmanager
def hasty_resets(seconds: float = 0.05) -> Iterator[None]:
    """Where a reset is known not to end, it need not be waited for long."""
    with mock.patch.object(control, "RESET_SECONDS", seconds):
        yield
