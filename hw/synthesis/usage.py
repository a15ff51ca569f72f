# SPDX-License-Identifier: Apache-2.0
"""Resources of a netlist on 7-series and UltraScale+ chips."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hw.chips import XC7Z020, Usage
from hw.synthesis.yosys import SynthesisError

_LUT_RAM = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4}
_LUT_RAM |= {"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4}
_LUT_RAM |= {"RAM32M16": 8, "RAM64M8": 8, "RAM256X1D": 8, "RAM512X1S": 8}
"""LUTs that a distributed memory occupies (UG474, UG574)."""

_FREE = re.compile(r"CARRY[48]|MUXF[789]|GND|VCC|BUFG(_PS)?|[IO]BUF|PS[78]|\$scopeinfo")
"""Cells that come with the LUTs of a slice, or are no logic: clock buffers, pads, the processor."""


def usage(netlist: Mapping[str, Any]) -> Usage:
    """Resources of a netlist (:func:`hw.synthesis.yosys.read_netlist`) that ``synth_xilinx`` made.

    Raises
    ------
    SynthesisError
        It has a cell of a type that is not known here.
    """
    total = Usage()
    for kind, count in Counter(cell["type"] for cell in netlist["cells"].values()).items():
        total += _cells(kind, count)
    return total


def _cells(kind: str, count: int) -> Usage:
    if re.fullmatch(r"LUT[1-6]|INV|SRL16E|SRLC32E", kind):
        return Usage(lut=count)
    if kind in _LUT_RAM:
        return Usage(lut=count * _LUT_RAM[kind])
    if re.fullmatch(r"FD[RSCP]E(_1)?", kind):
        return Usage(ff=count)
    if re.fullmatch(r"DSP48E[12]", kind):
        return Usage(dsp=count)
    if re.fullmatch(r"RAMB(36|18)E[12]", kind):
        return Usage(bram36=count if kind.startswith("RAMB36") else count / 2)
    if _FREE.fullmatch(kind):
        return Usage()
    raise SynthesisError(f"cell of type {kind}: expected one whose resources are known (hw.synthesis.usage)")


def over_budget(total: Usage, budget: Usage = XC7Z020.budget) -> list[str]:
    """A line for each resource of which ``total`` has more than ``budget``."""
    return [
        f"{name} = {getattr(total, name):g}: expected at most {getattr(budget, name):g}"
        for name in total.exceeding(budget)
    ]


def table(rows: Iterable[tuple[str, Usage]]) -> str:
    """Markdown table of named usages."""
    lines = ["| | LUT | FF | DSP48 | RAMB36 |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {u.lut:,} | {u.ff:,} | {u.dsp} | {u.bram36:g} |" for name, u in rows]
    return "\n".join(lines)
