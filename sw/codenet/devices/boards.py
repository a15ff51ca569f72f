# SPDX-License-Identifier: Apache-2.0
"""The boards by name: how each is recognized, and whose bitstream it takes. Their pins and clocks are in
:mod:`hw.boards`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DEVICE_TREE = Path("firmware/devicetree/base")
"""Of the running kernel, below ``/sys``; ``/proc/device-tree`` is the same."""

ORIGINS = ("chosen/pynq_board", "model", "compatible")
"""Files of a device tree that tell the board: of PYNQ's images, and of all."""


@dataclass(frozen=True)
class Board:
    """A board that there is a design for.

    Attributes
    ----------
    name, title:
        For commands; for people.
    chip:
        Chip and package, as a bitstream's header names them.
    design:
        The board whose bitstream this one takes: its own, or one with the same chip, pins and clock.
    sign:
        Letters and digits, in lower case, that stand in the device tree of such a board, and of no other here.
    """

    name: str
    title: str
    chip: str
    design: str
    sign: str

    @property
    def sharing(self) -> tuple[str, ...]:
        """Names of all boards that take this one's bitstream."""
        return tuple(board.name for board in BOARDS.values() if board.design == self.design)


_XC7Z020, _ZU3EG = "7z020clg400", "zu3eg-sbva484"

BOARDS = {
    board.name: board
    for board in (
        Board("pynq-z2", "PYNQ-Z2", _XC7Z020, "pynq-z2", "pynqz2"),
        Board("pynq-z1", "PYNQ-Z1", _XC7Z020, "pynq-z2", "pynqz1"),
        Board("arty-z7-20", "Arty Z7-20", _XC7Z020, "pynq-z2", "artyz7"),
        Board("zybo-z7-20", "Zybo Z7-20", _XC7Z020, "zybo-z7-20", "zyboz7"),
        Board("ultra96", "Ultra96", _ZU3EG, "ultra96", "ultra96"),
    )
}


def find_board(device_tree: Path) -> Board | None:
    """The board that a device tree (:data:`DEVICE_TREE` below ``/sys``) describes; ``None`` for any other."""
    found = (match_board(read_text(device_tree / origin)) for origin in ORIGINS)
    return next((board for board in found if board is not None), None)


def match_board(text: str) -> Board | None:
    """The board that a text names, however it is written."""
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    return next((board for board in BOARDS.values() if board.sign in letters), None)


def read_text(path: Path) -> str:
    """Of a small file of the system, zeros in it (as in a device tree's) as blanks; empty if it cannot be read."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode("ascii", "replace").strip()
    except OSError:
        return ""
