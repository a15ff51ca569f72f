# SPDX-License-Identifier: Apache-2.0
"""Registers to cross the chip with, and copies of a register for the places that it drives."""

from amaranth import Module, Signal, Value
from amaranth.hdl import ValueCastable

KEEP = {"keep": "true"}
"""Tools neither merge such a register with another of the same value nor make it part of a shift register.

Vivado reads the attribute of the signal; Yosys that of the cell, to which :mod:`hw.synthesis.yosys` carries it over.
"""


def relay(m: Module, value: Value | ValueCastable, name: str, *, reset: bool = False) -> Signal:
    """``value`` as it was a cycle ago, in a register of its own.

    ``reset=True`` for what starts something; data need none.
    """
    shape = value.shape() if isinstance(value, ValueCastable) else Value.cast(value).shape()
    register = Signal(shape, name=name, reset_less=not reset, attrs=KEEP)
    m.d.sync += register.eq(value)
    return register


def relays(m: Module, value: Value | ValueCastable, count: int, name: str, *, reset: bool = False) -> list[Signal]:
    """``count`` of them, side by side, so that each drives a part of what depends on ``value``."""
    return [relay(m, value, f"{name}_{n}", reset=reset) for n in range(count)]
