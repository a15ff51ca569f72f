# SPDX-License-Identifier: Apache-2.0
"""The part of a Zynq-7000's processing system that drivers program: clocks and port widths, as registers that behave
(UG585, appendix B).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.platforms.live_board import LiveBoard

SLCR, PORTS = 0xF8000000, 0xF8008000
PORT_COUNT = 4

STANDING = 100
"""Looks at a clock that has not moved, 2 ms apart, before it is believed to stand: the machine may be busy."""

_LOCK, _UNLOCK, _LOCK_STATE = 0x004, 0x008, 0x00C
_ARM_PLL, _DDR_PLL, _IO_PLL = 0x100, 0x104, 0x108
_FPGA0_CLOCK = 0x170


class ProcessingSystem:
    """Registers by physical address, as they are when a PYNQ-Z2 has started: clock to the logic 100 MHz.

    Parameters
    ----------
    narrow_ports:
        High performance ports that start 32 bits wide.
    locked:
        Whether the SLCR starts locked; Linux unlocks it.
    """

    OSCILLATOR_HZ = 50e6

    def __init__(self, narrow_ports: tuple[int, ...] = (), *, locked: bool = False) -> None:
        self.locked = locked
        self._words = {
            SLCR + _ARM_PLL: 26 << 12,
            SLCR + _DDR_PLL: 21 << 12,
            SLCR + _IO_PLL: 20 << 12,
            SLCR + _FPGA0_CLOCK: 1 << 20 | 10 << 8,
        }
        for port in narrow_ports:
            for channel in (0x00, 0x14):
                self._words[PORTS + 0x1000 * port + channel] = 0x0000_0001 | 7 << 4

    def read(self, address: int) -> int:
        """A word at a physical address."""
        if address == SLCR + _LOCK_STATE:
            return int(self.locked)
        return self._words.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Write a word at a physical address."""
        if SLCR <= address < SLCR + 0x1000:
            if address == SLCR + _LOCK:
                self.locked |= value == 0x767B
                return
            if address == SLCR + _UNLOCK:
                self.locked &= value != 0xDF0D
                return
            if self.locked:
                return
        self._words[address] = value

    def has(self, address: int) -> bool:
        """Whether there is a register block at ``address``."""
        return SLCR <= address < SLCR + 0x1000 or PORTS <= address < PORTS + 0x1000 * PORT_COUNT

    @property
    def clock_hz(self) -> float:
        """Of the logic."""
        value = self.read(SLCR + _FPGA0_CLOCK)
        pll = (_IO_PLL, _IO_PLL, _ARM_PLL, _DDR_PLL)[(value >> 4) & 3]
        multiplier = (self.read(SLCR + pll) >> 12) & 0x7F
        return self.OSCILLATOR_HZ * multiplier / (((value >> 8) & 0x3F) * ((value >> 20) & 0x3F))

    def is_wide(self, port: int) -> bool:
        """Whether both channels of a high performance port have 64 bits."""
        return not any(self.read(PORTS + 0x1000 * port + channel) & 1 for channel in (0x00, 0x14))


class Words:
    """Registers from ``base`` on, addressed as the array of 32-bit words that a driver maps."""

    def __init__(self, registers: ProcessingSystem | LiveBoard, base: int) -> None:
        self._registers, self._base = registers, base

    def __getitem__(self, index: int) -> int:
        return self._registers.read(self._base + 4 * index)

    def __setitem__(self, index: int, value: int) -> None:
        self._registers.write(self._base + 4 * index, int(value))


class SimulatedTime:
    """Stands in for the module ``time`` in what compares cycles with the wall: time passes with the cycles of the
    simulated clock.

    Parameters
    ----------
    slower:
        How many times slower than the registers say the clock runs.
    """

    monotonic = staticmethod(time.monotonic)

    def __init__(self, live: LiveBoard, system: ProcessingSystem, slower: float = 1.0) -> None:
        self._live, self._system, self._slower = live, system, slower

    def perf_counter(self) -> float:
        """When a register was accessed last: nothing else takes time."""
        return self._seconds(self._live.accessed)

    def sleep(self, seconds: float) -> None:
        """While the accelerator runs; when it stands, so does the simulated clock, and there is nothing to wait for."""
        end = self._seconds(self._live.board.cycles) + seconds
        standing = 0
        while standing < STANDING and self._seconds(before := self._live.board.cycles) < end:
            time.sleep(0.002)
            standing = standing + 1 if self._live.board.cycles == before else 0

    def _seconds(self, cycles: int) -> float:
        return cycles * self._slower / self._system.clock_hz
