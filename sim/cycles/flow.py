# SPDX-License-Identifier: Apache-2.0
"""One step in time: rows flow in, pixels are computed, blocks flow out, at rates that are constant between events."""

from __future__ import annotations

from collections import deque
from math import inf

from codenet.registers import ProfileCounter
from sim.cycles.bandwidth import BURST_BEATS, FETCH, LOAD, WRITE, Bandwidth
from sim.cycles.fetch import Fetch
from sim.cycles.latency import LOAD as LOAD_LATENCY
from sim.cycles.latency import ROW_COMPLETE, ROW_RELEASE, ROW_TO_ARRAY, WRITE_RESPONSE
from sim.cycles.work import Work

_EPSILON = 1e-6
_SHORTEST = 1e-9
_MOST_EVENTS = 2_000_000
_ROUNDS, _SETTLED = 8, 1e-3
"""Until the array's time is divided between expansion and the rest."""


def _after(distance: float, rate: float) -> float:
    """Cycles to cover ``distance`` at ``rate``."""
    return distance / rate if rate > 0 else inf


class Flow:
    """A step as a pipeline of five amounts that grow: loaded and taken beats of input, rows of output that window and
    array have processed, written beats.

    Each has a rate. Rates change when a row is complete, a buffer is full or empty, or a transfer ends; between such
    events all amounts grow linearly, so a step costs a few events a row. Loading, fetching and writing share the memory
    and are in real time; window and array have none of their latency here and are that much early, which is made good
    where results become writes.

    Attributes
    ----------
    causes:
        Cycles by :class:`codenet.registers.ProfileCounter`, WAIT_PARAMETERS aside.
    """

    def __init__(self, work: Work, bandwidth: Bandwidth, fetch: Fetch) -> None:
        self.work, self.fetch = work, fetch
        self.shares = bandwidth.shares()
        self.latency = bandwidth.latency
        self.spare = bandwidth.spare_beats
        self.unlimited_beats, self.burst_rate = bandwidth.burst_limit(work.run_beats)
        self.together, self.together_rate = bandwidth.burst_limit(work.store_run_beats)
        self.fetch_limit = bandwidth.burst_limit(BURST_BEATS)[1]
        # An expansion is in real time, and so is what comes after it.
        self.fill = 0 if work.expand_delay else ROW_COMPLETE + ROW_TO_ARRAY
        self.result_delay = self.fill + work.result_delay
        self.arrivals: deque[float] = deque()
        self.ready_rows = 0
        self.time = 0.0
        self.load_begin = bandwidth.latency + LOAD_LATENCY
        self.take_begin = self.load_begin + work.piece_beats if work.expand_delay else 0.0
        self.loaded = self.taken = self.windowed = self.computed = self.written = 0.0
        self.taken_rows = self.window_row = self.window_piece = 0
        self.last_result = inf
        self.array_left = 1.0
        self.take_rate = 0.0
        self.waited = 0.0
        self.causes = dict.fromkeys(ProfileCounter, 0.0)

    def run(self) -> dict[ProfileCounter, float]:
        """Run the step to its end; returns :attr:`causes`."""
        events = 0
        self._set_rates()
        while not self._is_done():
            cycles = self._until_event()
            events += 1
            assert cycles < inf and events < _MOST_EVENTS, f"the model of {self.work.step} does not end: {vars(self)}"
            cycles = max(cycles, _SHORTEST)
            self._count(cycles)
            self._advance(cycles)
            self._set_rates()
        response = self.latency + WRITE_RESPONSE
        self.causes[ProfileCounter.WAIT_WINDOW] += self.fill
        self.causes[ProfileCounter.DRAIN] += response - self.fill
        self.fetch.run_alone(response)
        return self.causes

    def _is_done(self) -> bool:
        work = self.work
        return (
            self.time >= self.last_result - _EPSILON
            and self.taken_rows == work.rows
            and self.written >= work.store_beats - _EPSILON
        )

    def _set_rates(self) -> None:
        self._set_take()
        # What is expanded decides what the array has left, that what is written, and that what can be loaded and
        # expanded.
        for _ in range(_ROUNDS):
            self._find_rates()
            left = max(0.0, 1 - self.take_rate * self.work.expand_share)
            if abs(left - self.array_left) < _SETTLED:
                break
            self.array_left = (self.array_left + left) / 2
        else:
            # Between two regimes: what the array has no time for stays in the queue.
            left = max(0.0, 1 - self.array_rate * self.work.array_cycles)
            self.take_rate = min(self.take_rate, left / self.work.expand_share)

    def _find_rates(self) -> None:
        work = self.work
        self.can_window = self.window_row < work.output_rows and (
            self.ready_rows * work.rows_each >= work.rows_needed(self.window_row)
        )
        self.window_rate = 1 / work.window_cycles[self.window_piece][1] if self.can_window else 0.0
        self.lead = self.windowed - self.computed
        self.starved = self.lead <= _EPSILON
        if self.starved:
            self.computed = self.windowed
        self.array_done = self.computed >= work.output_rows - _EPSILON
        if self.array_done and self.last_result == inf:
            self.last_result = self.time + self.result_delay
        self.array_rate = 0.0 if self.array_done else self.array_left / work.array_cycles
        if self.starved:
            self.array_rate = min(self.array_rate, self.window_rate)
        self.window_full = self.lead >= work.window_lead - _EPSILON

        self.loads = (
            self.time >= self.load_begin - _EPSILON
            and self.loaded < work.load_beats - _EPSILON
            and (self.may_take or not self.queue_full)
        )
        self._set_write_rate()
        if self.window_full:
            self.window_rate = min(self.window_rate, self.array_rate)
        self._set_load_rates()

    def _set_take(self) -> None:
        """Whether rows are taken."""
        work = self.work
        allowed = work.rows_allowed(self.window_row)
        has_room = self.taken_rows < work.rows and (self.taken_rows + 1) * work.rows_each <= allowed
        self.may_take = has_room and self.time >= self.take_begin - _EPSILON
        self.queue_full = self.loaded >= self.taken + work.load_queue - _EPSILON
        self.queue_empty = self.loaded <= self.taken + _EPSILON

    def _set_write_rate(self) -> None:
        """Complete blocks leave as fast as the memory takes them; an array that makes more than that has to wait."""
        work = self.work
        self.produced = self.computed * work.output_beats
        self.demand = self.array_rate * work.output_beats
        self.complete = self._complete_blocks()
        self.others = (self.loads << LOAD) | (self.fetch.transferring << FETCH)
        share = self.shares[self.others | 1 << WRITE][WRITE]
        waiting = self.produced - self.written
        if waiting > self.together:
            share = min(share, self.together_rate)
        self.write_behind = self.written < self.complete - _EPSILON
        self.write_ahead = self.written > self.complete + _EPSILON
        # Blocks go out in bursts, each with the credit that the memory has gathered meanwhile.
        spared = 1 - min(self.spare / work.block_beats, 0.5) if work.block_beats else 1.0
        self.write_rate, self.write_duty = 0.0, 0.0
        if self.write_behind:
            self.write_rate = min(1.0, share / spared) if waiting <= work.block_beats else share
            self.write_duty = 1.0
        elif self.complete and not self.write_ahead:
            self.write_rate = min(self.demand, share)
            self.write_duty = min(1.0, self.demand * spared / share)
        self.store_full = waiting >= work.store_limit - _EPSILON
        self.blocked = self.store_full and self.demand > self.write_rate
        if self.blocked:
            self.array_rate = self.write_rate / work.output_beats
            self.demand = self.write_rate

    def _complete_blocks(self) -> float:
        """Beats of results that may be at the memory: those of whole blocks, after their delay."""
        work = self.work
        if self.array_done:
            return work.store_beats - (work.last_block_beats if self.time < self.last_result - _EPSILON else 0)
        if self.array_rate > 0 or not work.block_beats:
            return max(0.0, self.produced - work.last_block_beats - self.demand * self.result_delay)
        return float(int(self.produced / work.block_beats + _EPSILON) * work.block_beats)

    def _set_load_rates(self) -> None:
        share = self.load_rate = self._share(LOAD, self.others)
        self.load_limited = self.loaded >= self.unlimited_beats - _EPSILON
        if self.load_limited:
            self.load_rate = min(self.load_rate, self.burst_rate)
        self.take_rate = 0.0
        if self.may_take:
            self.take_rate = min(self.work.take_rate, self.load_rate) if self.queue_empty else self.work.take_rate
        if self.queue_full:
            self.load_rate = min(self.load_rate, self.take_rate)
        # What loading leaves of its share, as it waits for room, is there for the fetch.
        duty = self.load_rate / share if share else 0.0
        fetch = duty * self._share(FETCH, self.others) + (1 - duty) * self._share(FETCH, self.others & ~(1 << LOAD))
        self.fetch_rate = min(fetch, self.fetch_limit)

    def _share(self, channel: int, others: int) -> float:
        """Beats a cycle of ``channel`` while those of the mask ``others`` have beats to move, and writing part of the
        time.
        """
        quiet, busy = self.shares[others][channel], self.shares[others | 1 << WRITE][channel]
        return self.write_duty * busy + (1 - self.write_duty) * quiet

    def _until_event(self) -> float:
        """Cycles until some rate may change."""
        work = self.work
        lead_rate = self.window_rate - self.array_rate
        queue_rate = self.load_rate - self.take_rate
        waiting_rate = self.demand - self.write_rate
        times = [
            _after((self.taken_rows + 1) * work.row_beats - self.taken, self.take_rate),
            _after(work.load_beats - self.loaded, self.load_rate),
            _after(self._window_mark() - self.windowed, self.window_rate),
            _after(work.output_rows - self.computed, self.array_rate),
            self.fetch.until_event(self.fetch_rate),
        ]
        if self.arrivals:
            times.append(self.arrivals[0] - self.time)
        if self.time < self.load_begin:
            times.append(self.load_begin - self.time)
        if self.time < self.take_begin:
            times.append(self.take_begin - self.time)
        if not self.queue_empty:
            times.append(_after(self.loaded - self.taken, -queue_rate))
        if not self.queue_full:
            times.append(_after(self.taken + work.load_queue - self.loaded, queue_rate))
        if not self.starved:
            times.append(_after(self.lead, -lead_rate))
        if not self.window_full:
            times.append(_after(work.window_lead - self.lead, lead_rate))
        if not self.load_limited:
            times.append(_after(self.unlimited_beats - self.loaded, self.load_rate))
        if self.array_done:
            times.append(_after(self.complete - self.written, self.write_rate))
            if self.time < self.last_result - _EPSILON:
                times.append(self.last_result - self.time)
            return min(times)
        if not self.complete:
            first = work.last_block_beats + self.demand * self.result_delay
            times.append(_after(first - self.produced, self.demand))
        elif self.write_ahead:
            times.append(_after(self.written - self.complete, self.demand))
        elif self.write_behind:
            times.append(_after(self.complete - self.written, -waiting_rate))
        if not self.store_full:
            times.append(_after(work.store_limit - self.produced + self.written, waiting_rate))
        return min(times)

    def _advance(self, cycles: float) -> None:
        work = self.work
        self.time += cycles
        self.loaded += self.load_rate * cycles
        self.taken += self.take_rate * cycles
        self.windowed += self.window_rate * cycles
        self.computed += self.array_rate * cycles
        self.written += self.write_rate * cycles
        self.fetch.advance(cycles, self.fetch_rate)
        if self.taken_rows < work.rows and self.taken >= (self.taken_rows + 1) * work.row_beats - _EPSILON:
            self.taken_rows += 1
            self.taken = float(self.taken_rows * work.row_beats)
            self.loaded = max(self.loaded, self.taken)
            # A piece is expanded when all of it is there, at the earliest.
            missing = max(0.0, work.piece_beats - (self.loaded - self.taken)) if self.loads else 0.0
            behind = work.expand_share * missing
            self.arrivals.append(self.time + work.expand_delay + behind)
        while self.arrivals and self.arrivals[0] <= self.time + _EPSILON:
            self.arrivals.popleft()
            self.ready_rows += 1
        if self.windowed >= (mark := self._window_mark()) - _EPSILON:
            self.windowed = mark
            self.window_piece += 1
            if mark == self.window_row + 1:
                self._end_window_row()

    def _window_mark(self) -> float:
        """Rows of output that the window has delivered when its rate changes next, or a row is complete."""
        pieces = self.work.window_cycles
        return pieces[self.window_piece][0] if self.window_piece < len(pieces) else inf

    def _end_window_row(self) -> None:
        work = self.work
        was_full = (self.taken_rows + 1) * work.rows_each > work.rows_allowed(self.window_row)
        self.window_row += 1
        if was_full:
            self.take_begin = self.time + ROW_RELEASE

    def _count(self, cycles: float) -> None:
        """Give the cycles to their causes."""
        work, causes = self.work, self.causes
        expanded = self.take_rate * cycles
        active = expanded / work.row_beats * work.expand_active
        causes[ProfileCounter.ACTIVE] += active
        if self.array_done:
            causes[ProfileCounter.DRAIN] += cycles - active
            return
        rows = self.array_rate * cycles
        causes[ProfileCounter.ACTIVE] += rows * work.active_cycles
        # A group of few vectors waits for its results to leave.
        causes[ProfileCounter.WAIT_OUTPUT] += rows * (work.array_cycles - work.active_cycles)
        causes[ProfileCounter.WAIT_OUTPUT] += expanded * work.expand_share - active
        idle = cycles - rows * work.array_cycles - expanded * work.expand_share
        if self.blocked:
            causes[ProfileCounter.WAIT_OUTPUT] += idle
        elif self.can_window:
            causes[ProfileCounter.WAIT_WINDOW] += idle
            self._end_wait()
        else:
            causes[ProfileCounter.WAIT_INPUT] += idle
            self.waited += idle

    def _end_wait(self) -> None:
        """Of a wait for rows, the last cycles are those in which the row was there and on its way; so before every row
        but the first.
        """
        if self.waited and (self.window_row or not self.fill):
            on_its_way = min(ROW_TO_ARRAY, self.waited)
            self.causes[ProfileCounter.WAIT_INPUT] -= on_its_way
            self.causes[ProfileCounter.WAIT_WINDOW] += on_its_way
        self.waited = 0.0
