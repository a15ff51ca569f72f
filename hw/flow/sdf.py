# SPDX-License-Identifier: Apache-2.0
"""Paths by the delays of a routed design: nextpnr's log has each clock's slowest only, its SDF file has all delays.

The slowest way to every register, cell by cell and net by net; clocks are ideal, as in nextpnr's own analysis.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

Pin = tuple[str, str]
"""Cell and pin."""

NEVER = float("-inf")
"""Arrival of what no clock changes: constants, inputs of the chip."""

_DELAY = r" \((?:[^:()]*:){2}([^:()]+)\)"  # (min:typ:max)
_LINE = re.compile(
    rf"\(INTERCONNECT (\S+) (\S+){_DELAY}"
    rf"|\(INSTANCE (\S+)\)"
    rf"|\(IOPATH (\S+) (\S+){_DELAY}"
    rf"|\(SETUPHOLD \(posedge (\S+)\) \(\w+ (\S+)\){_DELAY}"
)


@dataclass
class Delays:
    """What an SDF file says; picoseconds.

    Attributes
    ----------
    before:
        For each pin what leads to it: pin, delay, and whether that is a net.
    setups:
        Set-up time of each pin that a clock samples.
    clocks:
        Clock pins of these.
    """

    before: dict[Pin, list[tuple[Pin, float, bool]]] = field(default_factory=lambda: defaultdict(list))
    setups: dict[Pin, float] = field(default_factory=dict)
    clocks: set[Pin] = field(default_factory=set)

    @classmethod
    def read(cls, lines: Iterable[str]) -> Delays:
        """Of the lines of a file as nextpnr writes it."""
        delays, cell = cls(), ""
        for line in lines:
            found = _LINE.search(line.replace("\\", ""))
            if found is None:
                continue
            source, sink, wire, instance, start, end, through, data, clock, setup = found.groups()
            if source:
                delays.before[_pin(sink)].append((_pin(source), float(wire), True))
            elif instance:
                cell = instance
            elif start:
                delays.before[cell, end].append(((cell, start), float(through), False))
            else:
                delays.setups[cell, data] = max(float(setup), delays.setups.get((cell, data), 0.0))
                delays.clocks.add((cell, clock))
        return delays

    def slowest(self) -> list[Path]:
        """The slowest path to each pin that a clock samples, the slowest first."""
        arrivals: dict[Pin, tuple[float, Pin | None, bool]] = dict.fromkeys(self.clocks, (0.0, None, False))
        paths = []
        for end, setup in self.setups.items():
            self._arrive(end, arrivals)
            if arrivals[end][0] > NEVER:
                paths.append(Path.along(end, setup, arrivals))
        return sorted(paths, key=lambda path: -path.delay)

    def _arrive(self, end: Pin, arrivals: dict[Pin, tuple[float, Pin | None, bool]]) -> None:
        """When ``end`` has its value, and all that leads to it; and which of these is the last."""
        waiting = [end]
        entered = set()
        while waiting:
            pin = waiting[-1]
            if pin in arrivals:
                waiting.pop()
                continue
            before = self.before.get(pin, ())
            entered.add(pin)
            # What is entered and not known is on the way here: a loop of logic, which is cut.
            if unknown := [p for p, _, _ in before if p not in arrivals and p not in entered]:
                waiting += unknown
                continue
            waiting.pop()
            known = [(arrivals[p][0] + d, p, net) for p, d, net in before if p in arrivals]
            arrivals[pin] = max(known, default=(NEVER, None, False))


@dataclass(frozen=True)
class Path:
    """From ``start``, the output of a register or block, to ``end``; picoseconds, set-up time in ``logic``."""

    start: Pin
    end: Pin
    logic: float
    wire: float

    @property
    def delay(self) -> float:
        """All of it."""
        return self.logic + self.wire

    @classmethod
    def along(cls, end: Pin, setup: float, arrivals: dict[Pin, tuple[float, Pin | None, bool]]) -> Path:
        """Back from ``end``."""
        times = {True: 0.0, False: setup}
        pins = [end]
        while (last := arrivals[pins[-1]])[1] is not None:
            times[last[2]] += last[0] - arrivals[last[1]][0]
            pins.append(last[1])
        # The last one is a clock pin; in front of it is the output that the path leaves by.
        return cls(pins[max(0, len(pins) - 2)], end, times[False], times[True])


def _pin(name: str) -> Pin:
    cell, _, pin = name.rpartition("/")
    return cell, pin
