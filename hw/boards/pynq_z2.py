# SPDX-License-Identifier: Apache-2.0
"""The PYNQ-Z2: a Zynq xc7z020 with 512 MiB of DDR3."""

from __future__ import annotations

from codenet.config import AcceleratorConfig
from hw.boards.board_top import BoardTop
from hw.boards.ps7 import PS7
from hw.chips import XC7Z020

REGISTERS_BASE = 0x43C0_0000
"""In the window of M_AXI_GP0, 0x4000_0000 to 0x7FFF_FFFF."""


class PynqZ2(BoardTop):
    """Top of the PYNQ-Z2, module ``pynq_z2``: the default accelerator, lights on LD0 to LD3."""

    def __init__(self, config: AcceleratorConfig | None = None) -> None:
        super().__init__(config or XC7Z020.config, PS7, REGISTERS_BASE, XC7Z020.array_slices, lights=True)
