# SPDX-License-Identifier: Apache-2.0
"""Everything that a board is given, by either flow: bitstream, handoff file, and a report of what it takes and how fast
it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from codenet.errors import ConfigError
from hw.flow import hwh
from hw.flow import open as flow_open
from hw.flow import vivado as flow_vivado
from hw.flow.clocking import CONTROL_ADDRESS, FabricClock, fabric_clock
from hw.flow.implementation import Implementation, Job
from hw.flow.tools import TimingError
from hw.verilog import NAME

FLOWS: dict[str, tuple[Callable[[], object], Callable[[Job], Implementation]]] = {
    "vivado": (flow_vivado.check, flow_vivado.implement),
    "open": (flow_open.check, flow_open.implement),
}
"""What looks for a flow's tools, and what runs it."""

REPORT = "report.json"


def build(job: Job, flow: str, *, slower: bool = False) -> Path:
    """Make ``codenet.bit``, ``codenet.bin``, ``codenet.hwh`` and ``report.json`` in the job's folder; returns the
    first.

    Parameters
    ----------
    slower:
        A design that misses the job's clock gets the fastest that it keeps and a divisor of some PLL makes,
        instead of no bitstream.

    Raises
    ------
    ConfigError
        A board without bitstream, or a clock out of range.
    BuildError
        A tool is missing or failed.
    TimingError
        The design is too slow; the report is written, a bitstream is not.
    """
    if job.board.family is None:
        raise ConfigError(
            f"board {job.board.name}: is only synthesized (python -m hw.synthesis budget --board {job.board.name})"
        )
    check, implement = FLOWS[flow]
    clock = fabric_clock(job.clock_mhz, job.board.plls[:1])
    check()
    job.folder.mkdir(parents=True, exist_ok=True)
    outputs = {suffix: job.folder / f"{NAME}.{suffix}" for suffix in ("bit", "bin", "hwh")}
    for path in (*outputs.values(), job.folder / REPORT):
        path.unlink(missing_ok=True)
    _write_verilog(job)
    result = implement(job)
    asked = job.clock_mhz
    if slower and result.timing.wns < 0:
        job = replace(job, clock_mhz=fabric_clock(result.timing.fastest_mhz, job.board.plls).mhz)
        clock = fabric_clock(job.clock_mhz, job.board.plls[:1])
        result = replace(result, timing=result.timing.at(job.clock_mhz))
    (job.folder / REPORT).write_text(json.dumps(report(job, flow, clock, result, asked), indent=2) + "\n")
    if result.timing.failures:
        raise TimingError(
            f"timing at {job.clock_mhz:g} MHz: {', '.join(result.timing.failures)}; no bitstream is made. The clock "
            "that setup allows: "
            f"{result.timing.fastest_mhz:.1f} MHz"
        )
    bit = result.bit().renamed(NAME)
    outputs["hwh"].write_text(hwh.generate(job.board, job.config, job.clock_mhz, bit))
    outputs["bin"].write_bytes(bit.to_bin())
    outputs["bit"].write_bytes(bit.encode())
    return outputs["bit"]


def _write_verilog(job: Job) -> None:
    """Only if it changes, so that what is made of it is kept."""
    text = job.board.verilog(job.config)
    if not job.verilog.exists() or job.verilog.read_text() != text:
        job.verilog.write_text(text)


def report(job: Job, flow: str, clock: FabricClock, result: Implementation, asked: float) -> dict[str, Any]:
    """What is in ``report.json``; slacks in ns, clocks in MHz.

    ``asked`` is what the tools worked towards, ``constraint`` what timing was held against, and ``frequency`` what the
    clock's divisors give, of the IO PLL, which is all that PYNQ can set. ``clock_of_any_pll`` is for drivers that
    select the source, too.
    """
    timing = result.timing
    return {
        "board": job.board.name,
        "boards": job.board.sharing,
        "part": job.board.part,
        "flow": flow,
        "config": job.config.to_dict(),
        **result.usage.to_dict(),
        "asked": asked,
        "constraint": job.clock_mhz,
        "wns": round(timing.wns, 3),
        "whs": timing.whs,
        "wpws": timing.wpws,
        "timing_met": not timing.failures,
        "fastest": round(timing.fastest_mhz, 2),
        "frequency": round(clock.mhz, 6),
        "clock": _setting(clock),
        "clock_of_any_pll": _setting(fabric_clock(job.clock_mhz, job.board.plls)),
        **result.details,
    }


def _setting(clock: FabricClock) -> dict[str, Any]:
    return {
        "mhz": round(clock.mhz, 6),
        "source": clock.pll.name,
        "divisor0": clock.divisor0,
        "divisor1": clock.divisor1,
        "address": f"{CONTROL_ADDRESS:#010x}",
        "register": f"{clock.register:#010x}",
    }
