# SPDX-License-Identifier: Apache-2.0
"""Fetch of a step's descriptor and parameters, beside the step before."""

from __future__ import annotations

from math import inf

from codenet.config import BEAT_BYTES
from codenet.isa import DESCRIPTOR_BYTES
from sim.cycles.bandwidth import BURST_BEATS, FETCH, Bandwidth
from sim.cycles.latency import FETCH_DESCRIPTOR, FETCH_PARAMETERS, FETCH_SETTLE

DESCRIPTOR_BEATS = DESCRIPTOR_BYTES // BEAT_BYTES
_EPSILON = 1e-6


class Fetch:
    """What is left of a fetch: waits (cycles) and transfers (beats) in turn; nothing without a next step.

    Attributes
    ----------
    transferring:
        Beats are on their way: the memory is shared.
    """

    def __init__(self, parameter_beats: int | None, bandwidth: Bandwidth) -> None:
        self.alone = min(bandwidth.shares()[1 << FETCH][FETCH], bandwidth.burst_limit(BURST_BEATS)[1])
        latency = bandwidth.latency
        self.left: list[float] = []
        if parameter_beats is not None:
            self.left = [
                latency + FETCH_DESCRIPTOR,
                DESCRIPTOR_BEATS,
                latency + FETCH_PARAMETERS,
                parameter_beats,
                FETCH_SETTLE,
            ]
        self.transferring = False

    def until_event(self, share: float) -> float:
        """Cycles to the end of the current part, if transfers move ``share`` beats a cycle."""
        if not self.left:
            return inf
        return self.left[0] / share if self.transferring else self.left[0]

    def advance(self, cycles: float, share: float) -> None:
        """Let ``cycles`` pass, not beyond :meth:`until_event`."""
        if not self.left:
            return
        self.left[0] -= cycles * (share if self.transferring else 1)
        if self.left[0] <= _EPSILON:
            del self.left[0]
            self.transferring = len(self.left) in (2, 4)

    def run_alone(self, limit: float = inf) -> float:
        """Go on with the memory to itself, at most ``limit`` cycles; returns the cycles used."""
        used = 0.0
        while self.left and used < limit - _EPSILON:
            cycles = min(self.until_event(self.alone), limit - used)
            self.advance(cycles, self.alone)
            used += cycles
        return used
