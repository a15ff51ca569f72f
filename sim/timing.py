# SPDX-License-Identifier: Apache-2.0
"""Timing of every simulation: the clock, and the memory behind the AXI ports."""

from __future__ import annotations

from dataclasses import dataclass, fields

from codenet.errors import ConfigError

CLOCK_HZ = 150e6
"""Clock that simulated cycles stand for when times are given in seconds."""


@dataclass(frozen=True)
class DramTiming:
    """Memory as the ports see it, in cycles of the accelerator's clock. Defaults: DDR3 of a Zynq-7000 board at 150 MHz.

    Parameters
    ----------
    latency:
        Cycles from an accepted address to the first beat of read data, or from the last beat of write data to the
        response.
    outstanding:
        Bursts of each direction that a port accepts before it finishes the oldest.
    bytes_per_cycle:
        Bandwidth that all ports and both directions share (1.5 GB/s sustained of the 2.1 GB/s peak).
    refresh_interval:
        Cycles from one refresh pause to the next; 0: no refresh.
    refresh_cycles:
        Cycles of a refresh pause, in which no beat moves.
    jitter:
        Largest random addition to ``latency``, per burst.
    stall:
        Probability that a port's channel pauses for a cycle, 0 to below 1.
    seed:
        Seed of ``jitter`` and ``stall``.

    Raises
    ------
    ConfigError
        A value out of range.
    """

    latency: int = 60
    outstanding: int = 8
    bytes_per_cycle: int = 10
    refresh_interval: int = 1170
    refresh_cycles: int = 40
    jitter: int = 0
    stall: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, low = getattr(self, field.name), 1 if field.name in ("outstanding", "bytes_per_cycle") else 0
            if value < low:
                raise ConfigError(f"{field.name} = {value}: expected at least {low}")
        if self.stall >= 1:
            raise ConfigError(f"stall = {self.stall}: expected a probability below 1")
        if self.refresh_interval and self.refresh_cycles >= self.refresh_interval:
            raise ConfigError(
                f"refresh_cycles = {self.refresh_cycles}: expected less than refresh_interval = {self.refresh_interval}"
            )
