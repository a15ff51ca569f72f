# SPDX-License-Identifier: Apache-2.0
"""The bus masters, against a memory that answers any time: AXI's rules, room for all that was asked for, order."""

from amaranth import Array, Const, Mux, Signal, Value
from amaranth.hdl import ValueLike

from hw.axi import BurstReader, BurstWriter
from hw.axi.burst_splitter import BURST_BEATS
from hw.axi.write_master import _MARGIN, LEAD
from tests.formal.bench import Bench, Scoreboard, waits_at_most
from tests.formal.bursts import LONGEST_RUN
from tests.formal.prove import Mutant, proof
from tests.formal.queues import follow_fifo, follow_queue, follow_ring

OUTSTANDING = 3
DEPTH = 2 * BURST_BEATS

READER, WRITER = "hw.axi.read_master", "hw.axi.write_master"


class Bursts:
    """Bursts with beats to come, at most :data:`OUTSTANDING`. ``clear`` forgets all of them.

    Members
    -------
    count : how many. ``left``: beats to come of each, the oldest first.
    """

    def __init__(
        self, bench: Bench, taken: Value, beats: Value, answered: Value, ends: Value, clear: ValueLike = 0
    ) -> None:
        m = bench.m
        self.count = Signal(range(OUTSTANDING + 2), name="bursts")
        self.left = Array(Signal(5, name=f"left_{n}") for n in range(OUTSTANDING))
        m.d.sync += self.count.eq(self.count + taken - ends)
        with m.If(ends):
            m.d.sync += [early.eq(late) for early, late in zip(self.left, list(self.left)[1:], strict=False)]
        with m.Elif(answered):
            m.d.sync += self.left[0].eq(self.left[0] - 1)
        with m.If(taken):
            m.d.sync += self.left[self.count - ends].eq(beats)
        with m.If(clear):
            m.d.sync += self.count.eq(0)
        bench.ensure(~taken | (self.count < OUTSTANDING))
        for n in range(OUTSTANDING):
            bench.invariant((self.count <= n) | ((self.left[n] != 0) & (self.left[n] <= BURST_BEATS)))

    def beats(self) -> Value:
        """To come, of all."""
        return sum((Mux(self.count > n, self.left[n], 0) for n in range(OUTSTANDING)), start=Value.cast(0))


NEVER = Const(0, 1)


def announced_bursts(bench: Bench, channel: tuple[Value, Value, Value, Value], reset: Value = NEVER) -> Value:
    """Ensure that an address ``channel`` (valid, ready, address, length) keeps AXI's rule, and has the bursts of the
    component's splitter, each from the cycle after it is taken on; returns whether that is this cycle.
    """
    valid, ready, address, length = channel
    given = bench.inner("splitter").o
    announced = bench.past(given.valid & given.ready & ~reset)
    asked = (address == bench.past(given.payload.address)) & (length == bench.past(given.payload.last_beat))
    bench.stable(valid, ready | reset, address, length)
    bench.ensure(~announced | (valid & asked))
    bench.ensure(~valid | announced | bench.past(valid & ~ready & ~reset))
    return announced


@proof(
    name="burst reader",
    claim="an address stays with its valid until ready, and is that of the next burst of the splitter; never more than "
    "`outstanding` bursts in flight, nor more beats asked for than there is room; r_ready is always high; beats come "
    "out once, in order, unchanged; after clear none of the beats of earlier bursts comes out, and nothing is asked "
    "for before these have ended; idle means that the bus owes nothing",
    assumptions=f"outstanding = {OUTSTANDING}, depth = {DEPTH}; no `reset`; runs of 1 to 2**20 beats; the bus "
    "gives each burst its beats in order, `last` with the last one, at any time",
    component=lambda: BurstReader(OUTSTANDING, DEPTH),
    depth=2,
    cover=14,
    depth_of_mutants=12,
    mutants=(
        Mutant(READER, "room >= BURST_BEATS", "room >= BURST_BEATS - 1"),
        Mutant(READER, "(in_flight != self.outstanding)", "1"),
        Mutant(READER, "draining.eq(self.clear | (draining & ~drained))", "draining.eq(self.clear)"),
        Mutant(READER, "with m.If(self.port.ar_ready):", "with m.If(1):"),
        Mutant(READER, "burst.valid & permit & (~self.port.ar_valid | self.port.ar_ready)", "burst.valid & permit"),
    ),
)
def burst_reader(bench: Bench) -> None:
    m, reader = bench.m, bench.component
    runs, port, data = reader.runs, reader.port, reader.data
    bench.assume(~reader.reset)
    bench.assume(~runs.valid | ((runs.payload.beats != 0) & (runs.payload.beats <= LONGEST_RUN)))
    bursts = Bursts(bench, port.ar_valid & port.ar_ready, port.ar_len + 1, port.r_valid, port.r_valid & port.r_last)
    bench.assume(~port.r_valid | ((bursts.count != 0) & (port.r_last == (bursts.left[0] == 1))))
    owed = (bursts.count != 0) | port.ar_valid
    dropping = Signal()
    m.d.sync += dropping.eq(reader.clear | (dropping & owed))
    beats = Scoreboard(bench, port.r_valid, data.valid & data.ready, DEPTH, clear=reader.clear | dropping)
    beat = beats.hold(bench, port.r_data)

    bench.ensure(port.r_ready)
    announced_bursts(bench, (port.ar_valid, port.ar_ready, port.ar_addr, port.ar_len))
    bench.ensure(~port.ar_valid | (bursts.count < OUTSTANDING))
    to_come = bursts.beats() + Mux(port.ar_valid, port.ar_len + 1, 0)
    bench.ensure(dropping | (beats.level + to_come <= DEPTH))
    bench.ensure(~beats.turn | (data.payload == beat))
    bench.ensure(~data.valid | (beats.level != 0))
    bench.ensure(~reader.idle | (~owed & (beats.level == 0)))
    bench.ensure(~(bench.past(dropping) & dropping) | ~port.ar_valid | bench.past(port.ar_valid & ~port.ar_ready))

    in_flight, room, permit, consumed, draining = (
        bench.inner(name) for name in ("in_flight", "room", "permit", "consumed", "draining")
    )
    bench.invariant(draining == dropping)
    bench.invariant(in_flight == bursts.count + port.ar_valid)
    bench.invariant(draining | (room + beats.level + consumed + to_come == DEPTH))
    bench.invariant(~draining | (beats.level == 0))
    bench.invariant(~permit | ((room >= BURST_BEATS) & (in_flight < OUTSTANDING) & ~draining))
    follow_queue(bench, beats, beat, bench.inner("queue"))
    bench.cover((bursts.count == OUTSTANDING) & data.valid)
    bench.cover(dropping & port.r_valid & port.r_last & reader.clear)
    bench.cover(bench.past(dropping) & ~dropping & runs.valid & runs.ready)


@proof(
    name="burst writer",
    claim="an address stays with its valid until ready, and is that of the next burst of the splitter; it comes when "
    "all of its data are here, at most three cycles after the last of what it waits for; its data are offered from the "
    "next cycle on, without a gap, and stay until ready; beats come out once, in order, unchanged, `last` with each "
    "burst's last one; never more than `outstanding` bursts without a response; b_ready is always high; a beat that is "
    "taken has a place, and one that comes LEAD cycles after a spacious cycle is taken at once; after clear nothing is "
    "begun before the bursts that were have ended, and then no run or beat is left; error exactly if a response since "
    "the last clear was one; idle means that nothing is inside or owed by the bus, exactly if that was so a cycle ago "
    "and nothing waited to enter; after reset nothing is owed",
    assumptions=f"outstanding = {OUTSTANDING}, depth = {DEPTH}; `reset` comes with `clear` and the bus's own; runs of "
    "1 to 2**20 beats; the bus answers each burst after its last beat, at any time, its address taken or not",
    component=lambda: BurstWriter(OUTSTANDING, DEPTH),
    depth=4,
    cover=18,
    depth_of_mutants=14,
    mutants=(
        Mutant(WRITER, "unclaimed > burst.payload.last_beat", "unclaimed >= burst.payload.last_beat"),
        Mutant(WRITER, "(in_flight != self.outstanding)", "1"),
        Mutant(WRITER, "accepted.eq(queue.w_en)", "accepted.eq(self.data.valid)"),
        Mutant(WRITER, "begin.eq(~sending | (self.beat & last))", "begin.eq(~sending | self.beat)"),
        Mutant(WRITER, "drained.eq((in_flight == 0) & ~self.port.aw_valid & ~sending)", "drained.eq(in_flight == 0)"),
        Mutant(WRITER, "[in_flight.eq(0), self.port.aw_valid.eq(0)]", "in_flight.eq(0)"),
    ),
)
def burst_writer(bench: Bench) -> None:
    m, writer = bench.m, bench.component
    runs, port, data = writer.runs, writer.port, writer.data
    splitter = bench.inner("splitter")
    given = splitter.o
    issue, sent = given.valid & given.ready, port.w_valid & port.w_ready
    bench.assume(~writer.reset | writer.clear)
    bench.assume(~runs.valid | ((runs.payload.beats != 0) & (runs.payload.beats <= LONGEST_RUN)))
    bursts = Bursts(bench, issue, given.payload.last_beat + 1, sent, sent & port.w_last, clear=writer.reset)
    # Bursts that are sent and have no response.
    unanswered = Signal(range(OUTSTANDING + 1))
    bench.assume(~port.b_valid | (unanswered != 0))
    m.d.sync += unanswered.eq(Mux(writer.reset, 0, unanswered + (sent & port.w_last) - port.b_valid))
    in_flight = bursts.count + unanswered
    owed = (in_flight != 0) | port.aw_valid
    dropping, failed, started = Signal(), Signal(), Signal()
    m.d.sync += [
        dropping.eq(writer.clear | (dropping & owed)),
        failed.eq((failed | (port.b_valid & (port.b_resp != 0))) & ~writer.clear & ~dropping),
        started.eq(1),
    ]
    beats = Scoreboard(bench, data.valid & data.ready, sent, DEPTH, clear=dropping & ~owed)
    beat = beats.hold(bench, data.payload)
    to_come = bursts.beats()

    bench.ensure(port.b_ready)
    announced = announced_bursts(bench, (port.aw_valid, port.aw_ready, port.aw_addr, port.aw_len), writer.reset)
    bench.stable(port.w_valid, port.w_ready | writer.reset, port.w_data, port.w_strb, port.w_last)
    bench.ensure(in_flight <= OUTSTANDING)
    bench.ensure(to_come <= beats.level)
    bench.ensure(port.w_valid == (bursts.count != announced))
    bench.ensure(~port.w_valid | ((port.w_last == (bursts.left[0] == 1)) & port.w_strb.all()))
    bench.ensure(~beats.turn | (port.w_data == beat))
    bench.ensure(writer.beat == sent)
    possible = given.valid & (beats.level > to_come + given.payload.last_beat) & (in_flight != OUTSTANDING)
    possible &= (~port.aw_valid | port.aw_ready) & ~dropping & ~writer.clear
    waits_at_most(bench, possible & ~issue, 2)
    bench.ensure(~dropping | ~(runs.ready | data.ready | issue))
    bench.ensure(~bench.past(dropping) | dropping | ~(splitter.busy | (beats.level != 0)))
    bench.ensure(writer.error == failed)
    empty = ~owed & ~splitter.busy & (beats.level == 0)
    bench.ensure(~started | (writer.idle == bench.past(empty & ~runs.valid & ~data.valid)))
    bench.ensure(~writer.idle | empty)
    spacious = writer.spacious
    for n in range(LEAD):
        bench.invariant(~spacious | ((beats.level <= DEPTH - _MARGIN - LEAD + n) & ~dropping))
        spacious = bench.past(spacious & ~writer.clear)
    bench.ensure(~spacious | data.ready)

    _follow_writer(bench, bursts, in_flight, dropping, beats.level - to_come, announced)
    follow_fifo(bench, beats, beat, bench.inner("queue"))
    bench.cover(in_flight == OUTSTANDING)
    bench.cover(sent & port.w_last & bench.past(sent & ~port.w_last))
    bench.cover(sent & bench.past(sent & port.w_last))
    bench.cover(sent & (bursts.count == 1) & port.aw_valid & ~port.aw_ready)
    bench.cover(dropping & (unanswered != 0) & (beats.level != to_come))
    bench.cover(bench.past(dropping) & ~dropping & runs.valid & runs.ready)
    bench.cover(writer.reset & port.w_valid & port.aw_valid)
    bench.cover(writer.error & writer.idle & writer.spacious)


def _follow_writer(
    bench: Bench, bursts: Bursts, in_flight: Value, dropping: Value, free_beats: Value, announced: Value
) -> None:
    """What holds inside of the writer with these bursts, ``free_beats`` that are of none, and ``announced``: the last
    one is new.
    """
    given, queue, lengths = bench.inner("splitter").o, bench.inner("queue"), bench.inner("lengths")
    unclaimed, accepted, permit, room = (bench.inner(name) for name in ("unclaimed", "accepted", "permit", "room"))
    bench.invariant(bench.inner("draining") == dropping)
    bench.invariant(bench.inner("in_flight") == in_flight)
    # Until they are dropped, beats of bursts that a reset forgot remain.
    bench.invariant((free_beats == unclaimed + accepted) | (dropping & (free_beats > unclaimed + accepted)))
    bench.invariant(queue.r_rdy | (queue.level <= accepted))
    bench.invariant(~room | ((queue.level <= queue.depth - _MARGIN) & ~dropping))
    bench.invariant(
        ~permit | (given.valid & (in_flight < OUTSTANDING) & ~dropping & (unclaimed > given.payload.last_beat))
    )
    sending, left, last = (bench.inner(f"_send:{name}") for name in ("sending", "left", "last"))
    bench.invariant(bursts.count == sending + lengths.level)
    bench.invariant(sending | (lengths.level == announced))
    bench.invariant(~announced | (lengths.level != 0))
    bench.invariant(~sending | ((left + 1 == bursts.left[0]) & (last == (left == 0))))
    word = follow_ring(bench, lengths, lengths.level, lengths.depth)
    for n in range(OUTSTANDING):
        bench.invariant((lengths.level <= n) | (word(n) + 1 == bursts.left[sending + n]))
