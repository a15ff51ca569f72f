"""The Ultra96, on which the paper measured: a Zynq UltraScale+ ZU3EG with 2 GiB of LPDDR4."""

from __future__ import annotations

from codenet.config import AcceleratorConfig
from hw.boards.board_top import BoardTop
from hw.boards.ps8 import PS8

CONFIG = AcceleratorConfig(outputs=48, window_depth=2048, weight_depth=1024)
"""The fastest shape for configurations a, c and d that keeps to the same share of the chip as ours of the xc7z020 (docs/bitstream.md)."""

ARRAY_SLICES = 288
"""36 cascades of 8: 36 of the 48 outputs; the requantizers take 24 of the 360 slices."""

REGISTERS_BASE = 0xA000_0000
"""First address of M_AXI_HPM0_FPD."""


class Ultra96(BoardTop):
    """Top of the Ultra96, module ``ultra96``; it has no pins, the board's lights being the processor's."""

    def __init__(self, config: AcceleratorConfig = CONFIG) -> None:
        super().__init__(config, PS8, REGISTERS_BASE, ARRAY_SLICES, lights=False)
