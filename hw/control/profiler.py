"""Counters of every step: where its cycles went, and how many beats it moved."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.registers import PROFILE_WORDS, ProfileCounter


class Profiler(wiring.Component):
    """Counts by :class:`codenet.registers.ProfileCounter` and keeps the counts of the first ``profile_depth`` steps.

    Every cycle in which ``running`` is set belongs to exactly one of the six cycle categories. At ``step_end`` the counts (that cycle
    included) are set aside, written to the memory during the next eight cycles, and counting starts again from 0. Steps
    are at least eight cycles apart. ``data`` is the word at ``index``, one cycle later; indices wrap at the memory's size.

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
        counters = Array(Signal(32, name=f"count_{counter.name.lower()}") for counter in ProfileCounter)
        category = self._category(m)
        counts = []
        for counter in ProfileCounter:
            if counter == ProfileCounter.READ_BEATS:
                added = self.read_beats
            elif counter == ProfileCounter.WRITE_BEATS:
                added = self.write_beats
            else:
                added = self.running & (category == counter)
            counts.append((counters[int(counter)] + added)[:32])
        for counter, count in zip(counters, counts, strict=True):
            m.d.sync += counter.eq(Mux(self.running & ~self.step_end, count, 0))
        self._keep(m, counts)
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

    def _keep(self, m, counts):
        depth = self.config.profile_depth
        m.submodules.memory = memory = Memory(shape=32, depth=depth * PROFILE_WORDS, init=[])
        read, write = memory.read_port(), memory.write_port()
        kept = Signal(32 * PROFILE_WORDS)
        word, step, writing = Signal(range(PROFILE_WORDS)), Signal(16), Signal()
        with m.If(writing):
            m.d.sync += [kept.eq(kept >> 32), word.eq(word + 1)]
            with m.If(word == PROFILE_WORDS - 1):
                m.d.sync += writing.eq(0)
        with m.If(self.step_end):
            m.d.sync += [
                kept.eq(Cat(*counts)),
                step.eq(self.step_index),
                word.eq(0),
                writing.eq(self.step_index < depth),
            ]
        m.d.comb += [
            write.en.eq(writing),
            write.addr.eq(Cat(word, step)),
            write.data.eq(kept),
            read.addr.eq(self.index),
            self.data.eq(read.data),
        ]
