# SPDX-License-Identifier: Apache-2.0
"""Delay lines of fixed-latency pipelines."""

from amaranth import Module, Signal, Value
from amaranth.hdl import ValueCastable


def delay(m: Module, value: Value | ValueCastable, cycles: int, name: str, reset: bool = False):
    """``value`` as it was ``cycles`` cycles ago (itself for 0), same shape.

    Data delays have no reset, so that they become shift-register LUTs; ``reset=True`` for tags that start something.
    """
    if isinstance(value, ValueCastable):
        shape = value.shape()
    else:
        shape = Value.cast(value).shape()
    for n in range(cycles):
        stage = Signal(shape, name=f"{name}_{n + 1}", reset_less=not reset)
        m.d.sync += stage.eq(value)
        value = stage
    return value
