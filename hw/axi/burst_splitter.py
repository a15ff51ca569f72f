# SPDX-License-Identifier: Apache-2.0
"""Cuts runs of beats into AXI bursts."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.errors import ConfigError
from hw.lib import StreamRegister

BURST_BEATS = 16
"""Longest burst that is legal on AXI3 and AXI4 (128 bytes)."""

RUN = data.StructLayout({"address": unsigned(32), "beats": unsigned(21)})
"""``beats`` (1 to 2**20) beats of 8 bytes from byte address ``address``, a multiple of 8 (its low three bits are
ignored).
"""

BURST = data.StructLayout({"address": unsigned(32), "last_beat": unsigned(4)})
"""``last_beat + 1`` beats inside one aligned block of 128 bytes."""


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

    One burst a cycle, also from one run to the next; latency 3 cycles.

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
        m.submodules.output = output = StreamRegister(BURST)
        wiring.connect(m, output.o, wiring.flipped(self.o))
        # The run to come: its first block of 128 bytes, its first beat in it, and the place of its last beat, counted
        # from that block.
        taken, block, first = Signal(), Signal(25), Signal(4)
        last_beat = Signal(22)
        # The run that is cut: the same, with the blocks that are left behind this one.
        active, next_block, start, end = Signal(), Signal(25), Signal(4), Signal(4)
        left, last = Signal(18), Signal()
        finishes = Signal()
        m.d.comb += [
            finishes.eq(~active | (output.i.ready & last)),
            self.i.ready.eq(~taken | finishes),
            output.i.valid.eq(active),
            output.i.payload.address.eq(Cat(Const(0, 3), start, next_block)),
            output.i.payload.last_beat.eq(Mux(last, end, BURST_BEATS - 1) - start),
            self.busy.eq(taken | active | output.o.valid),
        ]
        with m.If(self.i.ready):
            # One beat less: 0 to 15, or -1 at the start of a block.
            before = (self.i.payload.address[3:7] - 1).as_signed()
            m.d.sync += [
                taken.eq(self.i.valid),
                Cat(first, block).eq(self.i.payload.address[3:]),
                last_beat.eq(self.i.payload.beats + before),
            ]
        with m.If(finishes):
            m.d.sync += [
                active.eq(taken),
                next_block.eq(block),
                start.eq(first),
                end.eq(last_beat[:4]),
                left.eq(last_beat[4:]),
                last.eq(last_beat[4:] == 0),
            ]
        with m.Elif(output.i.ready):
            m.d.sync += [next_block.eq(next_block + 1), start.eq(0), left.eq(left - 1), last.eq(left == 1)]
        return m
