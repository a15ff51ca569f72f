# SPDX-License-Identifier: Apache-2.0
"""Registers of the Zynq-7000's processing system that a bitstream depends on: the clock to the logic, and the width of
its ports.

Addresses and fields are those of UG585, appendix B (slcr, axi_hp). How the registers are reached is the driver's
business.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from codenet.devices.bitstream import Handoff
from codenet.devices.boards import DEVICE_TREE
from codenet.errors import DeviceError

SLCR = 0xF8000000
"""System level control registers: 4 KiB."""

PORTS = 0xF8008000
"""Registers of the first high performance port (AFI 0); the next ones follow every 4 KiB."""

UNLOCK, LOCK, LOCKED = 0x008, 0x004, 0x00C
UNLOCK_KEY, LOCK_KEY = 0xDF0D, 0x767B
PLLS = {0: 0x108, 2: 0x100, 3: 0x104}
"""Registers of the PLLs by FPGA0_CLK_CTRL.SRCSEL: of IO, ARM and DDR."""

FPGA0_CLOCK = 0x170
READ_CHANNEL, WRITE_CHANNEL = 0x00, 0x14
"""Of a port: bit 0 of each makes it 32 bits wide."""

DEFAULT_OSCILLATOR_HZ = 50e6
"""Of all boards here but the Zybo Z7-20, whose device tree tells its own."""

MAX_DIVISOR = 63

PAGE_BYTES = 4096

ABOVE, BELOW = 1.005, 0.8
"""How much faster than asked for a clock may be set (rounded figures differ by less), and how much slower."""


class ProcessingSystem:
    """The processing system of a board.

    Parameters
    ----------
    map_page:
        From the physical address of a page of 4 KiB to its registers: something like uint32 ``[1024]``.
    oscillator_hz:
        What the PLLs multiply.
    """

    def __init__(self, map_page: Callable[[int], Any], oscillator_hz: float = DEFAULT_OSCILLATOR_HZ) -> None:
        self._map_page = map_page
        self._pages: dict[int, Any] = {}
        self.oscillator_hz = oscillator_hz

    def prepare(self, handoff: Handoff) -> float:
        """Set clock and port widths as a design wants them; returns the clock in Hz.

        Raises
        ------
        DeviceError
            As of :meth:`set_clock`.
        """
        for port in handoff.ports:
            self.widen(port)
        return self.clock_hz if handoff.clock_hz is None else self.set_clock(handoff.clock_hz)

    @property
    def clock_hz(self) -> float:
        """Of FCLK_CLK0, as the registers say."""
        value = self._read(SLCR + FPGA0_CLOCK)
        divisors = max(1, value >> 8 & 63) * max(1, value >> 20 & 63)
        return self._source_hz(value >> 4 & 3) / divisors

    def set_clock(self, hertz: float) -> float:
        """Set FCLK_CLK0 to what comes nearest to ``hertz`` without being faster; returns what that is.

        Raises
        ------
        DeviceError
            The PLLs give nothing near it.
        """
        plls = {source: self._source_hz(source) for source in PLLS}
        # Of equal rates the first PLL's: of IO rather than ARM, which changes with the processor's clock.
        found = (
            (pll / (first * second), -source, first, second)
            for source, pll in plls.items()
            for first in range(1, MAX_DIVISOR + 1)
            for second in range(1, first + 1)
        )
        rate, source, first, second = max(
            (choice for choice in found if choice[0] <= ABOVE * hertz), default=(0.0, 0, 1, 1)
        )
        if rate < BELOW * hertz:
            rates = ", ".join(f"{pll / 1e6:g}" for pll in plls.values())
            raise DeviceError(
                f"clock of {hertz / 1e6:g} MHz: the PLLs (of IO, ARM and DDR) run at {rates} MHz, which gives nothing "
                f"near it"
            )
        kept = self._read(SLCR + FPGA0_CLOCK) & ~(3 << 4 | 63 << 8 | 63 << 20)
        self._write_locked(FPGA0_CLOCK, kept | -source << 4 | first << 8 | second << 20)
        return rate

    def widen(self, port: int) -> bool:
        """Make high performance port ``port`` 64 bits wide; returns whether it was not. Nothing may use it
        meanwhile.
        """
        changed = False
        for channel in (READ_CHANNEL, WRITE_CHANNEL):
            address = PORTS + 0x1000 * port + channel
            value = self._read(address)
            if value & 1:
                self._write(address, value & ~1)
                changed = True
        return changed

    def _read(self, address: int) -> int:
        return int(self._page(address)[(address & PAGE_BYTES - 1) // 4])

    def _write(self, address: int, value: int) -> None:
        self._page(address)[(address & PAGE_BYTES - 1) // 4] = value

    def _page(self, address: int) -> Any:
        base = address & ~(PAGE_BYTES - 1)
        if base not in self._pages:
            self._pages[base] = self._map_page(base)
        return self._pages[base]

    def _source_hz(self, source: int) -> float:
        control = self._read(SLCR + PLLS[source if source in PLLS else 0])
        return self.oscillator_hz * (control >> 12 & 127)

    def _write_locked(self, offset: int, value: int) -> None:
        """Linux leaves these registers unlocked; other systems need not."""
        locked = self._read(SLCR + LOCKED) & 1
        if locked:
            self._write(SLCR + UNLOCK, UNLOCK_KEY)
        self._write(SLCR + offset, value)
        if locked:
            self._write(SLCR + LOCK, LOCK_KEY)


def oscillator_hz(sysfs: Path = Path("/sys")) -> float:
    """Of the board's oscillator, from the device tree; 50 MHz if that does not tell."""
    for path in sorted((sysfs / DEVICE_TREE).glob("*/slcr@f8000000/*/ps-clk-frequency")):
        return float(int.from_bytes(path.read_bytes()[:4], "big"))
    return DEFAULT_OSCILLATOR_HZ
