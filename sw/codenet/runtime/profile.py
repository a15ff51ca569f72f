# SPDX-License-Identifier: Apache-2.0
"""Where the cycles of each step went, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codenet.registers import ProfileCounter

BAR = 24
"""Characters of the longest bar."""


@dataclass(frozen=True)
class StepProfile:
    """Counters of one step (:class:`codenet.registers.ProfileCounter`)."""

    index: int
    name: str
    counters: tuple[int, ...]

    def __getitem__(self, counter: ProfileCounter) -> int:
        return self.counters[counter]

    @property
    def cycles(self) -> int:
        """From the end of the step before to the end of this one."""
        return sum(self.counters[: ProfileCounter.READ_BEATS])


def profile_table(profile: Sequence[StepProfile]) -> str:
    """Counters of each step, a line each."""
    names = [counter.name.lower() for counter in ProfileCounter]
    lines = [f"{'step':34}{'cycles':>10}" + "".join(f"{name:>17}" for name in names)]
    for step in profile:
        counts = "".join(f"{step[counter]:17}" for counter in ProfileCounter)
        lines.append(f"{step.index:3} {step.name[:29]:30}{step.cycles:10}{counts}")
    return "\n".join(lines)


def slowest_table(profile: Sequence[StepProfile], count: int = 15) -> str:
    """The ``count`` steps that take longest: cycles, share of the frame, and of each the part in which the array
    worked, as a bar.
    """
    total = sum(step.cycles for step in profile)
    if not total:
        return "no counters: this device has no clock"
    slowest = sorted(profile, key=lambda step: step.cycles, reverse=True)[:count]
    lines = [f"{'step':40}{'cycles':>10}{'share':>8}  # works, . waits"]
    for step in slowest:
        length = round(BAR * step.cycles / slowest[0].cycles)
        works = round(length * step[ProfileCounter.ACTIVE] / step.cycles)
        bar = "#" * works + "." * (length - works)
        lines.append(f"{step.index:3} {step.name[:35]:36}{step.cycles:10}{100 * step.cycles / total:7.1f}%  {bar}")
    return "\n".join([*lines, f"{total} cycles in {len(profile)} steps"])
