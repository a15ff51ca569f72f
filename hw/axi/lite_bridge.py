# SPDX-License-Identifier: Apache-2.0
"""From a processor's AXI3 or AXI4 port to the AXI4-Lite registers."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi.burst_address import BurstAddress
from hw.axi.processor_port import OKAY, ProcessorPort
from hw.axi.signatures import AxiLite


class RegistersBridge(wiring.Component):
    """Answers every burst beat by beat: a beat is a transfer to the registers, or an error that they do not see.

    Reads and writes go side by side, one burst of each at a time; the next address waits until the last answer was
    taken. IDs come back as they came. Errors are those of :class:`~hw.axi.burst_address.BurstAddress`, and what the
    registers answer; a write gets the first error of its beats. An exclusive access is an ordinary one that is answered
    OKAY, which tells the master that it was not exclusive. Beats narrower than a word read the whole word (the master
    takes its lanes) and write the bytes of their strobes. A beat takes five cycles or more.

    Parameters
    ----------
    base:
        Address of the registers for the processor.
    signature:
        Of the port.

    Members
    -------
    port:
        From the processor.
    registers:
        To :class:`hw.control.registers.Registers`.
    """

    def __init__(self, base: int, signature: ProcessorPort) -> None:
        self.read_burst = BurstAddress(base, signature.address_width, signature.len_width)
        self.write_burst = BurstAddress(base, signature.address_width, signature.len_width)
        super().__init__({"port": In(signature), "registers": Out(AxiLite())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.read_burst = self.read_burst
        m.submodules.write_burst = self.write_burst
        self._take(m, "ar", self.read_burst)
        self._take(m, "aw", self.write_burst)
        self._read(m, self.read_burst)
        self._write(m, self.write_burst)
        return m

    def _take(self, m: Module, channel: str, burst: BurstAddress) -> None:
        """Give an address channel's fields to ``burst``."""
        valid, ready, address, length, size, kind = (
            getattr(self.port, f"{channel}_{name}") for name in ("valid", "ready", "addr", "len", "size", "burst")
        )
        m.d.comb += [
            burst.start.eq(valid & ready),
            burst.address.eq(address),
            burst.length.eq(length),
            burst.size.eq(size),
            burst.burst.eq(kind),
        ]

    def _read(self, m: Module, burst: BurstAddress) -> None:
        port, registers = self.port, self.registers
        m.d.comb += [registers.ar_addr.eq(burst.o_address), port.r_last.eq(burst.o_last)]
        with m.FSM(name="read"):
            with m.State("ADDRESS"):
                m.d.comb += port.ar_ready.eq(1)
                m.d.sync += port.r_id.eq(port.ar_id)
                with m.If(port.ar_valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.sync += [port.r_resp.eq(burst.o_response), port.r_data.eq(0)]
                m.d.comb += registers.ar_valid.eq(burst.o_response == OKAY)
                with m.If(burst.o_response != OKAY):
                    m.next = "ANSWER"
                with m.Elif(registers.ar_ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += registers.r_ready.eq(1)
                m.d.sync += [port.r_data.eq(registers.r_data), port.r_resp.eq(registers.r_resp)]
                with m.If(registers.r_valid):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += port.r_valid.eq(1)
                with m.If(port.r_ready):
                    m.d.comb += burst.advance.eq(1)
                    with m.If(burst.o_last):
                        m.next = "ADDRESS"
                    with m.Else():
                        m.next = "ASK"

    def _write(self, m: Module, burst: BurstAddress) -> None:
        port, registers = self.port, self.registers
        address_taken, data_taken = Signal(), Signal()
        last = Signal()
        m.d.comb += registers.aw_addr.eq(burst.o_address)
        with m.FSM(name="write"):
            with m.State("ADDRESS"):
                m.d.comb += port.aw_ready.eq(1)
                m.d.sync += port.b_id.eq(port.aw_id)
                with m.If(port.aw_valid):
                    m.next = "FIRST"
            with m.State("FIRST"):
                m.d.sync += port.b_resp.eq(burst.o_response)
                m.next = "BEAT"
            with m.State("BEAT"):
                m.d.comb += port.w_ready.eq(1)
                m.d.sync += [registers.w_data.eq(port.w_data), registers.w_strb.eq(port.w_strb), last.eq(burst.o_last)]
                with m.If(port.w_valid):
                    with m.If(burst.o_response == OKAY):
                        m.next = "ASK"
                    with m.Else():
                        m.d.comb += burst.advance.eq(1)
                        with m.If(burst.o_last):
                            m.next = "ANSWER"
            with m.State("ASK"):
                m.d.comb += [registers.aw_valid.eq(~address_taken), registers.w_valid.eq(~data_taken)]
                m.d.sync += [
                    address_taken.eq(address_taken | registers.aw_ready),
                    data_taken.eq(data_taken | registers.w_ready),
                ]
                with m.If((address_taken | registers.aw_ready) & (data_taken | registers.w_ready)):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += registers.b_ready.eq(1)
                m.d.sync += [address_taken.eq(0), data_taken.eq(0)]
                with m.If(registers.b_valid):
                    m.d.comb += burst.advance.eq(1)
                    with m.If(port.b_resp == OKAY):
                        m.d.sync += port.b_resp.eq(registers.b_resp)
                    with m.If(last):
                        m.next = "ANSWER"
                    with m.Else():
                        m.next = "BEAT"
            with m.State("ANSWER"):
                m.d.comb += port.b_valid.eq(1)
                with m.If(port.b_ready):
                    m.next = "ADDRESS"
