# SPDX-License-Identifier: Apache-2.0
"""AXI read master: runs of beats in, one stream of beats out."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi.burst_splitter import BURST_BEATS, RUN, BurstSplitter, check_limits
from hw.axi.signatures import BusControl, ReadPort
from hw.lib import StreamQueue, taken


class BurstReader(wiring.Component):
    """Reads runs, in order, with several bursts in flight.

    A burst is asked for only when the output queue has room for all of it, so ``r_ready`` is always high and a slow
    consumer never blocks a shared bus. Throughput: one beat a cycle, without gaps between runs of 16 beats or more at
    any alignment, as long as ``outstanding`` bursts cover the memory's latency.

    Parameters
    ----------
    outstanding:
        Bursts in flight, at most.
    depth:
        Beats of the output queue; a power of two, at least two bursts. Below ``16 * outstanding`` it bounds the bursts
        in flight.

    Members
    -------
    runs:
        What to read.
    port:
        AXI read channels.
    data:
        The beats of all runs, in order. After an error response they are whatever the bus gave.
    clear, reset, beat, error:
        :class:`hw.axi.signatures.BusControl`; ``clear`` drops what bursts in flight still bring.
    idle:
        No run, burst or beat is left inside. While ``clear`` stays high too.
    """

    def __init__(self, outstanding: int = 8, depth: int = 256) -> None:
        check_limits(outstanding, depth)
        self.outstanding = outstanding
        self.depth = depth
        super().__init__(
            {
                "runs": In(stream.Signature(RUN)),
                "port": Out(ReadPort()),
                "data": Out(stream.Signature(unsigned(64))),
                **taken(BusControl()),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        draining = Signal()
        splitter = BurstSplitter()
        queue = StreamQueue(unsigned(64), self.depth)
        m.submodules.splitter = ResetInserter(draining)(splitter)
        m.submodules.queue = ResetInserter(self.clear | draining)(queue)
        m.d.comb += [
            splitter.i.payload.eq(self.runs.payload),
            splitter.i.valid.eq(self.runs.valid & ~draining),
            self.runs.ready.eq(splitter.i.ready & ~draining),
            queue.i.payload.eq(self.port.r_data),
            queue.i.valid.eq(self.port.r_valid),
            self.port.r_ready.eq(1),
            self.data.payload.eq(queue.o.payload),
            self.data.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.data.ready),
            self.beat.eq(self.port.r_valid),
        ]
        in_flight = self._issue(m, splitter, draining)
        drained = Signal()
        m.d.comb += [
            drained.eq((in_flight == 0) & ~self.port.ar_valid),
            self.idle.eq(drained & ~splitter.busy & queue.empty),
        ]
        m.d.sync += draining.eq(self.clear | (draining & ~drained))
        with m.If(self.port.r_valid & (self.port.r_resp != 0)):
            m.d.sync += self.error.eq(1)
        with m.If(self.clear | draining):
            m.d.sync += self.error.eq(0)
        with m.If(self.reset):
            m.d.sync += [in_flight.eq(0), self.port.ar_valid.eq(0)]
        return m

    def _issue(self, m: Module, splitter: BurstSplitter, draining: Signal) -> Signal:
        """Ask for bursts, one in two cycles, as long as there is room for their beats; returns the number of bursts in
        flight.
        """
        in_flight = Signal(range(self.outstanding + 1))
        room = Signal(range(self.depth + 1), init=self.depth)
        permit, issue, consumed = Signal(), Signal(), Signal()
        burst = splitter.o
        m.d.comb += [
            issue.eq(burst.valid & permit & (~self.port.ar_valid | self.port.ar_ready)),
            burst.ready.eq(issue),
        ]
        m.d.sync += [
            # Asking for room for the longest burst keeps the comparison short. What this cycle issues is not counted
            # yet.
            permit.eq((room >= BURST_BEATS) & (in_flight != self.outstanding) & ~issue & ~draining & ~self.clear),
            consumed.eq(self.data.valid & self.data.ready),
        ]
        with m.If(self.port.ar_ready):
            m.d.sync += self.port.ar_valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                self.port.ar_valid.eq(1),
                self.port.ar_addr.eq(burst.payload.address),
                self.port.ar_len.eq(burst.payload.last_beat),
            ]
        # ``~last_beat`` is ``-(last_beat + 1)``.
        m.d.sync += room.eq(room + consumed + Mux(issue, Cat(~burst.payload.last_beat, 1), 0).as_signed())
        with m.If(draining):
            m.d.sync += room.eq(self.depth)
        m.d.sync += in_flight.eq(in_flight + issue - (self.port.r_valid & self.port.r_last))
        return in_flight
