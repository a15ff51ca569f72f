# SPDX-License-Identifier: Apache-2.0
"""What is to be said of a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codenet.config import AcceleratorConfig
from codenet.devices import boards
from hw.boards.board_top import BoardTop
from hw.boards.constraints import Pin
from hw.boards.lights import LIGHTS
from hw.boards.processor_system import Pll, ProcessorSystem
from hw.lib.cells import Series7


@dataclass(frozen=True)
class Board:
    """A board that designs are made for.

    Attributes
    ----------
    name, module:
        For people, one of :mod:`codenet.devices.boards`; of the top in Verilog.
    part, chip, package:
        As the vendor's tools call it (``xc7z020clg400-1``), and the first two thirds of that.
    family:
        Folder of the open database for such chips; none if no bitstream is made for the board.
    config, top:
        Default accelerator; makes the top for one.
    base:
        Address of the registers.
    system:
        Processor block.
    crystal_mhz, plls:
        Of the processor, as its boot loader sets them up; the first PLL is the one that PYNQ takes for the fabric.
    memory_bytes:
        Size of its memory.
    platform:
        Whose cells the design may instantiate; none if it stays portable.
    leds:
        Pins of the lights, all of them LVCMOS33; none if there are none for us.
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
    system: ProcessorSystem
    crystal_mhz: float
    plls: tuple[Pll, ...]
    memory_bytes: int
    platform: Series7 | None = None
    leds: tuple[str, ...] = ()

    @property
    def design(self) -> str:
        """Name of the board whose bitstream this one takes."""
        return boards.BOARDS[self.name].design

    @property
    def sharing(self) -> tuple[str, ...]:
        """Names of the boards that take this one's bitstream."""
        return boards.BOARDS[self.name].sharing

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
        return [Pin(f"led[{n}]", pin, "LVCMOS33") for n, pin in enumerate(self.leds[:LIGHTS])]
