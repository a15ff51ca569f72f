# SPDX-License-Identifier: Apache-2.0
"""Defects of tools that a netlist shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shared_parity(netlist: Mapping[str, Any]) -> list[str]:
    """Block RAMs of 72 bits whose upper half is given the parity bits of the lower one.

    Yosys did so until YosysHQ/yosys#5833 (2026): a word comes back with bits 44, 53, 62 and 71 replaced, and neither
    synthesis nor timing says a word.

    Parameters
    ----------
    netlist:
        Module of :func:`hw.synthesis.yosys.read_netlist`, flat.
    """
    return [
        name
        for name, cell in netlist["cells"].items()
        if cell["type"] == "RAMB36E1" and cell.get("parameters", {}).get("RAM_MODE") == "SDP" and _shared(cell)
    ]


def _shared(cell: Mapping[str, Any]) -> bool:
    low, high = (cell["connections"].get(pin, []) for pin in ("DIPADIP", "DIPBDIP"))
    return bool(low) and low == high and any(isinstance(bit, int) for bit in low)
