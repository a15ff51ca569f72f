# SPDX-License-Identifier: Apache-2.0
"""The Ultra96, on which the paper measured: a Zynq UltraScale+ ZU3EG with 2 GiB of LPDDR4."""

from __future__ import annotations

from codenet.config import AcceleratorConfig
from hw.boards.board_top import BoardTop
from hw.boards.description import Board
from hw.boards.processor_system import Pll
from hw.boards.ps8 import PS8
from hw.chips import ZU3EG

REGISTERS_BASE = 0xA000_0000
"""First address of M_AXI_HPM0_FPD."""


class Ultra96(BoardTop):
    """Top of the Ultra96, module ``ultra96``; it has no pins, the board's lights being the processor's."""

    def __init__(self, config: AcceleratorConfig = ZU3EG.config) -> None:
        super().__init__(config, PS8, REGISTERS_BASE, ZU3EG.array_slices, lights=False)


ULTRA96 = Board(
    name="ultra96",
    module="ultra96",
    part="xczu3eg-sbva484-1-e",
    chip="xczu3eg",
    package="sbva484",
    family=None,
    config=ZU3EG.config,
    top=Ultra96,
    base=REGISTERS_BASE,
    system=PS8,
    crystal_mhz=100 / 3,
    plls=(Pll("IOPLL", 1500, 0),),
    memory_bytes=2 << 30,
)
