# SPDX-License-Identifier: Apache-2.0
"""The fabric's clock of a Zynq-7000: which divisors give it, of which PLL (UG585, chapter 25, register FPGA0_CLK_CTRL).

The PLLs are those that a board's boot loader sets up (:attr:`hw.boards.board.Board.plls`). PYNQ changes divisors only,
so with it the source stays the IO PLL, and of 1000 MHz no divisor makes 150 MHz: 1000 / 7 = 142.9 MHz comes next. The
DDR PLL's 1050 MHz of most boards do, for a driver that also selects the source (:attr:`FabricClock.register`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codenet.errors import ConfigError
from hw.boards.board import PYNQ_Z2
from hw.boards.processor_system import Pll

PLLS = IO_PLL, ARM_PLL, DDR_PLL = PYNQ_Z2.plls

CONTROL_ADDRESS = 0xF800_0170
"""Of FPGA0_CLK_CTRL."""

LARGEST_DIVISOR = 63
LOWEST_MHZ, HIGHEST_MHZ = 1.0, 250.0
"""Clocks that can be asked for; the block gives 250 MHz at most in the slowest speed grade (DS187)."""


@dataclass(frozen=True)
class FabricClock:
    """``pll.mhz / divisor0 / divisor1``."""

    pll: Pll
    divisor0: int
    divisor1: int

    @property
    def mhz(self) -> float:
        """Frequency in MHz."""
        return self.pll.mhz / (self.divisor0 * self.divisor1)

    @property
    def register(self) -> int:
        """Value of FPGA0_CLK_CTRL."""
        return self.divisor1 << 20 | self.divisor0 << 8 | self.pll.select << 4


def fabric_clock(mhz: float, plls: Sequence[Pll] = (IO_PLL,)) -> FabricClock:
    """The fastest clock that is not above ``mhz``, of the first of ``plls`` that gives it; the second divisor is 1
    where that is possible.

    Raises
    ------
    ConfigError
        ``mhz`` is not between :data:`LOWEST_MHZ` and :data:`HIGHEST_MHZ`.
    """
    if not LOWEST_MHZ <= mhz <= HIGHEST_MHZ:
        raise ConfigError(f"clock = {mhz} MHz: expected {LOWEST_MHZ:g} to {HIGHEST_MHZ:g}")
    best = None
    for pll in plls:
        # Products in ascending order, so the first that is slow enough is the fastest; pairs with the smaller second
        # divisor first.
        products = {
            a * b: (a, b) for b in range(LARGEST_DIVISOR, 0, -1) for a in range(LARGEST_DIVISOR, 0, -1) if a >= b
        }
        divisor = next(product for product in sorted(products) if pll.mhz <= mhz * product * (1 + 1e-9))
        clock = FabricClock(pll, *products[divisor])
        if best is None or clock.mhz > best.mhz * (1 + 1e-9):
            best = clock
    assert best is not None
    return best
