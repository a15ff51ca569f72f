# SPDX-License-Identifier: Apache-2.0
"""How the three AXI channels share the memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from codenet.config import BEAT_BYTES
from codenet.errors import ConfigError
from sim.cycles.latency import BURST_ROUND_TRIP, BURSTS_IN_FLIGHT
from sim.timing import DramTiming

BURST_BEATS = 16
CHANNELS = 3
LOAD, FETCH, WRITE = range(CHANNELS)
"""Port 0 read, port 1 read, port 0 write: the order of the simulated memory."""

_ARBITER_CYCLES = 2400
"""A multiple of the arbiter's period: three turns, and the credit of up to a few beats."""


@dataclass(frozen=True)
class Bandwidth:
    """Beats a cycle that each channel gets, on average, from the memory of ``timing``.

    The simulated memory (``board.cpp``) adds ``bytes_per_cycle`` of credit a cycle, keeps at most two beats more
    than that, and serves the channels in turns that rotate, one beat each. A channel that is alone therefore gets one
    beat a cycle; with the default 10 bytes loading and writing get 0.5 and 0.75. Refresh takes its part of all.

    Raises
    ------
    ConfigError
        The timing has random pauses, which an average knows nothing of.
    """

    timing: DramTiming

    def __post_init__(self) -> None:
        if self.timing.stall:
            raise ConfigError(f"stall = {self.timing.stall}: expected 0, the cycle model has no random pauses")

    @property
    def latency(self) -> float:
        """Mean cycles to the first beat of a burst."""
        return self.timing.latency + self.timing.jitter / 2

    @property
    def available(self) -> float:
        """Part of the time in which the memory does not refresh."""
        return 1 - self.timing.refresh_cycles / self.timing.refresh_interval if self.timing.refresh_interval else 1.0

    @property
    def bytes_per_cycle(self) -> float:
        """All channels together."""
        return self.available * min(self.timing.bytes_per_cycle, CHANNELS * BEAT_BYTES)

    @property
    def spare_beats(self) -> float:
        """Beats that a channel gets for nothing after a pause: the credit that has gathered."""
        return 2.0 if self.timing.bytes_per_cycle > BEAT_BYTES else 0.0

    def shares(self) -> tuple[tuple[float, ...], ...]:
        """``shares[mask][channel]``: beats a cycle of each channel while those of ``mask`` (bit ``channel``) all have
        beats to move.
        """
        return tuple(
            tuple(self.available * part for part in _saturated(self.timing.bytes_per_cycle, mask))
            for mask in range(1 << CHANNELS)
        )

    def burst_limit(self, run_beats: int) -> tuple[float, float]:
        """Limit for runs of ``run_beats``, as only some bursts are in flight at once: beats that are free of it, and
        the rate afterwards.
        """
        burst = run_beats / -(-run_beats // BURST_BEATS)
        at_once = burst * min(BURSTS_IN_FLIGHT, self.timing.outstanding)
        return at_once, min(1.0, at_once / (self.latency + BURST_ROUND_TRIP + burst))


@lru_cache
def _saturated(bytes_per_cycle: int, mask: int) -> tuple[float, ...]:
    """The arbiter, with the channels of ``mask`` always ready."""
    moved, credit, first = [0] * CHANNELS, 0, 0
    for _ in range(_ARBITER_CYCLES):
        credit = min(credit + bytes_per_cycle, 2 * BEAT_BYTES + bytes_per_cycle)
        for n in range(CHANNELS):
            channel = (first + n) % CHANNELS
            if credit >= BEAT_BYTES and mask >> channel & 1:
                credit -= BEAT_BYTES
                moved[channel] += 1
        first = (first + 1) % CHANNELS
    return tuple(count / _ARBITER_CYCLES for count in moved)
