# SPDX-License-Identifier: Apache-2.0
"""The accelerator's Verilog under cocotb, behind the device interface of a real board.

Slower than :mod:`sim.verilator.board`, with which it shares nothing but the Verilog: the simulator runs as cocotb wants
it, the memory is :class:`sim.testbench.dram.Dram`, the register bus a cocotbext-axi master.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import ClockCycles, FallingEdge, First, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device
from codenet.errors import DeviceError, DeviceTimeout
from codenet.isa import PLANE_ALIGNMENT
from codenet.registers import BY_NAME
from hw.accelerator import Accelerator
from hw.verilog import NAME, Wrapper, convert
from sim.testbench import runner
from sim.testbench.dram import Dram
from sim.timing import CLOCK_HZ, DramTiming

MEMORY_BASE = 0x1000_0000
GUARD_BYTES = 4096

CLOCK_NS = 10
"""Period in simulated time, where it does not matter."""


def build(config: AcceleratorConfig) -> Path:
    """Verilate the accelerator for cocotb; cached by content."""
    wrapper = Wrapper(Accelerator(config))
    return runner.build_verilog(convert(wrapper), wrapper.ports, NAME, f"accelerator-{config.outputs}")


class _Top:
    """The design with the clock's name that :class:`sim.testbench.dram.Dram` expects."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.clk = dut, dut.aclk

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dut, name)


class CocotbBuffer(Buffer):
    """Part of the simulated memory."""

    def __init__(self, dram: Dram, address: int, size: int) -> None:
        self.address = address
        self.array = dram.memory[address - dram.base :][:size]
        self.array[:] = 0
        dram.allow(address, size + -size % 8, read=True, write=True)


def memory_for(size: int) -> int:
    """Bytes of memory that one buffer of ``size`` bytes takes, with the guards around it."""
    end = GUARD_BYTES + size + GUARD_BYTES
    return end + -end % PLANE_ALIGNMENT


class CocotbDevice(Device):
    """The accelerator under cocotb as a device; all methods but :meth:`open` are for threads started by
    ``cocotb.task.bridge``.
    """

    name = "cocotb"
    reports_steps = True

    def __init__(self, dut: Any, memory_bytes: int, timing: DramTiming) -> None:
        self._dut = dut
        self._dram = Dram(_Top(dut), memory_bytes, MEMORY_BASE, timing)
        for prefix in ("m_axi0", "m_axi1"):
            self._dram.add_read_port(prefix)
        self._dram.add_write_port("m_axi0")
        self._registers = AxiLiteMaster(
            AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False
        )
        self.on_step: Callable[[int], None] | None = None
        self._next = MEMORY_BASE + GUARD_BYTES

    @classmethod
    async def open(cls, dut: Any, memory_bytes: int, timing: DramTiming | None = None) -> CocotbDevice:
        """Start the clock, connect memory and registers, and reset the accelerator."""
        dut.aresetn.value = 0
        Clock(dut.aclk, CLOCK_NS, "ns").start()
        device = cls(dut, memory_bytes, timing or DramTiming())
        await ClockCycles(dut.aclk, 8)
        await FallingEdge(dut.aclk)
        dut.aresetn.value = 1
        await ClockCycles(dut.aclk, 2)
        return device

    def read(self, offset: int) -> int:
        return int(resume(self._registers.read_dword)(offset))

    def write(self, offset: int, value: int) -> None:
        resume(self._registers.write_dword)(offset, value & 0xFFFFFFFF)

    def allocate(self, size: int) -> CocotbBuffer:
        address = self._next
        end = address - GUARD_BYTES + memory_for(size)
        left = MEMORY_BASE + self._dram.memory.size - address
        if end - address > left:
            raise DeviceError(f"buffer of {size} bytes: {left} bytes of simulated memory are left")
        self._next = end
        return CocotbBuffer(self._dram, address, size)

    def restrict(self, buffer: CocotbBuffer, writable: Iterable[tuple[int, int]]) -> None:
        """Let the accelerator read all of ``buffer`` but write only the given parts (offset, size); other buffers:
        nothing.
        """
        self._dram.forbid_all()
        self._dram.allow(buffer.address, buffer.array.size, read=True)
        for offset, size in writable:
            self._dram.allow(buffer.address + offset, size, write=True)

    def wait(self, timeout: float) -> None:
        """Run until the interrupt (which must be enabled). ``timeout`` counts simulated seconds at 150 MHz."""
        cycles = max(1, int(timeout * CLOCK_HZ))
        deadline = self._dram.now + cycles
        finished = 0
        while self._dram.now <= deadline:
            reason = resume(self._advance)(deadline - self._dram.now + 1)
            if reason == "interrupt":
                return
            if reason == "step":
                if self.on_step is not None:
                    self.on_step(finished)
                finished += 1
        status = self.read(BY_NAME["STATUS"].offset)
        raise DeviceTimeout(f"device cocotb: no interrupt within {cycles} cycles; STATUS {status:#010x}")

    async def _advance(self, cycles: int) -> str:
        """Until the end of a step, the interrupt, or for some cycles."""
        dut = self._dut
        if not dut.irq.value:
            await First(RisingEdge(dut.step_end), RisingEdge(dut.irq), ClockCycles(dut.aclk, cycles))
        return "interrupt" if dut.irq.value else "step" if dut.step_end.value else "limit"
