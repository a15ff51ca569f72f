# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the tools of both flows: small programs that check their arguments and files and write what the tools
write.

Each is this file under the tool's name. What a run should be like is in the environment: ``STAND_IN_WNS``,
``STAND_IN_MHZ``, ``STAND_IN_BREAK``.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

PART = "xc7z020clg400-1"
DATA = b"\xff" * 32 + bytes.fromhex("000000bb11220044ffffffffffffffffaa995566") + bytes(range(256))

UTILIZATION = """\
Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
| Command      : report_utilization -file utilization.rpt
| Device       : xc7z020clg400-1

1. Slice Logic
--------------

+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs                 | 37098 |     0 |          0 |     53200 | 69.73 |
|   LUT as Logic             | 31002 |     0 |          0 |     53200 | 58.27 |
|   LUT as Memory            |  6096 |     0 |          0 |     17400 | 35.03 |
| Slice Registers            | 35284 |     0 |          0 |    106400 | 33.16 |
|   Register as Flip Flop    | 35284 |     0 |          0 |    106400 | 33.16 |
+----------------------------+-------+-------+------------+-----------+-------+

3. Memory
---------

| Block RAM Tile    | 123.5 |     0 |          0 |       140 | 88.21 |
|   RAMB36/FIFO*    |   120 |     0 |          0 |       140 | 85.71 |
|   RAMB18          |     7 |     0 |          0 |       280 |  2.50 |

4. DSP
------

| DSPs           |  200 |     0 |          0 |       220 | 90.91 |
|   DSP48E1 only |  200 |       |            |           |       |
"""

TIMING = """\
1. checking no_clock (0)
------------------------
 There are 0 register/latch pins with no clock.


------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  THS Failing Endpoints  THS Total Endpoints     WPWS(ns)     TPWS(ns)  TPWS Failing Endpoints  TPWS Total Endpoints
    -------      -------  ---------------------  -------------------      -------      -------  ---------------------  -------------------     --------     --------  ----------------------  --------------------
      {wns}        0.000                      0               123456        {whs}        0.000                      0               123456        2.083        0.000                       0                 41234


All user specified timing constraints are met.
"""


PATHS = """\
Slack (VIOLATED) :        -0.345ns  (required time - arrival time)
  Source:                 accelerator/storer/spacious_reg/C
                            (rising edge-triggered cell FDRE clocked by aclk  {rise@0.000ns fall@3.333ns period=6.666ns})
  Destination:            accelerator/storer/queue/level_reg[0]/CE
                            (rising edge-triggered cell FDRE clocked by aclk  {rise@0.000ns fall@3.333ns period=6.666ns})
  Path Group:             aclk
  Data Path Delay:        6.702ns  (logic 1.234ns (18.413%)  route 5.468ns (81.587%))
  Logic Levels:           3  (LUT5=1 LUT6=2)

Slack (MET) :             0.123ns  (required time - arrival time)
  Source:                 accelerator/peaks/run_reg/C
                            (rising edge-triggered cell FDRE clocked by aclk  {rise@0.000ns fall@3.333ns period=6.666ns})
  Destination:            accelerator/peaks/row_reg[3]/D
                            (rising edge-triggered cell FDRE clocked by aclk  {rise@0.000ns fall@3.333ns period=6.666ns})
  Path Group:             aclk
  Data Path Delay:        6.402ns  (logic 2.234ns (34.895%)  route 4.168ns (65.105%))
"""

CRITICAL_PATH = """\
Info: Critical path report for clock 'clk' (posedge -> posedge):
Info: curr total
Info:  0.5  0.5  Source $auto$ff.cc:266:slice$1.Q
Info:  {wire}  4.0    Net accelerator.storer.spacious budget 5.000000 ns (10,20) -> (60,70)
Info:                Sink $abc$2.A3
Info:  0.1  4.1  Source $abc$2.O6
Info:  1.0  5.1    Net accelerator.storer.next budget 5.000000 ns (60,70) -> (61,70)
Info:                Sink $auto$ff.cc:266:slice$3.CE
Info:  0.2  5.3  Setup $auto$ff.cc:266:slice$3.CE
Info: 0.8 ns logic, {routing} ns routing
"""


def install(folder: Path, *names: str) -> Path:
    """Put the stand-ins called ``names`` into ``folder``."""
    folder.mkdir(exist_ok=True)
    for name in names:
        program = folder / name
        program.write_text(f"#!{sys.executable} -S\n" + Path(__file__).read_text())
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def expect(condition: object, text: str) -> None:
    """End with an error as a tool does."""
    if not condition:
        print(f"ERROR: {text}", file=sys.stderr)
        sys.exit(1)


def option(arguments: list[str], name: str) -> str:
    expect(name in arguments, f"no {name} in {arguments}")
    return arguments[arguments.index(name) + 1]


def existing(name: str, word: str = "") -> str:
    """Text of a file that the tool was given; it must have ``word`` in it."""
    expect(Path(name).is_file(), f"{name}: no such file")
    text = Path(name).read_text()
    expect(word in text, f"{name}: no {word!r} in it")
    return text


def bit(design: str) -> bytes:
    """A .bit by hand: each field's key, length and text."""

    def field(key: bytes, text: str) -> bytes:
        raw = text.encode() + b"\0"
        return key + len(raw).to_bytes(2, "big") + raw

    fields = field(b"a", design) + field(b"b", "7z020clg400") + field(b"c", "2026/11/25") + field(b"d", "10:01:02")
    start = b"\x00\x09" + b"\x0f\xf0" * 4 + b"\x00\x00\x01"
    return start + fields + b"e" + len(DATA).to_bytes(4, "big") + DATA


def vivado(arguments: list[str]) -> None:
    for flag in ("-nojournal", "-nolog", "-notrace"):
        expect(flag in arguments, f"no {flag}")
    expect(option(arguments, "-mode") == "batch", "not in batch mode")
    commands = existing(option(arguments, "-source")).splitlines()
    order = [line.split()[0] for line in commands]
    steps = "read_verilog read_xdc synth_design read_xdc opt_design place_design phys_opt_design route_design report_utilization".split()
    steps += ["report_timing_summary", "report_timing", "report_drc", "write_checkpoint", "write_bitstream"]
    expect(order == steps, f"steps {order}")
    by_name = {line.split()[0]: line.split()[1:] for line in commands}
    top = option(by_name["synth_design"], "-top")
    existing(by_name["read_verilog"][0], f"module {top}(")
    clock, netlist = (line.split()[1] for line in commands if line.startswith("read_xdc"))
    existing(clock, "create_clock")
    expect(existing(netlist, "set_false_path").count("PACKAGE_PIN") == 4, "not four pins")
    expect(option(by_name["synth_design"], "-part") == PART, "another part")
    print("Vivado says many things")
    utilization, timing = (
        UTILIZATION,
        TIMING.format(wns=os.environ.get("STAND_IN_WNS", "0.123"), whs=os.environ.get("STAND_IN_WHS", "0.024")),
    )
    broken = os.environ.get("STAND_IN_BREAK", "")
    expect(broken != "route", "[Route 35-54] Net: accelerator/clk is not completely routed.")
    if broken == "utilization":
        utilization = utilization.replace("Slice LUTs", "Sloice LUTs")
    Path(option(by_name["report_utilization"], "-file")).write_text(utilization)
    if broken == "clock":
        timing = timing.replace("no_clock (0)", "no_clock (35284)")
    if broken != "timing":
        Path(option(by_name["report_timing_summary"], "-file")).write_text(timing)
    Path(option(by_name["report_timing"], "-file")).write_text(PATHS)
    name = by_name["write_bitstream"][-1]
    Path(name).write_bytes(bit(f"{top};UserID=0XFFFFFFFF;Version=2024.2") if broken != "bit" else b"\0" * 100)


def yosys(arguments: list[str]) -> None:
    if arguments == ["-V"]:
        return print("Yosys 0.70 (stand-in)")
    commands = [line.split() for line in existing(option(arguments, "-s")).splitlines()]
    names = ["read_verilog", "hierarchy", "proc", "select", "setattr", "synth_xilinx", "delete", "write_json"]
    expect([c[0] for c in commands] == names, f"commands {commands}")
    synthesis = commands[names.index("synth_xilinx")]
    top = option(synthesis, "-top")
    expect(option(synthesis, "-family") == "xc7", "another family")
    existing(commands[0][1], f"module {top}(")
    kinds = {
        "LUT6": 300,
        "FDRE": 197,
        "FDSE": 3,
        "DSP48E1": 3,
        "RAMB36E1": 2,
        "RAMB18E1": 1,
        "PS7": 1,
        "BUFG": 1,
        "OBUF": 4,
    }
    reset = '{"C": [1], "CE": ["1"], "R": ["0"], "Q": [10]}'
    upper = "[2, 3, 4, 5]" if os.environ.get("STAND_IN_BREAK") == "parity" else "[6, 7, 8, 9]"
    pins = {"LUT6": '{"O": [10]}', "FDRE": reset, "FDSE": reset.replace("R", "S")}
    pins["RAMB36E1"] = f'{{"DIPADIP": [2, 3, 4, 5], "DIPBDIP": {upper}}}'
    cells = [
        f'"c{n}{k}": {{"type": "{k}", "parameters": {{"RAM_MODE": "SDP"}}, "connections": {pins.get(k, "{}")}, '
        f'"port_directions": {_directions(pins.get(k, "{}"))}}}'
        for k, count in kinds.items()
        for n in range(count)
    ]
    Path(commands[-1][1]).write_text(
        f'{{"modules": {{"{top}": {{"ports": {{"o": {{"bits": [10]}}}}, "cells": {{{", ".join(cells)}}}, '
        '"netnames": {}}}}'
    )


def _directions(pins: str) -> str:
    return re.sub(r'("[OQ]": )"input"', r'\1"output"', re.sub(r"\[[^]]*\]", '"input"', pins))


def _nextpnr(arguments: list[str], xdc: str, fasm: str) -> None:
    existing(option(arguments, "--json"), '"modules"')
    text = existing(xdc, "create_clock")
    for line in text.splitlines():
        expect(
            re.match(r"create_clock -period [\d.]+ \[get_nets \w+\]|set_property -dict \{.*\} \[get_ports", line), line
        )
    freq = option(arguments, "--freq")
    expect("--timing-allow-fail" in arguments, "would stop before its report")
    reached = float(os.environ.get("STAND_IN_MHZ", "161.2"))
    target = os.environ.get("STAND_IN_TARGET", freq)
    verdict = "PASS" if reached >= float(target) else "FAIL"
    print(
        f"Info: Max frequency for clock 'clk': {reached / 2:.2f} MHz (FAIL at {float(target):.2f} MHz)", file=sys.stderr
    )
    print(CRITICAL_PATH.format(wire=" 3.5", routing=4.5), file=sys.stderr)
    print("Info: Routing complete.", file=sys.stderr)
    print(CRITICAL_PATH.format(wire=" 3.9", routing=4.9), file=sys.stderr)
    if os.environ.get("STAND_IN_BREAK") != "frequency":
        print(
            f"Info: Max frequency for clock 'clk': {reached:.2f} MHz ({verdict} at {float(target):.2f} MHz)",
            file=sys.stderr,
        )
    lines = ["CLBLL_L_X2Y100.SLICEL_X0.ALUT.INIT[63:0] = 64'h1", "CLBLL_L_X2Y100.SLICEL_X0.AFF.ZINI"]
    lines += ["CLBLM_R_X3Y7.SLICEM_X0.ALUT.RAM", "CLBLM_R_X3Y7.SLICEL_X1.CLKINV", "INT_L_X2Y100.EL1BEG0.LOGIC_OUTS_L8"]
    if os.environ.get("STAND_IN_BREAK") == "fasm":
        lines.append("DSP_L_X64Y115.DSP48.DSP_1.AREG_2")
    Path(fasm).write_text("\n".join(lines) + "\n")


def nextpnr_xilinx(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        return print("nextpnr-xilinx -- stand-in", file=sys.stderr)
    existing(option(arguments, "--chipdb"))
    if os.environ.get("STAND_IN_BREAK") == "routed":
        Path(option(arguments, "--write")).write_text('{"modules": {"top": {"cells": {}}}}')
    _nextpnr(arguments, option(arguments, "--xdc"), option(arguments, "--fasm"))


def nextpnr_himbaechel(arguments: list[str]) -> None:
    expect(option(arguments, "--device") == PART, "another device")
    values = dict(arguments[n + 1].split("=", 1) for n, word in enumerate(arguments) if word == "-o")
    _nextpnr(arguments, values["xdc"], values["fasm"])


def fasm2frames(arguments: list[str]) -> None:
    expect(option(arguments, "--part") == PART, "another part")
    expect((Path(option(arguments, "--db-root")) / PART / "part.yaml").is_file(), "not the database's family")
    existing(arguments[-1], "CLBLL")
    print("0x00000000 0x0,0x1")


def xc7frames2bit(arguments: list[str]) -> None:
    existing(option(arguments, "--part_file"), "idcode")
    expect(option(arguments, "--part_name") == "7z020clg400", "not the part as Vivado's headers name it")
    existing(option(arguments, "--frm_file"), "0x00000000")
    header = os.environ.get("STAND_IN_BREAK") != "header"
    Path(option(arguments, "--output_file")).write_bytes(bit("xc7frames2bit") if header else DATA)


if __name__ == "__main__":
    globals()[Path(sys.argv[0]).name.replace("-", "_")](sys.argv[1:])
