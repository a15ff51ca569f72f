# SPDX-License-Identifier: Apache-2.0
"""Two AXI read masters on one port; for simulation only (docs/one-layer.md)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import ReadPort

IN_FLIGHT = 16
"""Bursts whose owner is remembered: more than a port accepts."""


class ReadArbiter(wiring.Component):
    """Passes on the addresses of two masters, the first one first, without delay; beats go to whose burst they belong
    to.

    Beats must come in the order of their addresses, as on a port with one ID.

    Members
    -------
    first, second : the masters' ports.
    port : the shared port.
    beat : one cycle high for each beat read.
    """

    def __init__(self) -> None:
        super().__init__(
            {"first": In(ReadPort()), "second": In(ReadPort()), "port": Out(ReadPort()), "beat": Out(1)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.owners = owners = fifo.SyncFIFO(width=1, depth=IN_FLIGHT)
        port, first, second = self.port, self.first, self.second
        # An address that waits must not change.
        chosen, waiting, kept = Signal(), Signal(), Signal()
        m.d.comb += [
            chosen.eq(Mux(waiting, kept, ~first.ar_valid)),
            port.ar_valid.eq(Mux(chosen, second.ar_valid, first.ar_valid) & owners.w_rdy),
            port.ar_addr.eq(Mux(chosen, second.ar_addr, first.ar_addr)),
            port.ar_len.eq(Mux(chosen, second.ar_len, first.ar_len)),
            first.ar_ready.eq(port.ar_ready & owners.w_rdy & ~chosen),
            second.ar_ready.eq(port.ar_ready & owners.w_rdy & chosen),
            owners.w_data.eq(chosen),
            owners.w_en.eq(port.ar_valid & port.ar_ready),
        ]
        m.d.sync += [waiting.eq(port.ar_valid & ~port.ar_ready), kept.eq(chosen)]
        for number, master in enumerate((first, second)):
            m.d.comb += [
                master.r_valid.eq(port.r_valid & (owners.r_data == number)),
                master.r_data.eq(port.r_data),
                master.r_resp.eq(port.r_resp),
                master.r_last.eq(port.r_last),
            ]
        m.d.comb += [
            port.r_ready.eq(Mux(owners.r_data, second.r_ready, first.r_ready)),
            self.beat.eq(port.r_valid & port.r_ready),
            owners.r_en.eq(self.beat & port.r_last),
        ]
        return m
