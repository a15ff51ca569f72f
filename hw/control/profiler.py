# SPDX-License-Identifier: Apache-2.0
"""Counters of every step: where its cycles went, and how many beats it moved."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.registers import PROFILE_WORDS, ProfileCounter
from hw.lib import delay, relays


class Profiler(wiring.Component):
    """Counts by :class:`codenet.registers.ProfileCounter` and keeps the counts of the first ``profile_depth`` steps.

    Every cycle in which ``running`` is set belongs to exactly one of the six cycle categories. At ``step_end`` the
    counts (that cycle included) are set aside, written to the memory during the next eleven cycles, and counting starts
    again from 0. Steps are at least eleven cycles apart. ``data`` is the word at ``index``, one cycle later; indices
    wrap at the memory's size.

    Members
    -------
    running, stepping, step_end, step_index:
        From the sequencer; ``stepping`` means that a step has been started and has not ended.
    active, waiting_output, finished, waiting_input:
        Levels of the datapath, in falling priority; none of them while a step runs: WAIT_WINDOW.
    read_beats, write_beats:
        Beats moved in this cycle.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "running": In(1),
                "stepping": In(1),
                "step_end": In(1),
                "step_index": In(16),
                "active": In(1),
                "waiting_output": In(1),
                "finished": In(1),
                "waiting_input": In(1),
                "read_beats": In(2),
                "write_beats": In(1),
                "index": In(32),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Stage 1: what this cycle adds. Stage 2: the counts. Stage 3: those of a step that has ended are set aside.
        category = self._category(m)
        ended = delay(m, self.step_end, 1, "ended", reset=True)
        # A copy for each counter and its share of what is set aside, and one for the rest.
        *completes, complete = relays(m, ended, PROFILE_WORDS + 1, "complete", reset=True)
        stops = relays(m, ~self.running, PROFILE_WORDS, "stopped")
        counts = []
        for counter in ProfileCounter:
            cycle = self.running & (category == counter)
            beats = {ProfileCounter.READ_BEATS: self.read_beats, ProfileCounter.WRITE_BEATS: self.write_beats}
            added = delay(m, beats.get(counter, cycle), 1, f"added_{counter.name.lower()}")
            count = Signal(32, name=f"count_{counter.name.lower()}")
            m.d.sync += count.eq(Mux(completes[counter], 0, count) + added)
            with m.If(stops[counter]):
                m.d.sync += count.eq(0)
            counts.append(count)
        self._keep(m, counts, completes, complete, delay(m, self.step_index, 2, "index"))
        return m

    def _category(self, m):
        category = Signal(ProfileCounter, init=ProfileCounter.WAIT_WINDOW)
        with m.If(~self.stepping):
            m.d.comb += category.eq(ProfileCounter.WAIT_PARAMETERS)
        with m.Elif(self.active):
            m.d.comb += category.eq(ProfileCounter.ACTIVE)
        with m.Elif(self.waiting_output):
            m.d.comb += category.eq(ProfileCounter.WAIT_OUTPUT)
        with m.Elif(self.finished):
            m.d.comb += category.eq(ProfileCounter.DRAIN)
        with m.Elif(self.waiting_input):
            m.d.comb += category.eq(ProfileCounter.WAIT_INPUT)
        return category

    def _keep(self, m, counts, completes, complete, index):
        depth = self.config.profile_depth
        m.submodules.memory = memory = Memory(shape=32, depth=depth * PROFILE_WORDS, init=[])
        read, write = memory.read_port(), memory.write_port()
        kept = [Signal(32, name=f"kept_{n}", reset_less=True) for n in range(PROFILE_WORDS)]
        word, step, writing = Signal(range(PROFILE_WORDS)), Signal(16), Signal()
        with m.If(writing):
            m.d.sync += [*(here.eq(above) for here, above in zip(kept, kept[1:], strict=False)), word.eq(word + 1)]
            with m.If(word == PROFILE_WORDS - 1):
                m.d.sync += writing.eq(0)
        with m.If(complete):
            m.d.sync += [step.eq(index), word.eq(0), writing.eq(index < depth)]
        for here, count, ended in zip(kept, counts, completes, strict=True):
            with m.If(ended):
                m.d.sync += here.eq(count)
        m.d.comb += [
            write.en.eq(writing),
            write.addr.eq(Cat(word, step)),
            write.data.eq(kept[0]),
            read.addr.eq(self.index),
            self.data.eq(read.data),
        ]
