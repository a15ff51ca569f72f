# SPDX-License-Identifier: Apache-2.0
"""The golden device: an accelerator made of NumPy, behind the registers and memory of a real one.

It runs a program while CONTROL.start is written, so it is never busy. It has no clock: cycles and profile read as 0,
and the watchdog never expires.
"""

from __future__ import annotations

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device
from codenet.errors import DeviceError, DeviceTimeout
from codenet.golden import executor
from codenet.isa import PLANE_ALIGNMENT, Descriptor, ErrorCause
from codenet.isa.rules import StepError
from codenet.registers import ADDRESS_BITS, BY_NAME, IDENTITY, REGISTERS, config_registers

DRAM_BASE = 0x1000_0000
"""Address of the first buffer: not 0, so that an address taken for an offset does not go unnoticed."""

DRAM_BYTES = 512 << 20
"""Memory to allocate from, as on a small board. Only what is used takes memory of the host."""


class GoldenBuffer(Buffer):
    """Host memory that the golden device finds by address."""

    def __init__(self, device: GoldenDevice, address: int, size: int) -> None:
        self.address = address
        self.array = np.zeros(size, np.uint8)
        self._device = device

    @property
    def end(self) -> int:
        """Address behind the last byte."""
        return self.address + self.array.size

    def close(self) -> None:
        self._device.release(self)


class GoldenDevice(Device):
    """Registers and memory of an accelerator of ``config``, computing with :mod:`codenet.golden.executor`.

    Errors that hardware notices stop the program as there: STATUS has cause and step, and only a reset leads on. A
    program that hardware would run, but that breaks a rule of :mod:`codenet.isa`, raises
    :class:`codenet.isa.rules.StepError` from the write to CONTROL. A program reaches no further than the buffer that
    its base address lies in.
    """

    reports_steps = True

    def __init__(self, config: AcceleratorConfig) -> None:
        self.name = "golden"
        self.config = config
        self._buffers: list[GoldenBuffer] = []
        self._values = {register.name: 0 for register in REGISTERS}
        self._values |= {"IDENTITY": IDENTITY, **config_registers(config)}
        self._done = self._error = False
        self._cause = ErrorCause.NONE

    def read(self, offset: int) -> int:
        name = _register_name(offset)
        if name is None or BY_NAME[name].access == "wo":
            return 0
        if name == "STATUS":
            return self._status()
        if name == "PROFILE_DATA":
            self._values["PROFILE_INDEX"] = (self._values["PROFILE_INDEX"] + 1) & 0xFFFFFFFF
        return self._values[name]

    def write(self, offset: int, value: int) -> None:
        name = _register_name(offset)
        if not 0 <= value < 2**32:
            raise DeviceError(
                f"device {self.name}: write of {value} to register {name or hex(offset)}: expected 32 bits"
            )
        if name == "CONTROL":
            self._command(value)
        elif name == "IRQ_STATUS":
            self._values[name] &= ~value
        elif name is not None and BY_NAME[name].access == "rw":
            self._values[name] = value & BY_NAME[name].writable

    def allocate(self, size: int) -> Buffer:
        if size <= 0:
            raise DeviceError(f"device {self.name}: buffer of {size} bytes: expected at least 1")
        address = DRAM_BASE
        for buffer in self._buffers:
            if address + size <= buffer.address:
                break
            address = -(-buffer.end // PLANE_ALIGNMENT) * PLANE_ALIGNMENT
        if address + size > DRAM_BASE + DRAM_BYTES:
            used = sum(buffer.array.size for buffer in self._buffers)
            raise DeviceError(
                f"device {self.name}: no room for a buffer of {size} bytes: {used} of {DRAM_BYTES} bytes are in use"
            )
        new = GoldenBuffer(self, address, size)
        self._buffers.append(new)
        self._buffers.sort(key=lambda buffer: buffer.address)
        return new

    def release(self, buffer: GoldenBuffer) -> None:
        """Forget ``buffer``: its addresses may be allocated again."""
        self._buffers = [other for other in self._buffers if other is not buffer]

    def wait(self, timeout: float) -> None:
        if not self._values["IRQ_STATUS"] & 1:
            raise DeviceTimeout(f"device {self.name}: no interrupt within {timeout} s: no program has been started")

    def _status(self) -> int:
        status = BY_NAME["STATUS"]
        values = {
            "done": int(self._done),
            "error": int(self._error),
            "cause": int(self._cause),
            "step": self._values["FRAME_STEPS"] & 0xFFFF,
        }
        return sum(value << status.field(name).shift for name, value in values.items())

    def _command(self, value: int) -> None:
        control = BY_NAME["CONTROL"]
        if control.extract(value, "reset"):
            self._done = self._error = False
            self._cause = ErrorCause.NONE
        elif control.extract(value, "start") and not self._error:
            self._run()

    def _run(self) -> None:
        self._done = False
        self._values["FRAME_STEPS"] = 0
        try:
            executor.execute(self._memory(), self._values["PROGRAM_OFFSET"], self.config, self._step_done)
            self._done = True
        except StepError as error:
            self._error, self._cause = True, error.cause
            if error.cause == ErrorCause.NONE:
                raise
        finally:
            self._values["IRQ_STATUS"] = 1

    def _memory(self) -> np.ndarray:
        """From the base address to the end of its buffer."""
        base = self._values["BASE_ADDRESS"]
        for buffer in self._buffers:
            if buffer.address <= base < buffer.end:
                return buffer.array[base - buffer.address :]
        raise StepError(f"base address {base:#x}: expected it within a buffer", ErrorCause.PARAMETER_READ)

    def _step_done(self, index: int, descriptor: Descriptor, counts: executor.Counts) -> None:
        self._values["FRAME_STEPS"] = index + 1
        if counts.peaks is not None:
            self._values["PEAK_COUNT"] = counts.peaks
        if self.on_step is not None:
            self.on_step(index)


_NAMES = {register.offset: register.name for register in REGISTERS}


def _register_name(offset: int) -> str | None:
    """Register at byte ``offset``, of which the low two bits do not count; ``None`` where there is none."""
    if not 0 <= offset < 1 << ADDRESS_BITS:
        raise DeviceError(f"register offset {offset:#x}: expected 0 to {(1 << ADDRESS_BITS) - 1:#x}")
    return _NAMES.get(offset & ~3)
