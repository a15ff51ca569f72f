# SPDX-License-Identifier: Apache-2.0
"""What boards with an xc7z020 in the package clg400 have in common: top, address of the registers, PLLs."""

from __future__ import annotations

from codenet.config import AcceleratorConfig
from hw.boards.board_top import BoardTop
from hw.boards.description import Board
from hw.boards.processor_system import Pll
from hw.boards.ps7 import PS7
from hw.chips import XC7Z020
from hw.lib.cells import Series7

REGISTERS_BASE = 0x43C0_0000
"""In the window of M_AXI_GP0, 0x4000_0000 to 0x7FFF_FFFF."""

SERIES7 = Series7()


class Zynq7020(BoardTop):
    """Top with the default accelerator, and lights."""

    def __init__(self, config: AcceleratorConfig | None = None) -> None:
        super().__init__(config or XC7Z020.config, PS7, REGISTERS_BASE, XC7Z020.array_slices, lights=True)


def plls(io_mhz: float, arm_mhz: float, ddr_mhz: float) -> tuple[Pll, ...]:
    """What a boot loader sets the PLLs to; that of IO, which PYNQ leaves the fabric's clock at, comes first."""
    return Pll("IO PLL", io_mhz, 0), Pll("ARM PLL", arm_mhz, 2), Pll("DDR PLL", ddr_mhz, 3)


def zynq_7020(name: str, leds: str, crystal_mhz: float, plls: tuple[Pll, ...], memory_bytes: int) -> Board:
    """A board; ``leds`` are the pins of its first four, all of LVCMOS33."""
    return Board(
        name=name,
        module=name.replace("-", "_"),
        part="xc7z020clg400-1",
        chip="xc7z020",
        package="clg400",
        family="zynq7",
        config=XC7Z020.config,
        top=Zynq7020,
        base=REGISTERS_BASE,
        system=PS7,
        crystal_mhz=crystal_mhz,
        plls=plls,
        memory_bytes=memory_bytes,
        platform=SERIES7,
        leds=tuple(leds.split()),
    )
