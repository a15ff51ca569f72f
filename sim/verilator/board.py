# SPDX-License-Identifier: Apache-2.0
"""The simulated board: the accelerator's RTL in Verilator, with memory, behind the device interface of a real board."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device
from codenet.errors import DeviceError, DeviceTimeout
from codenet.isa import PLANE_ALIGNMENT, ErrorCause
from codenet.registers import BY_NAME
from sim.timing import CLOCK_HZ, DramTiming
from sim.verilator.library import build

MEMORY_BASE = 0x1000_0000
"""Address of the first byte of memory, not 0, so that a forgotten base address is noticed."""

MEMORY_BYTES = 128 << 20

GUARD_BYTES = 4096
"""Between buffers: memory that the accelerator may not touch."""

READ, WRITE = 1, 2
"""Directions, for permissions and faults."""

PORT0_READ, PORT1_READ, PORT0_WRITE = 1, 2, 4
"""Channels, for :meth:`Board.halt`."""

CHANNELS = (PORT0_READ, PORT1_READ, PORT0_WRITE)

ADDRESS, DATA, RESPONSE = range(3)
"""Handshakes of a channel, for :func:`handshake`; reads have no RESPONSE."""

SLAVE_ERROR, DECODE_ERROR = 2, 3
"""Responses of a bus, for :meth:`Board.respond`."""

FOREVER = 2**64 - 1
"""Cycles of a :meth:`Board.stall`."""

LIMIT, INTERRUPT, STEP, VIOLATION = range(4)
"""Why :meth:`Board.run` returned."""


class _Timing(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32)
        for name in (
            "latency",
            "outstanding",
            "bytes_per_cycle",
            "refresh_interval",
            "refresh_cycles",
            "jitter",
            "stall",
            "seed",
        )
    ]


def handshake(channel: int, which: int) -> int:
    """Bit of a handshake (ADDRESS, DATA, RESPONSE) of a channel (``PORT0_READ`` ...), for :meth:`Board.stall`."""
    return channel << len(CHANNELS) * which


@lru_cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, u64, u32, integer = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "board_create": (handle, [ctypes.POINTER(_Timing), u64, u64]),
        "board_destroy": (None, [handle]),
        "board_memory": (handle, [handle]),
        "board_cycles": (u64, [handle]),
        "board_steps": (u64, [handle]),
        "board_violation": (ctypes.c_char_p, [handle]),
        "board_clear_violation": (None, [handle]),
        "board_allow": (None, [handle, u64, u64, u32]),
        "board_forbid": (None, [handle, u64]),
        "board_fault": (None, [handle, u64, u64, u32]),
        "board_halt": (None, [handle, u32]),
        "board_stall": (None, [handle, u32, u64, u64]),
        "board_respond": (None, [handle, integer, u64, u32]),
        "board_transfers": (u64, [handle, integer]),
        "board_guard": (None, [handle, integer]),
        "board_strays": (u64, [handle, u32]),
        "board_unanswered": (u64, [handle]),
        "board_restart": (None, [handle]),
        "board_read": (integer, [handle, u32, ctypes.POINTER(u32)]),
        "board_write": (integer, [handle, u32, u32, u32]),
        "board_run": (integer, [handle, u64, integer, integer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Board:
    """Clock, registers and memory of one simulated accelerator, without any policy.

    Parameters
    ----------
    library:
        Of :func:`sim.verilator.library.build`, to simulate another accelerator than the default one.

    Attributes
    ----------
    memory:
        uint8 ``[MEMORY_BYTES]``, byte 0 at address ``MEMORY_BASE``. The accelerator may touch only ranges given to
        :meth:`allow`.
    """

    def __init__(self, config: AcceleratorConfig, timing: DramTiming, library: Path | None = None) -> None:
        self._library = _load(library or build(config))
        values = {name: int(getattr(timing, name)) for name in DramTiming.__dataclass_fields__ if name != "stall"}
        raw = _Timing(stall=int(timing.stall * 2**32), **values)
        self._handle = self._library.board_create(ctypes.byref(raw), MEMORY_BASE, MEMORY_BYTES)
        pointer = ctypes.cast(self._library.board_memory(self._handle), ctypes.POINTER(ctypes.c_uint8))
        self.memory = np.ctypeslib.as_array(pointer, shape=(MEMORY_BYTES,))

    @property
    def cycles(self) -> int:
        """Clocks since the beginning, those of register accesses included."""
        return int(self._library.board_cycles(self._handle))

    @property
    def steps(self) -> int:
        """Steps finished since the beginning."""
        return int(self._library.board_steps(self._handle))

    @property
    def violation(self) -> str:
        """The first broken bus rule or stray access, empty if there was none."""
        return self._library.board_violation(self._handle).decode()

    def clear_violation(self) -> None:
        """Go on after a broken rule; the next one is kept again."""
        self._library.board_clear_violation(self._handle)

    def allow(self, address: int, size: int, kind: int = READ | WRITE) -> None:
        """Let the accelerator access ``size`` bytes from ``address`` on."""
        self._library.board_allow(self._handle, address, address + size, kind)

    def forbid(self, address: int) -> None:
        """Take back every range that begins at ``address``."""
        self._library.board_forbid(self._handle, address)

    def fault(self, address: int, size: int, kind: int) -> None:
        """From now on answer accesses of ``kind`` to the range with SLVERR; kind 0: no faults."""
        self._library.board_fault(self._handle, address, address + size, kind)

    def halt(self, channels: int) -> None:
        """Stop the given bus channels (``PORT0_READ`` ...), as a memory that hangs does; 0: none."""
        self._library.board_halt(self._handle, channels)

    def stall(self, handshakes: int, cycles: int, after: int = 0) -> None:
        """Let ready or valid of the given handshakes (a sum of :func:`handshake`) stay low for ``cycles``, from
        ``after`` cycles on; in place of the last stall.
        """
        self._library.board_stall(self._handle, handshakes, after, cycles)

    def respond(self, channel: int, transfer: int, response: int) -> None:
        """Answer one transfer of a channel (``PORT0_READ`` ...) with ``response``: the beat of read data, or the write
        response, that ``transfer`` others precede. Read data is lost with it.
        """
        self._library.board_respond(self._handle, CHANNELS.index(channel), transfer, response)

    def transfers(self, channel: int) -> int:
        """Beats of read data, or write responses, since the beginning."""
        return int(self._library.board_transfers(self._handle, CHANNELS.index(channel)))

    def guard(self, on: bool = True) -> None:
        """Answer accesses outside what is allowed with DECERR and write nothing there, as an interconnect with memory
        protection does, instead of stopping.
        """
        self._library.board_guard(self._handle, on)

    def strays(self, kind: int) -> int:
        """Bursts of ``kind`` that were answered so since the beginning."""
        return int(self._library.board_strays(self._handle, kind))

    @property
    def unanswered(self) -> int:
        """Bursts, and accesses to registers, whose address was taken and whose last answer has not been."""
        return int(self._library.board_unanswered(self._handle))

    def restart(self) -> None:
        """Switch the accelerator off and on: registers and all that is on the bus are lost, memory stays."""
        self._library.board_restart(self._handle)

    def read(self, offset: int) -> int:
        """Register read, as an AXI-Lite transaction."""
        value = ctypes.c_uint32()
        self._check("read", offset, self._library.board_read(self._handle, offset, ctypes.byref(value)))
        return value.value

    def write(self, offset: int, value: int, strobe: int = 15) -> None:
        """Register write, as an AXI-Lite transaction."""
        self._check("write", offset, self._library.board_write(self._handle, offset, value & 0xFFFFFFFF, strobe))

    def _check(self, what: str, offset: int, response: int) -> None:
        if response < 0:
            raise DeviceTimeout(f"register {what} at {offset:#x}: no answer")
        if response:
            raise DeviceError(f"register {what} at {offset:#x}: response {response}, expected 0 (OKAY)")

    def run(self, cycles: int, until_interrupt: bool = True, until_step: bool = False) -> int:
        """Advance the clock; returns why it stopped.

        Raises
        ------
        DeviceError
            A bus rule was broken, or memory accessed that was not allocated; names address, step and cycle.
        """
        reason = int(self._library.board_run(self._handle, cycles, until_interrupt, until_step))
        if reason == VIOLATION:
            text = self.violation
            register = BY_NAME["STATUS"]
            raise DeviceError(f"simulated board: {text}, step {register.extract(self.read(register.offset), 'step')}")
        return reason

    def close(self) -> None:
        """Free the simulation. ``memory`` must not be used afterwards. Calling it twice does no harm."""
        if self._handle:
            self._library.board_destroy(self._handle)
            self._handle = None
            self.memory = np.zeros(0, np.uint8)


class RtlBuffer(Buffer):
    """Part of the simulated memory, with forbidden memory around it."""

    def __init__(self, board: Board, address: int, size: int) -> None:
        self._board: Board | None = board
        self.address = address
        self.array = board.memory[address - MEMORY_BASE :][:size]
        self.array[:] = 0
        board.allow(address, size)

    def close(self) -> None:
        if self._board is not None:
            self._board.forbid(self.address)
            self._board = None
            self.array = np.zeros(0, np.uint8)


class RtlDevice(Device):
    """The accelerator's RTL as a device.

    Parameters
    ----------
    config:
        Accelerator to build.
    timing:
        Memory timing.
    max_cycles:
        Simulated cycles that one :meth:`wait` may last, whatever its timeout.
    max_seconds:
        Seconds on the wall that one :meth:`wait` may last.
    library:
        As for :class:`Board`.
    """

    name = "rtl"
    reports_steps = True

    BATCH = 200_000
    """Cycles between looks at the clock on the wall."""

    POLL = 500
    """Cycles between looks at IRQ_STATUS when the interrupt is not enabled."""

    def __init__(
        self,
        config: AcceleratorConfig,
        timing: DramTiming | None = None,
        *,
        max_cycles: int = 100_000_000,
        max_seconds: float = 1800.0,
        library: Path | None = None,
    ) -> None:
        self.config = config
        self.board = Board(config, timing or DramTiming(), library)
        self.max_cycles = max_cycles
        self.max_seconds = max_seconds
        self.on_step: Callable[[int], None] | None = None
        """Called with the index of each step as soon as it has finished, before the next one can write anything."""
        self._next = MEMORY_BASE + GUARD_BYTES

    def read(self, offset: int) -> int:
        return self.board.read(offset)

    def write(self, offset: int, value: int) -> None:
        self.board.write(offset, value)

    def allocate(self, size: int) -> RtlBuffer:
        address = self._next
        end = address + size + GUARD_BYTES
        end += -end % PLANE_ALIGNMENT
        if end > MEMORY_BASE + MEMORY_BYTES:
            raise DeviceError(
                f"buffer of {size} bytes: {MEMORY_BASE + MEMORY_BYTES - address} bytes of simulated memory are left"
            )
        self._next = end
        return RtlBuffer(self.board, address, size)

    def restrict(self, buffer: RtlBuffer, writable: Iterable[tuple[int, int]]) -> None:
        """From now on the accelerator may read all of ``buffer`` but write only the given parts (offset, size)."""
        self.board.forbid(buffer.address)
        self.board.allow(buffer.address, buffer.array.size, READ)
        for offset, size in writable:
            self.board.allow(buffer.address + offset, size, WRITE)

    def wait(self, timeout: float) -> None:
        """Run the clock until the interrupt. ``timeout`` counts simulated seconds at 150 MHz."""
        limit = min(int(timeout * CLOCK_HZ), self.max_cycles)
        begin, deadline = self.board.cycles, time.monotonic() + self.max_seconds
        enabled = self.read(BY_NAME["IRQ_ENABLE"].offset) & 1
        batch = self.BATCH if enabled else self.POLL
        steps = self.board.steps - self.read(BY_NAME["FRAME_STEPS"].offset)
        while True:
            reason = self.board.run(batch, until_step=self.on_step is not None)
            if reason == STEP and self.on_step is not None:
                self.on_step(self.board.steps - steps - 1)
            elif reason == INTERRUPT or (not enabled and self.read(BY_NAME["IRQ_STATUS"].offset) & 1):
                return
            if self.board.cycles - begin > limit or time.monotonic() > deadline:
                raise DeviceTimeout(self._timeout_text(self.board.cycles - begin))

    def _timeout_text(self, cycles: int) -> str:
        register = BY_NAME["STATUS"]
        status = self.read(register.offset)
        cause = ErrorCause(register.extract(status, "cause"))
        step = register.extract(status, "step")
        return f"device rtl: no interrupt after {cycles} cycles; step {step}, cause {cause.name}"

    def close(self) -> None:
        self.board.close()


def open_device(config: AcceleratorConfig) -> RtlDevice:
    """The simulated board with default memory timing (device name ``rtl``)."""
    return RtlDevice(config)
