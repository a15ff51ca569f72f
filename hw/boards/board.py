# SPDX-License-Identifier: Apache-2.0
"""The boards by name."""

from hw.boards.arty_z7_20 import ARTY_Z7_20
from hw.boards.description import Board
from hw.boards.pynq_z1 import PYNQ_Z1
from hw.boards.pynq_z2 import PYNQ_Z2
from hw.boards.ultra96 import ULTRA96
from hw.boards.zybo_z7_20 import ZYBO_Z7_20

__all__ = ["ARTY_Z7_20", "BOARDS", "PYNQ_Z1", "PYNQ_Z2", "ULTRA96", "ZYBO_Z7_20", "Board"]

BOARDS = {board.name: board for board in (PYNQ_Z2, PYNQ_Z1, ARTY_Z7_20, ZYBO_Z7_20, ULTRA96)}
