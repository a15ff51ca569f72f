# SPDX-License-Identifier: Apache-2.0
"""Control: runs a program step by step, fetching the next step's descriptor and parameters while one runs."""

from amaranth import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from codenet.isa import DESCRIPTOR_BYTES, ErrorCause
from hw.control.registers import ProgramControl
from hw.interfaces import RESET_CYCLES, STEP
from hw.lib import relays, taken

LOADERS = 4
"""Parts of the step, each with a copy of what loads it."""


class State(enum.Enum):
    """IDLE: may start. RUN: a program runs. STOPPED: after an error. RESET: waits for the bus."""

    IDLE = 0
    RUN = 1
    STOPPED = 2
    RESET = 3


class Sequencer(wiring.Component):
    """Fetches, starts and ends the steps of a program, and stops on errors.

    A program begins with ``start`` while idle. Step n + 1 is fetched into the other half of the parameter memories as
    soon as step n starts, and starts three cycles after both step n has ended and its parameters are there. Errors of a
    fetch count only once the step that runs meanwhile has ended, so that ``step_index`` names the step at fault. After
    an error nothing but ``reset`` is obeyed; ``clear`` keeps the datapath from starting new bus transfers from the
    second cycle after the error on. ``reset`` is obeyed in every state, holds ``clear`` until the bus masters are
    ``idle``, and leads to the idle state.

    Members
    -------
    start, reset, base_address, program_offset, watchdog:
        From the registers.
    busy, done, error, cause, step_index, frame_cycles, frame_steps, ended:
        To the registers. ``ended`` pulses when a program ends, by success or error.
    fetch, fetch_address, fetch_half, next_step, fetch_ready, fetch_bad, fetch_damaged, fetch_error:
        Parameter fetcher. ``fetch`` is a pulse; the four answers are levels until the next ``fetch``.
    memory_base:
        ``base_address`` as it was at ``start``.
    step, half, step_start, step_done, step_end, stepping:
        Datapath. ``step`` and ``half`` are stable from one ``step_start`` to the next; ``step_done`` is a level or
        pulse that comes at least one cycle after ``step_start``; ``step_end`` pulses in its cycle. An error has come a
        cycle before ``step_done`` at the latest.
    read_error, write_error, idle, clear:
        Bus masters. ``idle``: none has a transfer outstanding.
    """

    def __init__(self):
        super().__init__(
            {
                **taken(ProgramControl()),
                "busy": Out(1),
                "running": Out(1),
                "done": Out(1),
                "error": Out(1),
                "cause": Out(8),
                "step_index": Out(16),
                "memory_base": Out(32),
                "fetch": Out(1),
                "fetch_address": Out(32),
                "fetch_half": Out(1),
                "next_step": In(STEP),
                "fetch_ready": In(1),
                "fetch_bad": In(1),
                "fetch_damaged": In(1),
                "fetch_error": In(1),
                "step": Out(STEP),
                "half": Out(1),
                "step_start": Out(1),
                "step_done": In(1),
                "step_end": Out(1),
                "stepping": Out(1),
                "read_error": In(1),
                "write_error": In(1),
                "idle": In(1),
                "clear": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        state = Signal(State)
        settle = Signal(range(RESET_CYCLES))
        failed, cause = self._failure(m)
        begin, load = Signal(), Signal()
        self._load(m, begin)
        m.d.comb += [
            self.step_index.eq(self.frame_steps),
            self.step_end.eq(self.running & self.stepping & self.step_done & ~self.step_start & ~failed),
        ]
        m.d.sync += [self.ended.eq(0), self.fetch.eq(0), load.eq(0), self.step_start.eq(0)]
        with m.Switch(state):
            with m.Case(State.IDLE):
                with m.If(self.start):
                    m.d.sync += [*self._begin(), state.eq(State.RUN)]
            with m.Case(State.RUN):
                m.d.comb += [self.busy.eq(1), self.running.eq(1)]
                m.d.sync += self.frame_cycles.eq(self.frame_cycles + 1)
                self._run(m, begin, load)
                with m.If(failed):
                    m.d.sync += [self.error.eq(1), self.cause.eq(cause), self.ended.eq(1), state.eq(State.STOPPED)]
                with m.Elif(self.step_end & self.step.last):
                    m.d.sync += [self.done.eq(1), self.ended.eq(1), state.eq(State.IDLE)]
            with m.Case(State.STOPPED):
                m.d.comb += self.clear.eq(1)
            with m.Case(State.RESET):
                m.d.comb += [self.busy.eq(1), self.clear.eq(1)]
                with m.If(settle != RESET_CYCLES - 1):
                    m.d.sync += settle.eq(settle + 1)
                with m.Elif(self.idle):
                    m.d.sync += state.eq(State.IDLE)
        # After the states, so that it wins over whatever they decide.
        with m.If(self.reset):
            m.d.sync += [settle.eq(0), self.stepping.eq(0), self.fetch.eq(0), load.eq(0), self.ended.eq(0)]
            m.d.sync += self.step_start.eq(0)
            m.d.sync += [self.done.eq(0), self.error.eq(0), self.cause.eq(ErrorCause.NONE), state.eq(State.RESET)]
        return m

    def _begin(self):
        """Statements that start a program."""
        return [
            self.done.eq(0),
            self.frame_cycles.eq(0),
            self.frame_steps.eq(0),
            self.stepping.eq(0),
            self.memory_base.eq(self.base_address),
            self.fetch.eq(1),
            self.fetch_address.eq(self.base_address + self.program_offset),
            self.fetch_half.eq(0),
        ]

    def _load(self, m, begin):
        """Take the step in the cycle after ``begin``."""
        step, next_step = Signal(STEP, reset_less=True), self.next_step.as_value()
        m.d.comb += self.step.eq(step)
        part = -(-STEP.size // LOADERS)
        for n, load in enumerate(relays(m, begin, LOADERS, "load")):
            with m.If(load):
                m.d.sync += step.as_value()[n * part :][:part].eq(next_step[n * part :][:part])

    def _run(self, m, begin, load):
        """Begin with the step that has been fetched, or note the end of the one that runs. ``load``: the cycle after
        ``begin``, and before ``step_start``.
        """
        # In the cycle of ``fetch`` the fetcher still shows the answer to the fetch before.
        m.d.comb += begin.eq(~self.stepping & self.fetch_ready & ~self.fetch & ~load)
        with m.If(self.step_end):
            m.d.sync += [self.stepping.eq(0), self.frame_steps.eq(self.frame_steps + 1)]
        with m.If(load):
            m.d.sync += [self.step_start.eq(1), self.stepping.eq(1)]
            # With the fetch of the step after it, ``fetch_half`` has turned.
            m.d.sync += self.half.eq(self.fetch_half ^ self.fetch)
        with m.If(begin):
            m.d.sync += load.eq(1)
            with m.If(~self.next_step.last):
                m.d.sync += [
                    self.fetch.eq(1),
                    self.fetch_address.eq(self.fetch_address + DESCRIPTOR_BYTES),
                    self.fetch_half.eq(~self.fetch_half),
                ]

    def _failure(self, m):
        """Whether there was an error in the cycle before, and its cause."""
        failure, failed, cause = Signal(8), Signal(), Signal(8)
        m.d.sync += [failed.eq((failure != 0) & self.running & ~self.step_end), cause.eq(failure)]
        quiet = Signal(32)
        expired = Signal()
        m.d.sync += [quiet.eq(quiet + 1), expired.eq((self.watchdog != 0) & (quiet >= self.watchdog))]
        with m.If(~self.running | self.step_end):
            m.d.sync += [quiet.eq(0), expired.eq(0)]
        fetched = ~self.stepping & ~self.fetch
        with m.If(fetched & self.fetch_error):
            m.d.comb += failure.eq(ErrorCause.PARAMETER_READ)
        with m.Elif(fetched & self.fetch_bad):
            m.d.comb += failure.eq(ErrorCause.BAD_DESCRIPTOR)
        with m.Elif(fetched & self.fetch_damaged):
            m.d.comb += failure.eq(ErrorCause.DAMAGED)
        with m.Elif(self.stepping & self.read_error):
            m.d.comb += failure.eq(ErrorCause.INPUT_READ)
        with m.Elif(self.stepping & self.write_error):
            m.d.comb += failure.eq(ErrorCause.OUTPUT_WRITE)
        with m.Elif(expired):
            m.d.comb += failure.eq(ErrorCause.WATCHDOG)
        return failed, cause
