# SPDX-License-Identifier: Apache-2.0
"""Charts of measured or predicted frames: cycles and utilization of each step, roofline, Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codenet.registers import ProfileCounter
from codenet.svg import COLOURS, Axis, Chart
from sim.performance.roofline import Roof
from sim.performance.search import Candidate, pareto

CAUSE_COLOURS = {
    ProfileCounter.ACTIVE: "#3b6fb6",
    ProfileCounter.WAIT_PARAMETERS: "#8d6a9f",
    ProfileCounter.WAIT_INPUT: "#d1495b",
    ProfileCounter.WAIT_WINDOW: "#edae49",
    ProfileCounter.WAIT_OUTPUT: "#66a182",
    ProfileCounter.DRAIN: "#9a9a9a",
}


@dataclass(frozen=True)
class StepBar:
    """A step as charts need it, measured or predicted."""

    name: str
    causes: Mapping[ProfileCounter, int]
    useful_macs: int
    moved_bytes: int

    @property
    def cycles(self) -> int:
        """Cycles of all causes."""
        return sum(self.causes.values())


def utilization(title: str, steps: Sequence[StepBar], macs_per_cycle: int) -> str:
    """Useful multiply-accumulates of each step as part of those possible; a bar is as wide as its step is long."""
    kilo = 1e3
    chart = Chart(title, Axis("kcycles", 0, sum(step.cycles for step in steps) / kilo), Axis("utilization, %", 0, 100))
    begin = 0.0
    for number, step in enumerate(steps):
        part = 100 * step.useful_macs / (step.cycles * macs_per_cycle)
        tip = f"{number} {step.name}: {step.cycles} cycles, {part:.0f} %"
        chart.bar(begin, step.cycles / kilo, 0, part, COLOURS[number % 2 * 3], tip)
        begin += step.cycles / kilo
    return chart.text()


def causes(title: str, steps: Sequence[StepBar]) -> str:
    """Where the cycles of each step go."""
    most = max(step.cycles for step in steps) / 1e3
    chart = Chart(title, Axis("step", 0, len(steps)), Axis("kcycles", 0, most))
    chart.legend = [(cause.name.lower(), colour) for cause, colour in CAUSE_COLOURS.items()]
    for number, step in enumerate(steps):
        low = 0.0
        for cause, colour in CAUSE_COLOURS.items():
            high = low + step.causes[cause] / 1e3
            chart.bar(
                number + 0.1, 0.8, low, high, colour, f"{number} {step.name}: {cause.name.lower()} {step.causes[cause]}"
            )
            low = high
    return chart.text()


def roofline(title: str, steps: Sequence[StepBar], limits: Roof) -> str:
    """Each step by its multiply-accumulates a byte and a cycle, under what array and memory allow."""
    shown = [step for step in steps if step.useful_macs]
    points = [(step.useful_macs / step.moved_bytes, step.useful_macs / step.cycles) for step in shown]
    low_x, high_x = min(x for x, _ in points) / 2, max(max(x for x, _ in points), limits.ridge) * 3
    low_y, high_y = min(y for _, y in points) / 2, limits.macs_per_cycle * 2
    chart = Chart(
        title,
        Axis("useful multiply-accumulates a byte of memory traffic", low_x, high_x, log=True),
        Axis("useful multiply-accumulates a cycle", min(low_y, limits.ceiling(low_x) / 2), high_y, log=True),
    )
    roof = [
        (low_x, limits.ceiling(low_x)),
        (limits.ridge, float(limits.macs_per_cycle)),
        (high_x, float(limits.macs_per_cycle)),
    ]
    chart.line(roof, "#333")
    longest = max(step.cycles for step in shown)
    for step, (x, y) in zip(shown, points, strict=True):
        radius = 2 + 8 * (step.cycles / longest) ** 0.5
        chart.point(
            x, y, COLOURS[0 if x >= limits.ridge else 1], f"{step.name}: {step.cycles} cycles", round(radius, 1)
        )
    chart.legend = [("memory bound", COLOURS[1]), ("compute bound", COLOURS[0])]
    return chart.text()


def pareto_front(title: str, candidates: Sequence[Candidate], resource: str, chosen: Candidate | None) -> str:
    """Frame rate against one resource; the line joins the shapes that no other beats in both."""
    amounts = [getattr(candidate.resources, resource) for candidate in candidates]
    chart = Chart(
        title,
        Axis(resource, 0, 1.05 * max(amounts)),
        Axis("frames a second (geometric mean)", 0, 1.1 * max(candidate.score for candidate in candidates)),
    )
    front = pareto(candidates, resource)
    chart.line([(getattr(candidate.resources, resource), candidate.score) for candidate in front], "#333")
    for candidate in candidates:
        colour = COLOURS[3] if candidate.fits else COLOURS[1]
        amount = getattr(candidate.resources, resource)
        chart.point(amount, candidate.score, colour, f"{candidate.name}: {candidate.score:.1f}")
        if candidate == chosen:
            chart.point(amount, candidate.score, "#000", candidate.name, 8, hollow=True)
            chart.label(amount, candidate.score, candidate.name)
    chart.legend = [("fits", COLOURS[3]), ("does not fit", COLOURS[1])]
    return chart.text()
