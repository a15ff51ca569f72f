# SPDX-License-Identifier: Apache-2.0
"""A simulated frame as a trace that Perfetto (ui.perfetto.dev) or chrome://tracing opens.

Times are real: a step's counters cover exactly the cycles from the end of the step before to its own end, so their sums
place it. Within a step the counters have no times; the tracks of the causes show how long each was, from the step's
beginning on, and not when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codenet.registers import ProfileCounter
from sim.cycles.model import CAUSES

STEPS_TRACK = 1
"""Thread number of the steps; those of the causes follow."""


@dataclass(frozen=True)
class TracedStep:
    """Counters of a step, and the activations among its read beats (port 0; the others are parameters, port 1)."""

    name: str
    counters: Sequence[int]
    activation_beats: int

    @property
    def cycles(self) -> int:
        """Cycles of all causes."""
        return sum(self.counters[cause] for cause in CAUSES)


def trace(name: str, steps: Sequence[TracedStep], clock_hz: float) -> dict[str, Any]:
    """The frame in the Chrome trace event format; times in microseconds at ``clock_hz``, cycles among the arguments."""
    microseconds = 1e6 / clock_hz
    events: list[dict[str, Any]] = [_metadata("process_name", 0, name), _metadata("thread_name", STEPS_TRACK, "steps")]
    for cause in CAUSES:
        events.append(_metadata("thread_name", STEPS_TRACK + 1 + cause, f"{cause.name.lower()}, cycles of the step"))
    begin = 0
    for number, step in enumerate(steps):
        start = begin * microseconds
        arguments = {counter.name.lower(): step.counters[counter] for counter in ProfileCounter}
        arguments |= {"step": number, "start_cycle": begin, "cycles": step.cycles}
        events.append(_slice(step.name, STEPS_TRACK, start, step.cycles * microseconds, arguments))
        for cause in CAUSES:
            if count := step.counters[cause]:
                cycles = {"cycles": count, "percent": round(100 * count / step.cycles, 1)}
                events.append(_slice(step.name, STEPS_TRACK + 1 + cause, start, count * microseconds, cycles))
        events.append(_counter("beats a cycle", start, _rates(step)))
        begin += step.cycles
    events.append(_counter("beats a cycle", begin * microseconds, dict.fromkeys(_PORTS, 0.0)))
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"cycles": begin, "clock_hz": clock_hz}}


_PORTS = ("port 0 read", "port 1 read", "port 0 write")


def _rates(step: TracedStep) -> dict[str, float]:
    read, written = step.counters[ProfileCounter.READ_BEATS], step.counters[ProfileCounter.WRITE_BEATS]
    beats = (step.activation_beats, read - step.activation_beats, written)
    return {port: round(count / step.cycles, 4) for port, count in zip(_PORTS, beats, strict=True)}


def _metadata(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": thread, "name": kind, "args": {"name": name}}


def _slice(name: str, thread: int, start: float, duration: float, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "pid": 1, "tid": thread, "name": name, "ts": start, "dur": duration, "args": arguments}


def _counter(name: str, start: float, values: dict[str, float]) -> dict[str, Any]:
    return {"ph": "C", "pid": 1, "name": name, "ts": start, "args": values}
