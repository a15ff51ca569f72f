# SPDX-License-Identifier: Apache-2.0
"""The whole design of a board: accelerator, processor block, and what lies between them."""

from __future__ import annotations

from amaranth import ClockDomain, DomainRenamer, Elaboratable, Instance, Module, Signal
from amaranth.back import verilog
from amaranth.hdl import Value
from amaranth.hdl._ir import PortDirection as Direction

from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from hw.axi import RegistersBridge
from hw.boards.hard_cell import HardCell
from hw.boards.lights import LIGHTS, Lights
from hw.boards.processor_system import ProcessorSystem
from hw.boards.reset import ResetSynchronizer
from hw.lib.cells import Series7
from hw.verilog import Wrapper, compact_memories

CLOCK_NET = "aclk"
"""Name of the fabric's clock in the Verilog and in netlists made of it: that of the accelerator's port, behind which
others are only aliases.
"""

MASTERS = ("m_axi0", "m_axi1")
"""Ports of :class:`hw.verilog.Wrapper` to memory."""


class BoardTop(Elaboratable):
    """A design without ports but the lights'::

        processor block -- clock --> buffer --> everything
                        -- reset --> ResetSynchronizer
                        -- registers port --> RegistersBridge --> registers |
                        <-- memory port 0 -- activations                    | accelerator
                        <-- memory port 1 -- parameters                     |
                        <-- interrupt --                                    |

    The accelerator's masters keep to what AXI3 and AXI4 have in common, so their fields reach the block unchanged, IDs
    being 0; fields that they have not (quality of service, users) are 0.

    Parameters
    ----------
    config, array_slices:
        Of the accelerator.
    system:
        The chip's processor block.
    base:
        Address of the registers for the processor.
    lights:
        Whether the board has any.
    """

    def __init__(
        self, config: AcceleratorConfig, system: ProcessorSystem, base: int, array_slices: int, lights: bool
    ) -> None:
        self.config, self.system, self.base = config, system, base
        self.wrapper = Wrapper(Accelerator(config, array_slices))
        self.block = HardCell(system.cell, system.ports)
        self.lights = Signal(LIGHTS, name="led") if lights else None

    @property
    def ports(self) -> dict[str, tuple[Value, Direction]]:
        """For :func:`amaranth.back.verilog.convert`."""
        return {} if self.lights is None else {"led": (self.lights, Direction.Output)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.codenet = DomainRenamer("accelerator")(self.wrapper)  # it has its own domain, driven by its ports
        m.submodules[self.system.cell.lower()] = self.block.instance()
        self._clock_and_reset(m)
        self._registers(m)
        for port, master in zip(self.system.memory_ports, MASTERS, strict=True):
            self._memory(m, port, master)
        name, index = self.system.interrupt
        m.d.comb += self.block[name][index].eq(self._accelerator("irq"))
        if self.lights is not None:
            m.submodules.lights = lights = Lights()
            m.d.comb += [
                lights.step_end.eq(self._accelerator("step_end")),
                lights.interrupt.eq(self._accelerator("irq")),
                self.lights.eq(lights.o),
            ]
        return m

    def _accelerator(self, name: str) -> Value:
        return self.wrapper.ports[name][0]

    def _clock_and_reset(self, m: Module) -> None:
        m.domains.sync = domain = ClockDomain()
        clock = domain.clk
        name, index = self.system.clock
        m.submodules.clock_buffer = Instance(self.system.clock_buffer, i_I=self.block[name][index], o_O=clock)
        m.submodules.reset_synchronizer = synchronizer = ResetSynchronizer()
        name, index = self.system.reset_n
        m.d.comb += [
            self.wrapper.clock.eq(clock),
            synchronizer.reset_n.eq(self.block[name][index]),
            domain.rst.eq(synchronizer.o),
            self.wrapper.reset_n.eq(~synchronizer.o),
            *(self.block[name].eq(clock) for name in self.system.clock_inputs),
        ]

    def _registers(self, m: Module) -> None:
        m.submodules.bridge = bridge = RegistersBridge(self.base, self.system.registers_signature)
        for path, member, value in bridge.port.signature.flatten(bridge.port):
            other = self.block[self.system.registers_port + path[0].replace("_", "").upper()]
            m.d.comb += value.eq(other) if member.flow.name == "In" else other.eq(value)
        for path, member, value in bridge.registers.signature.flatten(bridge.registers):
            other = self._accelerator(f"s_axi_{path[0].replace('_', '')}")
            m.d.comb += other.eq(value) if member.flow.name == "Out" else value.eq(other)

    def _memory(self, m: Module, port: str, master: str) -> None:
        """Connect a master; the block may be wider than it, and the surplus is 0 or ignored."""
        for name, (value, direction) in self.wrapper.ports.items():
            field = name.removeprefix(f"{master}_")
            if field != name and not (field == "wid" and f"{port}WID" not in self.block.ports):  # AXI4 has no write ID
                other = self.block[port + field.upper()]
                m.d.comb += other.eq(value) if direction == Direction.Output else value.eq(other)

    def verilog(self, name: str, platform: Series7 | None = None) -> str:
        """Verilog, module ``name``; with cells of the chip for a ``platform`` that has them, otherwise portable."""
        text: str = verilog.convert(
            self, name=name, platform=platform, ports=self.ports, emit_src=False, strip_internal_attrs=True
        )
        return compact_memories(text)
