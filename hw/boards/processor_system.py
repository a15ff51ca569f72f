# SPDX-License-Identifier: Apache-2.0
"""What a board top needs to know of a chip's processor block."""

from __future__ import annotations

from dataclasses import dataclass

from hw.axi import ProcessorPort
from hw.boards.hard_cell import Ports


@dataclass(frozen=True)
class Pll:
    """A source of the fabric's clocks; ``select`` is its number in field SRCSEL."""

    name: str
    mhz: float
    select: int


@dataclass(frozen=True)
class ProcessorSystem:
    """A processor block by the parts that play in a design with it; bits are (port, index).

    Attributes
    ----------
    cell, ports:
        Primitive and its ports in use.
    registers_port, registers_signature:
        Prefix of the AXI port that the processor drives, and its kind.
    memory_ports:
        Prefixes of the AXI ports to memory, one for each master of the accelerator.
    clock, clock_buffer, clock_inputs:
        Bit that gives the fabric's clock, primitive that spreads it, and ports that take it.
    reset_n:
        Bit that holds the fabric in reset while low, without regard to the clock.
    interrupt:
        Bit of the interrupt.
    """

    cell: str
    ports: Ports
    registers_signature: ProcessorPort
    registers_port: str
    memory_ports: tuple[str, str]
    clock: tuple[str, int]
    clock_buffer: str
    clock_inputs: tuple[str, ...]
    reset_n: tuple[str, int]
    interrupt: tuple[str, int]
