# SPDX-License-Identifier: Apache-2.0
"""The burst splitter: the bursts are the runs, beat by beat, within what AXI allows."""

from amaranth import Array, Cat, Const, Mux, Signal

from hw.axi.burst_splitter import BURST_BEATS, BurstSplitter
from tests.formal.bench import Bench, waits_at_most
from tests.formal.prove import Mutant, proof

LONGEST_RUN = 1 << 20
MODULE = "hw.axi.burst_splitter"


@proof(
    name="burst splitter",
    claim="bursts have all beats of all runs, in order, each with its address, and no other; 1 to 16 beats within "
    "128 bytes, so that none crosses 4 KiB; a burst comes at most two cycles after it is the first; valid stays with "
    "its payload until ready; busy means that bursts are to come",
    assumptions="runs of 1 to 2**20 beats",
    component=BurstSplitter,
    depth=3,
    cover=12,
    depth_of_mutants=10,
    mutants=(
        Mutant(MODULE, "self.i.payload.beats + before", "self.i.payload.beats + before + 1"),
        Mutant(MODULE, "next_block.eq(next_block + 1), start.eq(0)", "next_block.eq(next_block + 1)"),
        Mutant(MODULE, "last.eq(left == 1)", "last.eq(left == 2)"),
        Mutant(MODULE, "Mux(last, end, BURST_BEATS - 1) - start", "Mux(last, end, BURST_BEATS - 1)"),
        Mutant(MODULE, "~taken | finishes", "1"),
    ),
)
def burst_splitter(bench: Bench) -> None:
    m, runs, bursts = bench.m, bench.component.i, bench.component.o
    # The stream register behind it, proven by itself, changes nothing and keeps the order.
    made = bench.inner("output").i
    bench.assume(~runs.valid | ((runs.payload.beats != 0) & (runs.payload.beats <= LONGEST_RUN)))
    # The beats to come, of up to two runs: the first one's address, in beats, and how many there are.
    place, left = (
        Array(Signal(width, name=f"{name}_{n}") for n in range(2)) for name, width in (("at", 29), ("left", 21))
    )
    count, beats, asked, burst, ends = Signal(2), Signal(5), Signal(), Signal(), Signal()
    m.d.comb += [
        beats.eq(made.payload.last_beat + 1),
        asked.eq(runs.valid & runs.ready),
        burst.eq(made.valid & made.ready),
        ends.eq(burst & (beats == left[0])),
    ]
    m.d.sync += count.eq(count + asked - ends)
    with m.If(ends):
        m.d.sync += [place[0].eq(place[1]), left[0].eq(left[1])]
    with m.Elif(burst):
        m.d.sync += [place[0].eq(place[0] + beats), left[0].eq(left[0] - beats)]
    with m.If(asked):
        m.d.sync += [place[count - ends].eq(runs.payload.address[3:]), left[count - ends].eq(runs.payload.beats)]

    bench.ensure(~asked | (count - ends < 2))
    bench.ensure(~burst | ((count != 0) & (made.payload.address == Cat(Const(0, 3), place[0])) & (beats <= left[0])))
    bench.ensure(~bursts.valid | (bursts.payload.address[3:7] + bursts.payload.last_beat < BURST_BEATS))
    bench.ensure(bench.component.busy == ((count != 0) | bursts.valid))
    bench.stable(bursts.valid, bursts.ready, bursts.payload)
    waits_at_most(bench, (count != 0) & ~bursts.valid, 2)
    bench.cover(ends & (beats == 3) & (place[0][:4] == 0) & (bench.past(beats) == BURST_BEATS) & (count == 2))
    bench.cover(ends & asked & (beats == 1) & (place[0][:4] == 15))
    _follow(bench, count, place, left)


def _follow(bench: Bench, count: Signal, place: Array, left: Array) -> None:
    """What holds inside of the splitter, that has these beats of ``count`` runs to come."""
    taken, block, first, last_beat = (bench.inner(name) for name in ("taken", "block", "first", "last_beat"))
    active, next_block, start, end, blocks, last = (
        bench.inner(name) for name in ("active", "next_block", "start", "end", "left", "last")
    )
    output = bench.inner("output")
    registers = ((bench.inner("valid", output), "payload"), (bench.inner("spare_full", output), "spare"))
    for full, name in registers:
        burst = bench.inner(name, output)
        bench.invariant(~full | (burst.address[3:7] + burst.last_beat < BURST_BEATS))
    bench.invariant(registers[0][0] | ~registers[1][0])
    bench.invariant(count == active + taken)
    bench.invariant(~active | (Cat(start, next_block) == place[0]))
    bench.invariant(~active | (Cat(end, blocks) == left[0] + start - 1))
    bench.invariant(~active | (last == (blocks == 0)))
    second = Mux(active, left[1], left[0])
    bench.invariant(~taken | (Cat(first, block) == Mux(active, place[1], place[0])))
    bench.invariant(~taken | (last_beat == second + first - 1))
    for n in range(2):
        bench.invariant((count <= n) | ((left[n] != 0) & (left[n] <= LONGEST_RUN)))
