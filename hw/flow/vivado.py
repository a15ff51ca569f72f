# SPDX-License-Identifier: Apache-2.0
"""From Verilog to a bitstream by Vivado, in one batch run of a script, without a project."""

from __future__ import annotations

import re
from pathlib import Path

from codenet.devices.bit_file import BitFile
from hw.boards import constraints
from hw.chips import Usage
from hw.flow import paths
from hw.flow.implementation import Implementation, Job, Timing
from hw.flow.tools import BuildError, Tool, require, run

VIVADO = Tool(
    ("vivado",),
    "VIVADO",
    "install AMD Vivado with Zynq-7000 devices (the free edition has the xc7z020) and `source settings64.sh` of it, or "
    "set VIVADO",
)

SCRIPT, LOG = "build.tcl", "vivado.log"
CLOCK, NETLIST = "clock.xdc", "netlist.xdc"
UTILIZATION, TIMING, PATHS, DRC = "utilization.rpt", "timing.rpt", "paths.rpt", "drc.rpt"
BITSTREAM = "unchecked.bit"
"""Written before anyone has looked at the timing."""


def script(job: Job) -> str:
    """Tcl for Vivado; paths are relative to the job's folder. An error ends the batch run with a status other than
    0.
    """
    module = job.board.module
    lines = [
        f"read_verilog {job.verilog.name}",
        f"read_xdc {CLOCK}",
        f"synth_design -top {module} -part {job.board.part}",
        f"read_xdc {NETLIST}",
        "opt_design",
        "place_design",
        "phys_opt_design",
        "route_design",
        f"report_utilization -file {UTILIZATION}",
        f"report_timing_summary -file {TIMING}",
        f"report_timing -max_paths {10 * paths.MOST} -file {PATHS}",
        f"report_drc -file {DRC}",
        f"write_checkpoint -force {module}.dcp",
        f"write_bitstream -force {BITSTREAM}",
    ]
    return "\n".join(lines) + "\n"


def check() -> Path:
    """The program.

    Raises
    ------
    BuildError
        It is not there.
    """
    return require([VIVADO])[0]


def implement(job: Job) -> Implementation:
    """Run Vivado on the job's Verilog.

    Raises
    ------
    BuildError
        It failed, or its reports are not understood.
    """
    program = check()
    (job.folder / CLOCK).write_text(constraints.clock_for_vivado(job.board.top(job.config).system, job.clock_mhz))
    (job.folder / NETLIST).write_text(constraints.netlist_for_vivado(job.board.pins))
    (job.folder / SCRIPT).write_text(script(job))
    for name in (UTILIZATION, TIMING, PATHS, BITSTREAM):
        (job.folder / name).unlink(missing_ok=True)
    run([program, "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", SCRIPT], job.folder, LOG)
    usage = parse_utilization(_read(job.folder / UTILIZATION))
    timing = Timing.of(job, *parse_timing(_read(job.folder / TIMING)))
    details = {
        "slowest_paths": [path.to_dict() for path in paths.by_component(paths.of_vivado(_read(job.folder / PATHS)))]
    }
    return Implementation(
        usage, timing, lambda: BitFile.parse((job.folder / BITSTREAM).read_bytes(), BITSTREAM), details
    )


def _read(path: Path) -> str:
    if not path.exists():
        raise BuildError(f"{path}: not written by Vivado, see {path.with_name(LOG)}")
    return path.read_text(errors="replace")


def parse_utilization(report: str) -> Usage:
    """Resources of a ``report_utilization``.

    Raises
    ------
    BuildError
        A line is missing.
    """
    rows = {
        "lut": r"(?:Slice|CLB) LUTs\*?",
        "ff": r"(?:Slice|CLB) Registers",
        "dsp": "DSPs",
        "bram36": "Block RAM Tile",
    }
    values = {}
    for name, row in rows.items():
        found = re.search(rf"^\|\s*{row}\s*\|\s*([\d.]+)\s*\|", report, re.M)
        if not found:
            raise BuildError(f"{UTILIZATION}: no row {row!r}: expected the report of Vivado's report_utilization")
        values[name] = float(found[1])
    return Usage(int(values["lut"]), int(values["ff"]), int(values["dsp"]), values["bram36"])


def parse_timing(report: str) -> tuple[float, float, float]:
    """Worst slack of setup, hold and pulse width, ns, of a ``report_timing_summary``.

    Raises
    ------
    BuildError
        No such table, or registers without a clock.
    """
    unclocked = re.search(r"checking no_clock \((\d+)\)", report)
    if unclocked and int(unclocked[1]):
        raise BuildError(
            f"{TIMING}: {unclocked[1]} registers without a clock: expected none; did the clock's constraint apply?"
        )
    found = re.search(r"^ *WNS\(ns\) +TNS\(ns\) .*\n[ -]+\n *(\S.*)$", report, re.M)
    if not found:
        raise BuildError(f"{TIMING}: no table of WNS: expected the report of Vivado's report_timing_summary")
    columns = found[1].split()
    if len(columns) < 12 or "NA" in (columns[0], columns[4]):
        raise BuildError(
            f"{TIMING}: WNS and WHS are {columns[:5]}: expected numbers; did the clock's constraint apply?"
        )
    return float(columns[0]), float(columns[4]), float(columns[8])
