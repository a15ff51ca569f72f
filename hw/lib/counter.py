# SPDX-License-Identifier: Apache-2.0
"""Counters whose end is known a cycle ahead."""

from amaranth import Module, Signal, Value

from hw.lib.pipeline import delay


def count_to(m: Module, name: str, last: Value, advance: Value, restart: Value) -> Signal:
    """Count ``advance`` from 0 to ``last`` and again, from 0 after ``restart`` too.

    Returns "at the last one" in a register, as much depends on it in the same cycle. ``last`` must be stable from the
    cycle before ``restart`` on.
    """
    left, at_last = Signal.like(last, name=f"{name}_left"), Signal(name=f"last_of_{name}")
    single = delay(m, last == 0, 1, f"single_of_{name}")
    with m.If(restart | (advance & at_last)):
        m.d.sync += [left.eq(last), at_last.eq(single)]
    with m.Elif(advance):
        m.d.sync += [left.eq(left - 1), at_last.eq(left == 1)]
    return at_last
