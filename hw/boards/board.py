# SPDX-License-Identifier: Apache-2.0
"""The boards by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Resource

from codenet.config import AcceleratorConfig
from hw.boards import pynq_z2, ultra96
from hw.boards.board_top import BoardTop
from hw.boards.constraints import Pin, pins_of
from hw.boards.lights import LIGHTS
from hw.boards.pynq_z2_platform import PynqZ2Platform
from hw.chips import XC7Z020, ZU3EG
from hw.lib.cells import Series7


@dataclass(frozen=True)
class Board:
    """A board that designs are made for.

    Attributes
    ----------
    name, module:
        For people; of the top in Verilog.
    part, chip, package:
        As the vendor's tools call it (``xc7z020clg400-1``), and the first two thirds of that.
    family:
        Folder of the open database for such chips; none if no bitstream is made for the board.
    config, top:
        Default accelerator; makes the top for one.
    base:
        Address of the registers.
    platform:
        Whose cells the design may instantiate; none if it stays portable.
    resources:
        The board's pins; none if it has none for us.
    """

    name: str
    module: str
    part: str
    chip: str
    package: str
    family: str | None
    config: AcceleratorConfig
    top: Callable[[AcceleratorConfig], BoardTop]
    base: int
    platform: Series7 | None = None
    resources: tuple[Resource, ...] = ()

    @property
    def header_part(self) -> str:
        """The part as a bitstream's header names it: ``7z020clg400``."""
        return f"{self.chip.removeprefix('xc')}{self.package}"

    def verilog(self, config: AcceleratorConfig) -> str:
        """The design around an accelerator, as the chip gets it."""
        return self.top(config).verilog(self.module, self.platform)

    @property
    def pins(self) -> list[Pin]:
        """Of the design's ports."""
        return pins_of(list(self.resources), "led", LIGHTS) if self.resources else []


PYNQ_Z2 = Board(
    name="pynq-z2",
    module="pynq_z2",
    part=f"{PynqZ2Platform.device}{PynqZ2Platform.package}-{PynqZ2Platform.speed}",
    chip=PynqZ2Platform.device,
    package=PynqZ2Platform.package,
    family="zynq7",
    config=XC7Z020.config,
    top=pynq_z2.PynqZ2,
    base=pynq_z2.REGISTERS_BASE,
    platform=Series7(),
    resources=tuple(PynqZ2Platform.resources),
)

ULTRA96 = Board(
    name="ultra96",
    module="ultra96",
    part="xczu3eg-sbva484-1-e",
    chip="xczu3eg",
    package="sbva484",
    family=None,
    config=ZU3EG.config,
    top=ultra96.Ultra96,
    base=ultra96.REGISTERS_BASE,
)

BOARDS = {board.name: board for board in (PYNQ_Z2, ULTRA96)}
