# SPDX-License-Identifier: Apache-2.0
"""AXI write master: runs and one stream of beats in, bursts and their responses on the bus."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.hdl import ValueLike
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi.burst_splitter import RUN, BurstSplitter, check_limits
from hw.axi.signatures import BusControl, WritePort
from hw.lib import taken

_MARGIN = 4
"""Places of the data queue that are kept free, as its level is known a cycle late."""

LEAD = 4
"""Cycles from a producer's decision to its beat that ``spacious`` covers."""


class BurstWriter(wiring.Component):
    """Writes runs, in order, with several bursts in flight.

    A burst's address is given only when all of its data are here, so a slow producer never blocks a shared bus; its
    data follow at once, whether or not the address was taken. Throughput: one beat a cycle, without gaps between
    bursts, as long as ``outstanding`` bursts cover the memory's latency.

    Parameters
    ----------
    outstanding:
        Bursts without a response, at most.
    depth:
        Beats of the data queue; a power of two, at least two bursts.

    Members
    -------
    runs:
        Where to write.
    data:
        The beats of all runs, in order. May come before their run.
    port:
        AXI write channels.
    clear, reset, beat, error:
        :class:`hw.axi.signatures.BusControl`; ``clear`` completes the bursts whose address was given, and awaits their
        responses.
    spacious:
        The next :data:`LEAD` beats will be taken as they come; a cycle late.
    idle:
        No run or beat is left inside or waits to enter, and every burst has its response; a cycle late. While ``clear``
        stays high too.
    """

    def __init__(self, outstanding: int = 8, depth: int = 64) -> None:
        check_limits(outstanding, depth)
        self.outstanding = outstanding
        self.depth = depth
        super().__init__(
            {
                "runs": In(stream.Signature(RUN)),
                "data": In(stream.Signature(unsigned(64))),
                "port": Out(WritePort()),
                **taken(BusControl()),
                "spacious": Out(1),
                "idle": Out(1, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        draining = Signal()
        flush, room = Signal(), Signal()
        splitter = BurstSplitter()
        queue = fifo.SyncFIFOBuffered(width=64, depth=self.depth)
        m.submodules.splitter = ResetInserter(flush)(splitter)
        m.submodules.queue = ResetInserter(flush)(queue)
        m.d.comb += [
            splitter.i.payload.eq(self.runs.payload),
            splitter.i.valid.eq(self.runs.valid & ~draining),
            self.runs.ready.eq(splitter.i.ready & ~draining),
            queue.w_data.eq(self.data.payload),
            queue.w_en.eq(self.data.valid & room),
            self.data.ready.eq(room),
        ]
        # A cycle late, so for the beat that this cycle takes and two more.
        m.d.sync += room.eq((queue.level < self.depth - _MARGIN) & ~draining & ~self.clear)
        m.d.sync += self.spacious.eq((queue.level < self.depth - _MARGIN - LEAD) & ~draining & ~self.clear)
        issue = Signal()
        in_flight = Signal(range(self.outstanding + 1))
        self._issue(m, splitter, queue, issue, ~draining & ~self.clear & (in_flight != self.outstanding), flush)
        sending = self._send(m, splitter, queue, issue)
        drained = Signal()
        m.d.comb += [
            self.port.b_ready.eq(1),
            drained.eq((in_flight == 0) & ~self.port.aw_valid & ~sending),
        ]
        m.d.sync += in_flight.eq(in_flight + issue - self.port.b_valid)
        waiting = splitter.busy | self.runs.valid | self.data.valid | (queue.level != 0)
        m.d.comb += flush.eq(draining & drained)
        m.d.sync += [self.idle.eq(drained & ~waiting), draining.eq(self.clear | (draining & ~drained))]
        with m.If(self.port.b_valid & (self.port.b_resp != 0)):
            m.d.sync += self.error.eq(1)
        with m.If(self.clear | draining):
            m.d.sync += self.error.eq(0)
        with m.If(self.reset):
            m.d.sync += [in_flight.eq(0), self.port.aw_valid.eq(0)]
        return m

    def _issue(
        self,
        m: Module,
        splitter: BurstSplitter,
        queue: fifo.SyncFIFOBuffered,
        issue: Signal,
        allowed: ValueLike,
        flush: Signal,
    ) -> None:
        """Drive ``issue``: the cycle that gives a burst's address, when its data are here; one in two cycles."""
        unclaimed = Signal(range(self.depth + 1))
        permit, accepted = Signal(), Signal()
        burst = splitter.o
        m.d.comb += [
            issue.eq(permit & (~self.port.aw_valid | self.port.aw_ready)),
            burst.ready.eq(issue),
        ]
        m.d.sync += [
            # What this cycle issues is not counted yet.
            permit.eq(burst.valid & allowed & ~issue & (unclaimed > burst.payload.last_beat)),
            accepted.eq(queue.w_en),
        ]
        with m.If(self.port.aw_ready):
            m.d.sync += self.port.aw_valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                self.port.aw_valid.eq(1),
                self.port.aw_addr.eq(burst.payload.address),
                self.port.aw_len.eq(burst.payload.last_beat),
            ]
        # ``~last_beat`` is ``-(last_beat + 1)``.
        m.d.sync += unclaimed.eq(unclaimed + accepted + Mux(issue, Cat(~burst.payload.last_beat, 1), 0).as_signed())
        with m.If(flush):
            m.d.sync += unclaimed.eq(0)

    def _send(self, m: Module, splitter: BurstSplitter, queue: fifo.SyncFIFOBuffered, issue: Signal) -> Value:
        """Send the data of the issued bursts; returns whether there are any."""
        # Every issued burst has a place here until its response, so this queue is never full.
        lengths = fifo.SyncFIFO(width=4, depth=self.outstanding)
        m.submodules.lengths = ResetInserter(self.reset)(lengths)
        # A burst is being sent; beats left behind this one, which is the last.
        sending, left, last = Signal(), Signal(4), Signal()
        begin = Signal()
        m.d.comb += [
            lengths.w_data.eq(splitter.o.payload.last_beat),
            lengths.w_en.eq(issue),
            self.port.w_valid.eq(sending & queue.r_rdy),
            self.port.w_data.eq(queue.r_data),
            self.port.w_strb.eq(0xFF),
            self.port.w_last.eq(last),
            self.beat.eq(self.port.w_valid & self.port.w_ready),
            queue.r_en.eq(sending & self.port.w_ready),
            begin.eq(~sending | (self.beat & last)),
            lengths.r_en.eq(begin),
        ]
        with m.If(begin):
            m.d.sync += [sending.eq(lengths.r_rdy), left.eq(lengths.r_data), last.eq(lengths.r_data == 0)]
        with m.Elif(self.beat):
            m.d.sync += [left.eq(left - 1), last.eq(left == 1)]
        with m.If(self.reset):
            m.d.sync += sending.eq(0)
        return sending | lengths.r_rdy
