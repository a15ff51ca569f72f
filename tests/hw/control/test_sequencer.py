# SPDX-License-Identifier: Apache-2.0
"""Sequencer and profiler against small models of fetcher and datapath."""

from __future__ import annotations

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from codenet.config import AcceleratorConfig
from codenet.isa import DESCRIPTOR_BYTES, ErrorCause
from codenet.registers import PROFILE_WORDS, ProfileCounter
from hw.control import Profiler, Sequencer
from hw.interfaces import RESET_CYCLES

BASE, OFFSET = 0x10000000, 0x400


class Surroundings:
    """Plays fetcher and datapath: fetches last ``fetch_cycles``, steps ``step_cycles``; records what the sequencer did.

    Attributes
    ----------
    fetches:
        Address, half and, while one ran, the index of the step during which each fetch was made.
    starts:
        Cycle, index (the descriptor's ``input_planes``) and half of each started step.
    """

    def __init__(self, steps, fetch_cycles=20, step_cycles=50):
        self.steps, self.fetch_cycles, self.step_cycles = steps, fetch_cycles, step_cycles
        self.fetches: list[tuple[int, int]] = []
        self.starts: list[tuple[int, int, int]] = []
        self.ends: list[int] = []
        self.ended: list[int] = []
        self.faults: dict[str, int] = {}
        self.done_is_level = True
        self.cycle = 0

    async def run(self, ctx, dut):
        fetching = stepping = None
        while True:
            *_, fetch, address, half, start, index, step_half, end, ended, clear = await ctx.tick().sample(
                dut.fetch, dut.fetch_address, dut.fetch_half, dut.step_start, dut.step.input_planes, dut.half,
                dut.step_end,
                dut.ended, dut.clear,
            )  # fmt: skip
            self.cycle += 1
            if fetch:
                assert fetching is None, "a fetch began before the one before had ended"
                self.fetches.append((address, half))
                fetching = self.fetch_cycles
                for signal in (dut.fetch_ready, dut.fetch_bad, dut.fetch_damaged, dut.fetch_error):
                    ctx.set(signal, 0)
            if start:
                assert stepping is None, "a step began before the one before had ended"
                self.starts.append((self.cycle, index, step_half))
                stepping = self.step_cycles
                ctx.set(dut.step_done, 0)
            elif not self.done_is_level:
                ctx.set(dut.step_done, 0)
            if end:
                self.ends.append(self.cycle)
            if ended:
                self.ended.append(self.cycle)
            if clear:
                fetching = stepping = None
                for signal in (
                    dut.fetch_ready,
                    dut.fetch_bad,
                    dut.fetch_damaged,
                    dut.fetch_error,
                    dut.read_error,
                    dut.write_error,
                    dut.step_done,
                ):
                    ctx.set(signal, 0)
                continue
            if fetching is not None:
                fetching -= 1
                if fetching <= 0:
                    fetching = None
                    self._answer(ctx, dut)
            if stepping is not None:
                stepping -= 1
                if stepping == self.step_cycles // 2:
                    for name in ("read_error", "write_error"):
                        if self.faults.get(name) == len(self.starts) - 1:
                            ctx.set(getattr(dut, name), 1)
                if stepping <= 0 and self.faults.get("hang") != len(self.starts) - 1:
                    stepping = None
                    ctx.set(dut.step_done, 1)

    def _answer(self, ctx, dut):
        index = (self.fetches[-1][0] - BASE - OFFSET) // DESCRIPTOR_BYTES
        ctx.set(dut.next_step.input_planes, index)
        ctx.set(dut.next_step.last, index == self.steps - 1)
        for name in ("fetch_bad", "fetch_damaged", "fetch_error"):
            if self.faults.get(name) == index:
                ctx.set(getattr(dut, name), 1)
                return
        ctx.set(dut.fetch_ready, 1)


def simulate(surroundings, body):
    dut = Sequencer()
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def background(ctx):
        await surroundings.run(ctx, dut)

    async def bench(ctx):
        ctx.set(dut.base_address, BASE)
        ctx.set(dut.program_offset, OFFSET)
        ctx.set(dut.idle, 1)
        await body(ctx, dut)

    sim.add_testbench(background, background=True)
    sim.add_testbench(bench)
    sim.run()


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def wait_for(ctx, signal, value=1, limit=5000):
    for _ in range(limit):
        if ctx.get(signal) == value:
            return
        await ctx.tick()
    raise AssertionError(f"{signal} did not become {value}")


@pytest.mark.parametrize("level", [True, False], ids=["level", "pulse"])
@pytest.mark.parametrize("fetch_cycles", [2, 20, 90])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_runs_every_step_once(steps, fetch_cycles, level):
    around = Surroundings(steps, fetch_cycles)
    around.done_is_level = level

    async def body(ctx, dut):
        for run in range(2):
            await pulse(ctx, dut.start)
            assert ctx.get(dut.busy)
            assert not ctx.get(dut.done)
            await wait_for(ctx, dut.busy, 0)
            assert ctx.get(dut.done)
            assert ctx.get(dut.frame_steps) == steps
            await ctx.tick().repeat(100)
            assert len(around.starts) == len(around.ends) == (run + 1) * steps
            assert len(around.ended) == run + 1
            halves = [half for _, _, half in around.starts[run * steps :]]
            assert halves == [n % 2 for n in range(steps)]
            assert [index for _, index, _ in around.starts[run * steps :]] == list(range(steps))
        expected = [(BASE + OFFSET + DESCRIPTOR_BYTES * n, n % 2) for n in range(steps)]
        assert around.fetches == 2 * expected

    simulate(around, body)


def test_fetches_while_a_step_runs():
    around = Surroundings(4, fetch_cycles=40, step_cycles=50)

    async def body(ctx, dut):
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.done)
        # Fetched meanwhile: from the end of a step to the next start it takes a decision, not a fetch.
        for (start, _, _), end in zip(around.starts[1:], around.ends[:-1], strict=True):
            assert start - end <= 3

    simulate(around, body)


def test_base_address_may_change_while_running():
    around = Surroundings(2)

    async def body(ctx, dut):
        await pulse(ctx, dut.start)
        ctx.set(dut.base_address, 0x30000000)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.memory_base) == BASE
        await wait_for(ctx, dut.done)

    simulate(around, body)


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("fetch_bad", ErrorCause.BAD_DESCRIPTOR),
        ("fetch_damaged", ErrorCause.DAMAGED),
        ("fetch_error", ErrorCause.PARAMETER_READ),
        ("read_error", ErrorCause.INPUT_READ),
        ("write_error", ErrorCause.OUTPUT_WRITE),
        ("hang", ErrorCause.WATCHDOG),
    ],
)
def test_error_stops_and_reset_recovers(fault, cause, step):
    around = Surroundings(3)
    around.faults = {fault: step}

    async def body(ctx, dut):
        ctx.set(dut.watchdog, 300)
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.error)
        assert (ctx.get(dut.cause), ctx.get(dut.step_index)) == (cause, step)
        assert not ctx.get(dut.busy)
        assert not ctx.get(dut.done)
        assert ctx.get(dut.clear)
        await pulse(ctx, dut.start)
        await ctx.tick().repeat(50)
        assert (ctx.get(dut.cause), ctx.get(dut.busy)) == (cause, 0), "start was obeyed after an error"
        assert len(around.ended) == 1
        around.faults = {}
        ctx.set(dut.idle, 0)
        await pulse(ctx, dut.reset)
        await ctx.tick().repeat(30)
        assert ctx.get(dut.busy), "reset ended before the bus was idle"
        ctx.set(dut.idle, 1)
        await wait_for(ctx, dut.busy, 0)
        assert (ctx.get(dut.cause), ctx.get(dut.error), ctx.get(dut.clear)) == (0, 0, 0)
        around.starts.clear()
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.done)
        assert [index for _, index, _ in around.starts] == [0, 1, 2]

    simulate(around, body)


@pytest.mark.parametrize("when", range(1, 130, 7))
def test_reset_at_any_time_then_a_whole_run(when):
    around = Surroundings(3, fetch_cycles=11, step_cycles=23)

    async def body(ctx, dut):
        await pulse(ctx, dut.start)
        await ctx.tick().repeat(when)
        await pulse(ctx, dut.reset)
        await wait_for(ctx, dut.busy, 0)
        assert not ctx.get(dut.done)
        around.starts.clear()
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.done)
        assert [index for _, index, _ in around.starts] == [0, 1, 2]

    simulate(around, body)


def test_every_reset_takes_as_long():
    """In any state, after another one or in the middle of one, masters are cleared for as many cycles, and nothing is
    asked of them.
    """
    around = Surroundings(3, fetch_cycles=11, step_cycles=23)

    async def body(ctx, dut):
        async def reset():
            await pulse(ctx, dut.reset)
            for _ in range(RESET_CYCLES):
                assert ctx.get(dut.clear) and ctx.get(dut.busy)
                assert not any(ctx.get(signal) for signal in (dut.fetch, dut.step_start, dut.ended, dut.stepping))
                await ctx.tick()
            assert not ctx.get(dut.clear) and not ctx.get(dut.busy)

        for running in (1, 2, 12, 13, 14, 36):
            for _ in range(2):
                await pulse(ctx, dut.start)
                await ctx.tick().repeat(running)
                await reset()
                await reset()
        await pulse(ctx, dut.reset)
        await ctx.tick().repeat(RESET_CYCLES // 2)
        await reset()

    simulate(around, body)


def test_watchdog_counts_from_the_last_finished_step():
    around = Surroundings(4, fetch_cycles=20, step_cycles=200)

    async def body(ctx, dut):
        ctx.set(dut.watchdog, 230)
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.busy, 0)
        assert ctx.get(dut.done)
        ctx.set(dut.watchdog, 150)
        await pulse(ctx, dut.start)
        await wait_for(ctx, dut.busy, 0)
        assert ctx.get(dut.cause) == ErrorCause.WATCHDOG

    simulate(around, body)


class ProfiledSequencer(wiring.Component):
    """Sequencer and profiler, connected as in the accelerator."""

    def __init__(self, config):
        self.sequencer, self.profiler = Sequencer(), Profiler(config)
        super().__init__({"unused": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer, m.submodules.profiler = self.sequencer, self.profiler
        for name in ("running", "stepping", "step_end", "step_index"):
            m.d.comb += getattr(self.profiler, name).eq(getattr(self.sequencer, name))
        return m


def test_profile_categories_sum_to_the_cycles():
    config = AcceleratorConfig.small()
    top = ProfiledSequencer(config)
    around = Surroundings(3, fetch_cycles=20, step_cycles=50)
    sim = Simulator(top)
    sim.add_clock(1e-6)
    levels = {
        ProfileCounter.ACTIVE: top.profiler.active,
        ProfileCounter.WAIT_OUTPUT: top.profiler.waiting_output,
        ProfileCounter.DRAIN: top.profiler.finished,
        ProfileCounter.WAIT_INPUT: top.profiler.waiting_input,
    }
    model = [[0] * PROFILE_WORDS]

    async def background(ctx):
        await around.run(ctx, top.sequencer)

    async def count(ctx):
        generator = random.Random(3)
        while True:
            drawn = {counter: generator.random() < 0.3 for counter in levels}
            beats = generator.randrange(3), generator.randrange(2)
            for counter, value in drawn.items():
                ctx.set(levels[counter], value)
            ctx.set(top.profiler.read_beats, beats[0])
            ctx.set(top.profiler.write_beats, beats[1])
            *_, running, stepping, end = await ctx.tick().sample(
                top.sequencer.running, top.sequencer.stepping, top.sequencer.step_end
            )
            if not running:
                continue
            chosen = next((counter for counter in levels if drawn[counter]), ProfileCounter.WAIT_WINDOW)
            model[-1][chosen if stepping else ProfileCounter.WAIT_PARAMETERS] += 1
            model[-1][ProfileCounter.READ_BEATS] += beats[0]
            model[-1][ProfileCounter.WRITE_BEATS] += beats[1]
            if end:
                model.append([0] * PROFILE_WORDS)

    async def bench(ctx):
        ctx.set(top.sequencer.base_address, BASE)
        ctx.set(top.sequencer.program_offset, OFFSET)
        ctx.set(top.sequencer.idle, 1)
        await pulse(ctx, top.sequencer.start)
        await wait_for(ctx, top.sequencer.done)
        await ctx.tick().repeat(20)
        read = []
        for index in range(3 * PROFILE_WORDS):
            ctx.set(top.profiler.index, index)
            await ctx.tick()
            read.append(ctx.get(top.profiler.data))
        assert [read[n : n + PROFILE_WORDS] for n in range(0, len(read), PROFILE_WORDS)] == model[:3]
        total = sum(sum(words[: ProfileCounter.READ_BEATS]) for words in model)
        assert total == ctx.get(top.sequencer.frame_cycles)

    sim.add_testbench(background, background=True)
    sim.add_testbench(count, background=True)
    sim.add_testbench(bench)
    sim.run()
