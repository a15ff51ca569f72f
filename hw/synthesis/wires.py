# SPDX-License-Identifier: Apache-2.0
"""What a netlist asks of the wires: fan-out of its nets, control sets of its flip-flops, cascades outside of their own
wires.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

FAN_OUT = 256
"""Most inputs that a net may drive, the clock and :data:`EXCEPTIONS` aside."""

EXCEPTIONS: dict[str, str] = {
    r"(^|\.)clear_(window|depthwise|pointwise)": "reset of one component, behind a register; nobody waits for it",
    r"(^|\.)reset_(registers|sequencer|fetcher|loader|storer)": "likewise",
}
"""Patterns of names of nets that may drive more, and why."""


def fan_outs(netlist: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Inputs that each net drives, clocks aside, and its shortest name; the largest first.

    Parameters
    ----------
    netlist:
        Module of :func:`hw.synthesis.yosys.read_netlist`, flat.
    """
    loads: Counter[int] = Counter()
    clocks = set()
    for cell in netlist["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                nets = [bit for bit in bits if isinstance(bit, int)]
                loads.update(nets)
                clocks.update(nets if re.fullmatch(r"C|CLK|CLKARDCLK|CLKBWRCLK|WCLK", port) else [])
    names: dict[int, str] = {}
    for name, net in netlist["netnames"].items():
        for bit in net["bits"]:
            if isinstance(bit, int) and (bit not in names or len(name) < len(names[bit])):
                names[bit] = name
    return sorted(((count, names.get(bit, "?")) for bit, count in loads.items() if bit not in clocks), reverse=True)


def over_fan_out(netlist: Mapping[str, Any], limit: int = FAN_OUT) -> list[str]:
    """A line for each net that drives more than ``limit`` inputs without being one of :data:`EXCEPTIONS`."""
    return [
        f"net {name} drives {count} inputs: expected at most {limit}"
        for count, name in fan_outs(netlist)
        if count > limit and not any(re.search(pattern, name) for pattern in EXCEPTIONS)
    ]


FEW = 4
"""Flip-flops of a control set below which it wastes half of a slice."""


def control_sets(netlist: Mapping[str, Any]) -> tuple[int, int]:
    """How many sets there are of what flip-flops of a slice share (clock, enable, set or reset), and how many of these
    have less than :data:`FEW` flip-flops.
    """
    sets: Counter[tuple[Any, ...]] = Counter()
    for cell in netlist["cells"].values():
        if re.fullmatch(r"FD[RSCP]E(_1)?", cell["type"]):
            pins = cell["connections"]
            sets[tuple(tuple(pins.get(pin, ())) for pin in ("C", "CE", "R", "S", "CLR", "PRE"))] += 1
    return len(sets), sum(count < FEW for count in sets.values())


def fabric_cascades(netlist: Mapping[str, Any]) -> int:
    """Links from the sum of a DSP slice to the ``C`` of another one, which go through the fabric instead of
    ``PCIN``.
    """
    sums = {
        bit
        for cell in netlist["cells"].values()
        if cell["type"] == "DSP48E1"
        for bit in cell["connections"].get("P", ())
        if isinstance(bit, int)
    }
    return sum(
        bool(sums & set(cell["connections"].get("C", ())))
        for cell in netlist["cells"].values()
        if cell["type"] == "DSP48E1"
    )


def report(netlist: Mapping[str, Any], nets: int = 5) -> list[str]:
    """Lines for people: the nets that drive most, control sets, cascades."""
    sets, small = control_sets(netlist)
    return [
        *(f"net {name} drives {count} inputs" for count, name in fan_outs(netlist)[:nets]),
        f"{sets} control sets, {small} of fewer than {FEW} flip-flops",
        f"{fabric_cascades(netlist)} cascades of DSP slices through the fabric",
    ]
