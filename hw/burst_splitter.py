"""Cuts runs of beats into AXI bursts."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.errors import ConfigError

BURST_BEATS = 16
"""Longest burst that is legal on AXI3 and AXI4 (128 bytes)."""

RUN = data.StructLayout({"address": unsigned(32), "beats": unsigned(21)})
"""``beats`` (1 to 2**20) beats of 8 bytes from byte address ``address``, a multiple of 8 (its low three bits are ignored)."""

BURST = data.StructLayout({"address": unsigned(32), "beats": unsigned(5)})
"""1 to 16 beats inside one aligned block of 128 bytes."""


def check_limits(outstanding: int, depth: int) -> None:
    """Check the parameters of a bus master with ``outstanding`` bursts in flight and a queue of ``depth`` beats.

    Raises
    ------
    ConfigError
        The queue is no power of two or holds less than two bursts, or no burst may be in flight.
    """
    if outstanding < 1:
        raise ConfigError(f"outstanding = {outstanding}: expected at least 1")
    if depth < 2 * BURST_BEATS or depth & (depth - 1):
        raise ConfigError(f"depth = {depth}: expected a power of two, at least {2 * BURST_BEATS}")


class BurstSplitter(wiring.Component):
    """Cuts each run at the multiples of 128 bytes: so no burst is longer than 16 beats or crosses 4 KiB.

    One burst a cycle, also from one run to the next; latency 2 cycles.

    Members
    -------
    i:
        Runs.
    o:
        Their bursts, in order.
    busy:
        Bursts are still to come.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(RUN)), "o": Out(stream.Signature(BURST)), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        active = Signal()
        address = Signal(29)
        left = Signal(21)
        to_border = Signal(5)
        last = Signal()
        beats = Signal(5)
        advance = Signal()
        m.d.comb += [
            to_border.eq(BURST_BEATS - address[:4]),
            last.eq(left <= to_border),
            beats.eq(Mux(last, left, to_border)),
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~active | (advance & last)),
            self.busy.eq(active | self.o.valid),
        ]
        with m.If(advance):
            m.d.sync += [
                self.o.valid.eq(active),
                self.o.payload.address.eq(address << 3),
                self.o.payload.beats.eq(beats),
                address.eq(address + beats),
                left.eq(left - beats),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                active.eq(self.i.valid),
                address.eq(self.i.payload.address >> 3),
                left.eq(self.i.payload.beats),
            ]
        return m
