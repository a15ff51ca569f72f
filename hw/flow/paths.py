# SPDX-License-Identifier: Apache-2.0
"""The slowest paths of a routed design, as the reports of both flows tell them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST = 10
"""Paths in a report."""


@dataclass(frozen=True)
class SlowPath:
    """From register to register; times in ns.

    Attributes
    ----------
    source, destination:
        Net that the path starts on, or pin of the register where the tool gives that; pin that it ends at, of a
        register by the name of the net that it drives.
    logic, wire:
        Share of cells (set-up time included) and of nets.
    """

    source: str
    destination: str
    logic: float
    wire: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, for ``report.json``."""
        return {"components": self.components, **asdict(self)}

    @property
    def components(self) -> list[str | None]:
        """Components of the accelerator that it starts and ends in; the accelerator itself for registers between
        them, ``None`` for what lies outside or has no name of its own.
        """
        return [_component(name) for name in (self.source, self.destination)]


def _component(name: str) -> str | None:
    parts = re.split(r"[./]", re.sub(r"_reg(\[\d+\])?/\w+$|\.[A-Z]+\d*$", "", name))
    if "accelerator" not in parts:
        return None
    return "accelerator" if len(below := parts[parts.index("accelerator") + 1 :]) < 2 else below[0]


def by_component(paths: Iterable[SlowPath]) -> list[SlowPath]:
    """Of paths, the slowest first, the first between any two components, :data:`MOST` at most."""
    first: dict[tuple[str | None, ...], SlowPath] = {}
    for path in paths:
        first.setdefault(tuple(path.components), path)
    return list(first.values())[:MOST]


_VIVADO = re.compile(
    r"^Slack .*?^\s+Source:\s+(\S+).*?^\s+Destination:\s+(\S+).*?"
    r"^\s+Data Path Delay:\s+[\d.]+ns\s+\(logic ([\d.]+)ns .*?route ([\d.]+)ns",
    re.M | re.S,
)


def of_vivado(report: str) -> list[SlowPath]:
    """Paths of a ``report_timing``, the slowest first."""
    return [SlowPath(s, d, float(logic), float(wire)) for s, d, logic, wire in _VIVADO.findall(report)]


_PATH = re.compile(
    r"delay [\d.]+ = ([\d.]+) \+ ([\d.]+).*\n +from .*\n +[\d.]+:\d+:(\S+) .*\n(?: +[\d.]+:\d+:.*\n)* +to (\S+)\.(\w+) "
)


def of_list(text: str, netlist: Mapping[str, Any]) -> list[SlowPath]:
    """Paths of the list that a mended nextpnr-xilinx writes (docs/silicon.md), the slowest first.

    Parameters
    ----------
    netlist:
        Module that was placed and routed.
    """
    names = {
        bit: f"{name}[{n}]" if len(net["bits"]) > 1 else name
        for name, net in netlist["netnames"].items()
        for n, bit in enumerate(net["bits"])
    }
    found = []
    for logic, wire, source, cell, pin in _PATH.findall(text):
        driven = netlist["cells"].get(cell, {}).get("connections", {}).get("Q", [None])[0]
        found.append(SlowPath(source, f"{names.get(driven, cell)}.{pin}", float(logic), float(wire)))
    return found


def of_nextpnr(log: str) -> list[SlowPath]:
    """The slowest path of each clock, of the last report in a log of nextpnr-xilinx; none where it is of another
    form.
    """
    found: dict[str, SlowPath] = {}
    for section in re.split(r"Critical path report for ", log)[1:]:
        clock = section.splitlines()[0]
        nets, sinks = re.findall(r" Net (\S+) ", section), re.findall(r" Sink (\S+)", section)
        times = re.search(r"([\d.]+) ns logic, ([\d.]+) ns routing", section)
        if nets and sinks and times:
            found[clock] = SlowPath(nets[0], sinks[-1], float(times[1]), float(times[2]))
    return list(found.values())
