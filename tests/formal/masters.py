# SPDX-License-Identifier: Apache-2.0
"""The bus masters, against a memory that answers any time: AXI's rules, room for all that was asked for, order."""

from amaranth import Array, Mux, Signal, Value

from hw.axi import BurstReader
from hw.axi.burst_splitter import BURST_BEATS
from tests.formal.bench import Bench, Scoreboard
from tests.formal.bursts import LONGEST_RUN
from tests.formal.prove import Mutant, proof
from tests.formal.queues import follow_queue

OUTSTANDING = 3
DEPTH = 2 * BURST_BEATS

READER = "hw.axi.read_master"


class Bursts:
    """Bursts that the bus has taken and not answered, at most :data:`OUTSTANDING`.

    Members
    -------
    count : how many. ``left``: beats to come of each, the oldest first.
    """

    def __init__(self, bench: Bench, taken: Value, beats: Value, answered: Value, ends: Value) -> None:
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
        bench.ensure(~taken | (self.count < OUTSTANDING))
        for n in range(OUTSTANDING):
            bench.invariant((self.count <= n) | ((self.left[n] != 0) & (self.left[n] <= BURST_BEATS)))

    def beats(self) -> Value:
        """To come, of all."""
        return sum((Mux(self.count > n, self.left[n], 0) for n in range(OUTSTANDING)), start=Value.cast(0))


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
    bench.stable(port.ar_valid, port.ar_ready, port.ar_addr, port.ar_len)
    bench.ensure(~port.ar_valid | (bursts.count < OUTSTANDING))
    to_come = bursts.beats() + Mux(port.ar_valid, port.ar_len + 1, 0)
    bench.ensure(dropping | (beats.level + to_come <= DEPTH))
    bench.ensure(~beats.turn | (data.payload == beat))
    bench.ensure(~data.valid | (beats.level != 0))
    bench.ensure(~reader.idle | (~owed & (beats.level == 0)))
    given = bench.inner("splitter").o
    issue = given.valid & given.ready
    asked = (port.ar_addr == bench.past(given.payload.address)) & (port.ar_len == bench.past(given.payload.last_beat))
    bench.ensure(~bench.past(issue) | (port.ar_valid & asked))
    bench.ensure(~port.ar_valid | bench.past(issue) | bench.past(port.ar_valid & ~port.ar_ready))
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
