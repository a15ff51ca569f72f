# SPDX-License-Identifier: Apache-2.0
"""Constraints of a board's design, for Vivado and for nextpnr, which reads a small part of the same language."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw.boards.board_top import CLOCK_NET
from hw.boards.processor_system import ProcessorSystem

CLOCK_NAME = "fabric"
"""Name of the clock in reports."""


@dataclass(frozen=True)
class Pin:
    """A port's bit (``led[0]``) and where it goes."""

    port: str
    location: str
    standard: str


def period_ns(mhz: float) -> float:
    """Period in ns, to whole ps, rather too short than too long."""
    return math.floor(1e6 / mhz) / 1e3


def _pin_lines(pins: list[Pin]) -> list[str]:
    return [
        f"set_property -dict {{PACKAGE_PIN {pin.location} IOSTANDARD {pin.standard}}} [get_ports {{{pin.port}}}]"
        for pin in pins
    ]


def clock_for_vivado(system: ProcessorSystem, mhz: float) -> str:
    """XDC for before the synthesis: the clock, where it leaves the processor's block."""
    port, bit = system.clock
    pin = f"{system.cell.lower()}/{port}[{bit}]"
    return f"create_clock -name {CLOCK_NAME} -period {period_ns(mhz):.3f} [get_pins {{{pin}}}]\n"


def netlist_for_vivado(pins: list[Pin]) -> str:
    """XDC for after the synthesis, when registers are cells: no timing into the reset synchronizer and out to the
    lights; pins.
    """
    synchronizer = "[get_cells -hierarchical -filter {ASYNC_REG == TRUE}]"
    ends = "REF_PIN_NAME == PRE || REF_PIN_NAME == CLR"
    lines = [f"set_false_path -to [get_pins -of_objects {synchronizer} -filter {{{ends}}}]", *_pin_lines(pins)]
    ports = sorted({pin.port.split("[")[0] for pin in pins})
    lines += [f"set_false_path -to [get_ports {{{port}[*]}}]" for port in ports]
    return "\n".join(lines) + "\n"


def for_nextpnr(pins: list[Pin], mhz: float) -> str:
    """XDC without what nextpnr ignores: the clock by its net, and the pins. Paths from other clocks count as none there
    anyway.
    """
    lines = [f"create_clock -period {period_ns(mhz):.3f} [get_nets {CLOCK_NET}]", *_pin_lines(pins)]
    return "\n".join(lines) + "\n"
