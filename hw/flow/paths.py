# SPDX-License-Identifier: Apache-2.0
"""The slowest paths of a routed design, as the reports of both flows tell them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SlowPath:
    """From register to register; times in ns.

    Attributes
    ----------
    source, destination:
        Net that the path starts on, or pin of the register where the tool gives that; pin that it ends at.
    logic, wire:
        Share of cells (set-up time included) and of nets.
    """

    source: str
    destination: str
    logic: float
    wire: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, for ``report.json``."""
        return asdict(self)


_VIVADO = re.compile(
    r"^Slack .*?^\s+Source:\s+(\S+).*?^\s+Destination:\s+(\S+).*?"
    r"^\s+Data Path Delay:\s+[\d.]+ns\s+\(logic ([\d.]+)ns .*?route ([\d.]+)ns",
    re.M | re.S,
)


def of_vivado(report: str) -> list[SlowPath]:
    """Paths of a ``report_timing``, the slowest first."""
    return [SlowPath(s, d, float(logic), float(wire)) for s, d, logic, wire in _VIVADO.findall(report)]


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
