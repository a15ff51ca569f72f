# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite slave with the registers of :mod:`codenet.registers`."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.registers import ADDRESS_BITS, BY_NAME, IDENTITY, REGISTERS, config_registers
from hw.axi import AxiLite

STORED = tuple(r.name.lower() for r in REGISTERS if r.access == "rw")
"""Read-write registers: outputs of :class:`Registers`."""

REPORTED = ("status", "peak_count", "frame_cycles", "frame_steps", "profile_data")
"""Read-only registers whose value the accelerator supplies: inputs of :class:`Registers`."""

STATUS = data.FlexibleLayout(
    32, {field.name: data.Field(field.width, field.shift) for field in BY_NAME["STATUS"].fields}
)
"""Fields of STATUS."""


class ProgramControl(wiring.Signature):
    """From the registers to the sequencer: where a program is, pulses that start and reset, and what came of it."""

    def __init__(self) -> None:
        super().__init__(
            {
                "start": Out(1),
                "reset": Out(1),
                "base_address": Out(32),
                "program_offset": Out(32),
                "watchdog": Out(32),
                "ended": In(1),
                "frame_cycles": In(32),
                "frame_steps": In(32),
            }
        )


class Registers(wiring.Component):
    """Register file: decoder and storage follow :data:`codenet.registers.REGISTERS`.

    Reads and writes are independent, one of each outstanding. Address and data of a write may come in either order; it
    takes effect in the cycle after both are there, together with its response. Read-write registers respect byte
    strobes; commands and write-1-to-clear bits act only with the strobe of their byte. Every response is OKAY: an
    address without register reads as 0 and ignores writes, because an error response would be a bus fault in the host's
    program. The two low address bits are ignored.

    Members
    -------
    bus: the slave. ``start``, ``reset``: one-cycle pulses from CONTROL. ``ended``: pulse, sets IRQ_STATUS (it wins over
    a clear in the same cycle). ``interrupt``: level, IRQ_STATUS and IRQ_ENABLE. One output for every read-write
    register, one input for every read-only one that is not constant. ``profile_data`` must follow ``profile_index``
    within two cycles.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        members = {
            "bus": In(AxiLite()),
            "start": Out(1),
            "reset": Out(1),
            "ended": In(1),
            "interrupt": Out(1),
        }
        members |= {name: Out(32) for name in STORED}
        members |= {name: In(32) for name in REPORTED} | {"status": In(STATUS)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        pending = Signal()
        m.d.comb += self.interrupt.eq(pending & self.irq_enable[0])
        write, address, data, strobe = self._writes(m)
        self._store(m, write, address, data, strobe, pending)
        self._reads(m, pending)
        return m

    def _writes(self, m):
        """Collect address and data; give one ``write`` pulse with word address, data and strobes."""
        bus = self.bus
        address, has_address = Signal(ADDRESS_BITS - 2), Signal()
        data, strobe, has_data = Signal(32), Signal(4), Signal()
        write = Signal()
        m.d.comb += [
            write.eq(has_address & has_data),
            bus.aw_ready.eq(~has_address & ~bus.b_valid),
            bus.w_ready.eq(~has_data & ~bus.b_valid),
        ]
        with m.If(bus.aw_valid & bus.aw_ready):
            m.d.sync += [address.eq(bus.aw_addr[2:]), has_address.eq(1)]
        with m.If(bus.w_valid & bus.w_ready):
            m.d.sync += [data.eq(bus.w_data), strobe.eq(bus.w_strb), has_data.eq(1)]
        with m.If(bus.b_ready):
            m.d.sync += bus.b_valid.eq(0)
        with m.If(write):
            m.d.sync += [bus.b_valid.eq(1), has_address.eq(0), has_data.eq(0)]
        return write, address, data, strobe

    def _store(self, m, write, address, data, strobe, pending):
        mask = Cat(bit.replicate(8) for bit in strobe)
        m.d.sync += [self.start.eq(0), self.reset.eq(0)]
        with m.Switch(address):
            for register in REGISTERS:
                with m.Case(register.offset // 4):
                    if register.access == "rw":
                        stored = getattr(self, register.name.lower())
                        with m.If(write):
                            m.d.sync += stored.eq(((stored & ~mask) | (data & mask)) & register.writable)
                    elif register.name == "IRQ_STATUS":
                        with m.If(write & strobe[0] & data[0]):
                            m.d.sync += pending.eq(0)
                    elif register.name == "CONTROL":
                        for command in register.fields:
                            bit = getattr(self, command.name)
                            m.d.sync += bit.eq(write & strobe[command.shift // 8] & data[command.shift])
        with m.If(self.ended):
            m.d.sync += pending.eq(1)

    def _reads(self, m, pending):
        """Two cycles from address to data: register the address, then the selected value."""
        bus = self.bus
        address, selected = Signal(ADDRESS_BITS - 2), Signal()
        m.d.comb += bus.ar_ready.eq(~selected & ~bus.r_valid)
        with m.If(bus.ar_valid & bus.ar_ready):
            m.d.sync += [address.eq(bus.ar_addr[2:]), selected.eq(1)]
        with m.If(bus.r_ready):
            m.d.sync += bus.r_valid.eq(0)
        with m.If(selected):
            m.d.sync += [selected.eq(0), bus.r_valid.eq(1), bus.r_data.eq(0)]
            with m.Switch(address):
                for register in REGISTERS:
                    with m.Case(register.offset // 4):
                        m.d.sync += bus.r_data.eq(self._value(register, pending))
                        if register.name == "PROFILE_DATA":
                            m.d.sync += self.profile_index.eq(self.profile_index + 1)

    def _value(self, register, pending):
        constants = {"IDENTITY": IDENTITY, **config_registers(self.config)}
        if register.name in constants:
            return constants[register.name]
        if register.name == "IRQ_STATUS":
            return pending
        return Mux(register.access == "wo", 0, getattr(self, register.name.lower(), 0))
