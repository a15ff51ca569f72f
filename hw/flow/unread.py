# SPDX-License-Identifier: Apache-2.0
"""Flip-flops that nothing reads.

A register that is kept apart from others of the same value (:func:`hw.lib.relay`) is kept whole, though what it drives
may read a part of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

_PURE = re.compile(r"FD[RSCP]E(_1)?|LUT[1-6]|INV|MUXF[78]|CARRY4")
"""Cells that do nothing but drive their outputs."""


def remove(module: dict[str, Any]) -> int:
    """Take out the cells that have no part in what leaves the module, or enters a memory, a DSP slice or a hard block.

    Parameters
    ----------
    module:
        Of a JSON netlist that ``synth_xilinx`` made, flat; changed in place.

    Returns
    -------
    Number of cells taken out.
    """
    cells = module["cells"]
    drivers = {}
    readers: dict[int, set[str]] = defaultdict(set)
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            for bit in bits:
                if cell["port_directions"][pin] == "input":
                    readers[bit].add(name)
                else:
                    drivers[bit] = name
    for port in module["ports"].values():
        for bit in port["bits"]:
            readers[bit].add("")
    left = list(cells)
    removed = 0
    while left:
        name = left.pop()
        if name not in cells or not _PURE.fullmatch(cells[name]["type"]):
            continue
        pins, directions = cells[name]["connections"], cells[name]["port_directions"]
        if any(readers[bit] - {name} for pin, bits in pins.items() if directions[pin] != "input" for bit in bits):
            continue
        del cells[name]
        removed += 1
        for pin, bits in pins.items():
            for bit in bits if directions[pin] == "input" else ():
                readers[bit].discard(name)
                left += [drivers[bit]] if bit in drivers else []
    return removed
