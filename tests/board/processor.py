# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for a chip's processor block: its primitive as Verilog whose outputs a bench drives, and a device that
works through it.

Names, widths and directions of the primitive's ports come from Yosys' library of cells, not from ours.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from codenet.config import AcceleratorConfig
from hw.axi.processor_port import INCR, OKAY
from hw.boards.board_top import BoardTop
from hw.boards.processor_system import ProcessorSystem
from sim import testbench as bench
from sim.testbench.cocotb_device import CLOCK_NS, MEMORY_BASE, CocotbDevice
from sim.testbench.dram import Dram
from sim.timing import DramTiming
from tests.board.axi import Burst, ProcessorMaster
from tests.netlist.cells import primitive_ports


def stand_in(system: ProcessorSystem) -> str:
    """Verilog of a processor block that a bench drives by its outputs' registers; ``clock`` is bit 0 of the fabric's
    clocks.
    """
    ports, (clock, _) = primitive_ports(system.cell), system.clock
    lines = [f"module {system.cell}({', '.join(ports)});"]
    for name, (direction, width) in ports.items():
        bits = f"[{width - 1}:0] " if width > 1 else ""
        if direction != "o":
            comment = "" if direction == "io" else " /* verilator public_flat_rd */"
            lines.append(f"  {'input' if direction == 'i' else 'inout'} {bits}{name}{comment};")
        elif name == clock:
            lines += [f"  output {bits}{name};", f"  assign {name} = {{{width - 1}'d0, clock}};"]
        else:
            lines.append(f"  output reg {bits}{name} /* verilator public_flat_rw */ = 0;")
    lines += ["  reg clock /* verilator public_flat_rw */ = 0;", "endmodule"]
    lines += [f"module {system.clock_buffer}(input I, output O);", "  assign O = I;", "endmodule"]
    return "\n".join(lines) + "\n"


def build(top: BoardTop, name: str, text: str) -> Path:
    """Verilate a board's Verilog with its stand-in for cocotb; cached by content."""
    return bench.build_verilog(text, top.ports, name, f"{name}-{top.config.outputs}")


class Pins:
    """The block's ports by the names that benches use: ``hp0_araddr`` is ``SAXIHP0ARADDR`` of a Zynq-7000."""

    def __init__(self, dut: Any, system: ProcessorSystem) -> None:
        self.block = getattr(dut, system.cell.lower())
        self.clk = self.block.clock
        self._prefixes = {f"hp{n}_": port for n, port in enumerate(system.memory_ports)}
        self._prefixes["gp_"] = system.registers_port

    def __getattr__(self, name: str) -> Any:
        for prefix, port in self._prefixes.items():
            if name.startswith(prefix):
                return getattr(self.block, port + name.removeprefix(prefix).upper())
        return getattr(self.block, name)


class _RegisterAccess:
    """Single transfers, as a program on the processor makes them."""

    def __init__(self, master: ProcessorMaster, base: int, rng: random.Random) -> None:
        self.master, self.base, self.rng = master, base, rng

    def _burst(self, offset: int) -> Burst:
        return Burst(self.base + offset, 1, 2, INCR, ident=self.rng.randrange(1 << 12))

    async def read_dword(self, offset: int) -> int:
        burst = self._burst(offset)
        (answer,) = await self.master.read(burst)
        assert (answer.ident, answer.response, answer.last) == (burst.ident, OKAY, 1)
        return answer.data

    async def write_dword(self, offset: int, value: int) -> None:
        burst = self._burst(offset)
        assert await self.master.write(burst, [(value, 15)]) == (burst.ident, OKAY)


class ProcessorDevice(CocotbDevice):
    """The accelerator as the processor of its chip sees it: registers by the block's port, memory behind the block's
    ports.
    """

    name = "processor"

    def __init__(self, dut: Any, system: ProcessorSystem, base: int, memory_bytes: int, timing: DramTiming) -> None:
        self.pins = pins = Pins(dut, system)
        self._system = system
        self._dut = pins
        rng = random.Random(timing.seed)
        self._dram = Dram(pins, memory_bytes, MEMORY_BASE, timing)
        for port in ("hp0", "hp1"):
            self._dram.add_read_port(port)
            self._dram.add_write_port(port)
            cocotb.start_soon(self._check_constants(port))
        self.master = ProcessorMaster(pins, "gp_", rng, timing.stall, lambda channel, field: f"gp_{channel}{field}")
        self._registers = _RegisterAccess(self.master, base, rng)
        self.on_step = None
        self._next = MEMORY_BASE + 4096

    @classmethod
    async def boot(
        cls, dut: Any, system: ProcessorSystem, base: int, memory_bytes: int, timing: DramTiming | None = None
    ):
        """Start clock, memory and reset as a processor does that has loaded a bitstream."""
        device = cls(dut, system, base, memory_bytes, timing or DramTiming())
        Clock(device.pins.clk, CLOCK_NS, "ns").start()
        await ClockCycles(device.pins.clk, 8)
        device.reset_n(1)
        await ClockCycles(device.pins.clk, 12)
        return device

    def reset_n(self, value: int) -> None:
        """Drive the fabric's reset."""
        name, index = self._system.reset_n
        getattr(self.pins.block, name).value = value << index

    @property
    def interrupt(self) -> int:
        """All interrupt bits that the block sees."""
        return int(getattr(self.pins.block, self._system.interrupt[0]).value)

    async def _check_constants(self, port: str) -> None:
        """Fields of every request: whole beats, INCR, normal, modifiable, bufferable, ordinary, secure data, ID 0;
        AXI3's write ID too.
        """
        write_id = (
            [getattr(self.pins, f"{port}_wid")] if f"{self._system.memory_ports[0]}WID" in self._system.ports else []
        )
        fields = {"size": 3, "burst": INCR, "lock": 0, "cache": 3, "prot": 0, "qos": 0, "id": 0}
        while True:
            await RisingEdge(self.pins.clk)
            for channel in ("ar", "aw"):
                if getattr(self.pins, f"{port}_{channel}valid").value:
                    found = {name: int(getattr(self.pins, f"{port}_{channel}{name}").value) for name in fields}
                    assert found == fields, f"{port} {channel}: {found}"
            assert not any(int(signal.value) for signal in write_id), f"{port}: write ID"

    async def _advance(self, cycles: int) -> str:
        name, index = self._system.interrupt
        bit = 1 << index
        for _ in range(0, cycles, 20):
            if self.interrupt & bit:
                assert self.interrupt == bit, f"interrupts {self.interrupt:#x}: expected {bit:#x}"
                return "interrupt"
            await ClockCycles(self.pins.clk, 20)
        return "limit"


def small_top(top: type[BoardTop]) -> BoardTop:
    """A board's top with the small accelerator."""
    return top(AcceleratorConfig.small())  # type: ignore[call-arg]
