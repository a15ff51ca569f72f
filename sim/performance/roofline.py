# SPDX-License-Identifier: Apache-2.0
"""Roofline: the rate of multiply-accumulates that array and memory allow a step, and the rate it gets."""

from __future__ import annotations

from dataclasses import dataclass

from codenet.config import AcceleratorConfig
from sim.cycles.bandwidth import Bandwidth
from sim.cycles.model import StepPrediction
from sim.timing import DramTiming


@dataclass(frozen=True)
class Roof:
    """Limits of an accelerator with its memory, a cycle: multiply-accumulates, and bytes in both directions
    together.
    """

    macs_per_cycle: int
    bytes_per_cycle: float

    @property
    def ridge(self) -> float:
        """Multiply-accumulates a byte from which on the array is the limit."""
        return self.macs_per_cycle / self.bytes_per_cycle

    def ceiling(self, intensity: float) -> float:
        """Most multiply-accumulates a cycle at ``intensity`` multiply-accumulates a byte."""
        return min(float(self.macs_per_cycle), intensity * self.bytes_per_cycle)


@dataclass(frozen=True)
class Point:
    """A step on the roofline. ``intensity``: useful multiply-accumulates a byte moved; ``rate``: useful ones a
    cycle.
    """

    step: StepPrediction
    intensity: float
    rate: float
    roof: Roof

    @property
    def bound(self) -> str:
        """Which roof the step is under: ``"compute"`` or ``"memory"``."""
        return "compute" if self.intensity >= self.roof.ridge else "memory"

    @property
    def attained(self) -> float:
        """Part of the ceiling that the step reaches."""
        ceiling = self.roof.ceiling(self.intensity)
        return self.rate / ceiling if ceiling else 0.0


def roof(config: AcceleratorConfig, timing: DramTiming) -> Roof:
    """Limits of ``config`` with memory of ``timing``."""
    return Roof(config.macs_per_cycle, Bandwidth(timing).bytes_per_cycle)


def points(steps: tuple[StepPrediction, ...], limits: Roof) -> list[Point]:
    """Every step under ``limits``."""
    return [
        Point(step, step.useful_macs / (step.read_bytes + step.write_bytes), step.useful_macs / step.cycles, limits)
        for step in steps
    ]
