# SPDX-License-Identifier: Apache-2.0
"""The cycle model of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codenet.config import BEAT_BYTES, LANES
from codenet.program import Program
from codenet.registers import ProfileCounter
from sim.cycles.bandwidth import Bandwidth
from sim.cycles.fetch import DESCRIPTOR_BEATS, Fetch
from sim.cycles.flow import Flow
from sim.cycles.latency import STEP_CHANGE
from sim.cycles.work import Work, work_of
from sim.timing import DramTiming

CAUSES = tuple(counter for counter in ProfileCounter if counter < ProfileCounter.READ_BEATS)
"""The counters that sum to the cycles of a step."""


@dataclass(frozen=True)
class StepPrediction:
    """What a step costs.

    Attributes
    ----------
    causes:
        Cycles by counter, :data:`CAUSES`.
    useful_macs:
        Multiply-accumulates that the graph asks for in this step.
    """

    index: int
    name: str
    work: Work
    causes: Mapping[ProfileCounter, int]
    useful_macs: int

    @property
    def cycles(self) -> int:
        """From the end of the step before to the end of this one."""
        return sum(self.causes.values())

    @property
    def read_bytes(self) -> int:
        """The step's own activations, descriptor and parameters (which are read while the step before runs)."""
        return BEAT_BYTES * (self.work.load_beats + DESCRIPTOR_BEATS + self.work.step.parameter_beats)

    @property
    def write_bytes(self) -> int:
        """Results; peak records, whose number depends on the photo, are not among them."""
        return BEAT_BYTES * self.work.store_beats


@dataclass(frozen=True)
class FramePrediction:
    """What a frame costs.

    Attributes
    ----------
    assumed_dilations:
        Some steps are deformable and no dilations were given for them.
    """

    program: Program
    steps: tuple[StepPrediction, ...]
    assumed_dilations: bool

    @property
    def cycles(self) -> int:
        """Cycles of all steps."""
        return sum(step.cycles for step in self.steps)

    @property
    def array_macs(self) -> int:
        """Multiply-accumulates that the array could have done meanwhile."""
        return self.cycles * LANES * self.program.config.outputs

    @property
    def utilization(self) -> float:
        """Useful part of :attr:`array_macs`."""
        return self.program.graph_macs / self.array_macs

    @property
    def read_bytes(self) -> int:
        """Bytes read by all steps."""
        return sum(step.read_bytes for step in self.steps)

    @property
    def write_bytes(self) -> int:
        """Bytes written by all steps, without peak records."""
        return sum(step.write_bytes for step in self.steps)

    @property
    def causes(self) -> dict[ProfileCounter, int]:
        """Cycles by counter; their sum is :attr:`cycles`."""
        return {cause: sum(step.causes[cause] for step in self.steps) for cause in CAUSES}


def predict(
    program: Program, timing: DramTiming | None = None, dilations: Mapping[int, np.ndarray] | None = None
) -> FramePrediction:
    """Cycles of every step of ``program``.

    Parameters
    ----------
    timing:
        Memory; the default one if None.
    dilations:
        By index of a deformable step, what it reads (:func:`sim.cycles.dilation.dilation_maps`), or eight frequencies.
        Where nothing is given, all dilations are taken to be equally frequent.

    Raises
    ------
    ConfigError
        Timing with random pauses, or dilations that are none.
    """
    bandwidth = Bandwidth(timing or DramTiming())
    dilations = dilations or {}
    descriptors = program.descriptors
    waiting = Fetch(descriptors[0].parameter_beats, bandwidth).run_alone()
    steps = []
    for number, descriptor in enumerate(descriptors):
        following = descriptors[number + 1].parameter_beats if number + 1 < len(descriptors) else None
        fetch = Fetch(following, bandwidth)
        work = work_of(descriptor, program.config, dilations.get(number))
        causes = {**Flow(work, bandwidth, fetch).run(), ProfileCounter.WAIT_PARAMETERS: waiting}
        steps.append(
            StepPrediction(number, program.step_names[number], work, _rounded(causes), program.step_macs[number])
        )
        waiting = max(fetch.run_alone(), float(STEP_CHANGE))
    assumed = any(step.dilated and number not in dilations for number, step in enumerate(descriptors))
    return FramePrediction(program, tuple(steps), assumed)


def _rounded(causes: Mapping[ProfileCounter, float]) -> dict[ProfileCounter, int]:
    """Whole cycles whose sum is the rounded sum."""
    rounded, exact, total = {}, 0.0, 0
    for cause in CAUSES:
        exact += causes[cause]
        rounded[cause] = round(exact) - total
        total += rounded[cause]
    return rounded
