# SPDX-License-Identifier: Apache-2.0
"""Resets of few flip-flops as logic.

The eight flip-flops of a slice share clock, enable and reset. Yosys turns every AND before a flip-flop into a reset of
its own (``xilinx_dffopt``), which saves LUTs and leaves slices of a single flip-flop: more than the chip has.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

FEWEST = 4
"""Flip-flops that may have a reset to themselves."""

_KINDS = {"FDRE": ("R", "0010"), "FDSE": ("S", "1110")}  # D and not R; D or S.


def as_logic(module: dict[str, Any], fewest: int = FEWEST) -> int:
    """Give flip-flops without enable, of which fewer than ``fewest`` share a reset or set, a LUT2 in its place.

    Parameters
    ----------
    module:
        Of a JSON netlist that ``synth_xilinx`` made, flat; changed in place.

    Returns
    -------
    Number of flip-flops changed.
    """
    cells, nets = module["cells"], module["netnames"]
    sharing: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, cell in cells.items():
        if cell["type"] in _KINDS:
            pin, _ = _KINDS[cell["type"]]
            sharing[cell["connections"]["CE"][0], pin, cell["connections"][pin][0]].append(name)
    free = 1 + max((bit for net in nets.values() for bit in net["bits"] if isinstance(bit, int)), default=1)
    changed = 0
    for (enable, pin, reset), names in sharing.items():
        if len(names) >= fewest or enable != "1" or not isinstance(reset, int):
            continue
        for name in names:
            pins = cells[name]["connections"]
            if isinstance(pins["D"][0], int):
                cells[f"{name}.{pin}"] = _lut2(_KINDS[cells[name]["type"]][1], pins["D"][0], reset, free)
                nets[f"{name}.D"] = {"hide_name": 1, "bits": [free], "attributes": {}}
                pins["D"], pins[pin] = [free], ["0"]
                free, changed = free + 1, changed + 1
    return changed


def _lut2(init: str, i0: int, i1: int, output: int) -> dict[str, Any]:
    return {
        "hide_name": 1,
        "type": "LUT2",
        "parameters": {"INIT": init},
        "attributes": {},
        "port_directions": {"I0": "input", "I1": "input", "O": "output"},
        "connections": {"I0": [i0], "I1": [i1], "O": [output]},
    }
