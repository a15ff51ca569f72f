# SPDX-License-Identifier: Apache-2.0
"""The engine's cells against Yosys' models (block RAMs: the model of tests.netlist.cells), the same operands every
cycle.
"""

from __future__ import annotations

import ctypes
import json
import random
import subprocess
from pathlib import Path

import cocotb
import pytest
from cocotb.triggers import Timer

from sim import testbench as bench
from sim.netlist.library import header
from sim.netlist.tables import NetlistError, tables
from tests.netlist.cells import models

CLOCKS = {"C", "WCLK", "CLK", "CLKARDCLK", "CLKBWRCLK"}
CYCLES = 600
NARROW = {"ramb36_tdp_18", "ramb36_tdp_9", "ramb18_tdp_9"}
"""Whose upper outputs stay 0."""


def _lut(width):
    init = {1: 0b01, 2: 0b0110}.get(width) or random.Random(width).getrandbits(1 << width)
    return f"LUT{width}", {"INIT": (init, 1 << width)}, {**{f"I{n}": 1 for n in range(width)}, "O": -1}, {}


def _memory(kind, address, bits):
    pins = {f"ADDR{port}": address for port in "ABCD"} | {f"DI{port}": bits for port in "ABCD"}
    return kind, {}, {**pins, "WE": 1, "WCLK": 1, **{f"DO{port}": -bits for port in "ABCD"}}, {}


def _block_ram(lanes, mode, registers, width=None):
    width = width or 9 * lanes
    wide = mode == "SDP"
    parameters = {"DOA_REG": (registers, 32), "DOB_REG": (registers, 32), "RAM_MODE": mode}
    parameters |= {"WRITE_MODE_A": "READ_FIRST", "WRITE_MODE_B": "READ_FIRST"}
    widths = dict(READ_WIDTH_A=2 * width * wide, READ_WIDTH_B=width * (not wide))
    widths |= dict(WRITE_WIDTH_A=width * (not wide), WRITE_WIDTH_B=2 * width * wide)
    pins = dict.fromkeys(("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN", "REGCEAREGCE", "REGCEB"), 1)
    pins |= dict.fromkeys(("RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"), 1)
    pins |= dict.fromkeys(("ADDRARDADDR", "ADDRBWRADDR"), 16 if lanes == 4 else 14)
    pins |= {"WEA": lanes, "WEBWE": 2 * lanes, "DIADI": 8 * lanes, "DIBDI": 8 * lanes, "DIPADIP": lanes}
    pins |= {"DIPBDIP": lanes, "DOADO": -8 * lanes, "DOBDO": -8 * lanes, "DOPADOP": -lanes, "DOPBDOP": -lanes}
    kind = "RAMB36E1" if lanes == 4 else "RAMB18E1"
    return kind, parameters | {name: (value, 32) for name, value in widths.items()}, pins, {}


def _slice(opmode, a_registers=1, b_registers=1, c_register=0):
    parameters = dict(AREG=a_registers, BREG=b_registers, CREG=c_register, MREG=1, PREG=1, ADREG=0, DREG=0)
    parameters |= dict(ALUMODEREG=0, CARRYINREG=0, CARRYINSELREG=0, INMODEREG=0, OPMODEREG=0)
    parameters |= dict(ACASCREG=a_registers, BCASCREG=b_registers)
    texts = {
        "USE_DPORT": "FALSE",
        "USE_MULT": "MULTIPLY",
        "USE_SIMD": "ONE48",
        "A_INPUT": "DIRECT",
        "B_INPUT": "DIRECT",
    }
    pins = {"A": 30, "B": 18, "C": 48, "PCIN": 48, "CLK": 1, "P": -48, "PCOUT": -48}
    tied = {"CEA1": 1, "CEA2": 1, "CEB1": 1, "CEB2": 1, "CEC": 1, "CEM": 1, "CEP": 1, "OPMODE": (opmode, 7)}
    tied |= {"ALUMODE": (0, 4), "INMODE": (0, 5), "CARRYIN": 0, "CARRYINSEL": (0, 3), "D": (0, 25)}
    tied |= dict.fromkeys(("RSTA", "RSTB", "RSTC", "RSTM", "RSTP", "RSTD", "RSTCTRL", "RSTALLCARRYIN"), 0)
    tied |= dict.fromkeys(("RSTALUMODE", "RSTINMODE", "CEAD", "CED", "CECTRL", "CEALUMODE", "CEINMODE"), 0)
    return "DSP48E1", {name: (value, 32) for name, value in parameters.items()} | texts, pins, tied


CELLS = {
    **{f"lut{n}": _lut(n) for n in range(1, 7)},
    "inv": ("INV", {}, {"I": 1, "O": -1}, {}),
    "muxf7": ("MUXF7", {}, {"I0": 1, "I1": 1, "S": 1, "O": -1}, {}),
    "muxf8": ("MUXF8", {}, {"I0": 1, "I1": 1, "S": 1, "O": -1}, {}),
    "carry": ("CARRY4", {}, {"CI": 1, "DI": 4, "S": 4, "O": -4, "CO": -4}, {"CYINIT": 0}),
    "carry_init": ("CARRY4", {}, {"CYINIT": 1, "DI": 4, "S": 4, "O": -4, "CO": -4}, {"CI": 0}),
    "fdre": ("FDRE", {"INIT": (0, 1)}, {"C": 1, "CE": 1, "D": 1, "R": 1, "Q": -1}, {}),
    "fdre_one": ("FDRE", {"INIT": (1, 1)}, {"C": 1, "CE": 1, "D": 1, "R": 1, "Q": -1}, {}),
    "fdse": ("FDSE", {"INIT": (1, 1)}, {"C": 1, "CE": 1, "D": 1, "S": 1, "Q": -1}, {}),
    "ram64m": _memory("RAM64M", 6, 1),
    "ram32m": _memory("RAM32M", 5, 2),
    **{
        f"ramb{9 * lanes}_{mode}_{registers}".lower(): _block_ram(lanes, mode, registers)
        for lanes in (4, 2)
        for mode in ("SDP", "TDP")
        for registers in (0, 1)
    },
    "ramb36_tdp_18": _block_ram(4, "TDP", 1, 18),
    "ramb36_tdp_9": _block_ram(4, "TDP", 0, 9),
    "ramb18_tdp_9": _block_ram(2, "TDP", 0, 9),
    "dsp_cascade": _slice(0b0010101),
    "dsp_c": _slice(0b0110101),
    "dsp_c_registers": _slice(0b0110101, 2, 2, 1),
}
"""Type, parameters (value and width, or a text), pins (width; outputs below 0), pins tied to a constant."""


def circuit():
    """All cells side by side, their pins ports called ``cell_PIN``: Verilog, JSON module, ports with widths."""
    ports, instances, cells, bits, taken = {"aclk": 1}, [], {}, {"aclk": [2]}, 3
    for name, (kind, parameters, pins, tied) in CELLS.items():
        connections, wires = {}, []
        for pin, width in pins.items():
            port = "aclk" if pin in CLOCKS and width == 1 else f"{name}_{pin}"
            if port not in bits:
                ports[port] = width
                bits[port] = list(range(taken, taken + abs(width)))
                taken += abs(width)
            connections[pin] = bits[port]
            wires.append(f".{pin}({port})")
        for pin, value in tied.items():
            number, width = value if isinstance(value, tuple) else (value, 1)
            connections[pin] = [str(number >> n & 1) for n in range(width)]
            wires.append(f".{pin}({width}'d{number})")
        values = {
            key: value if isinstance(value, str) else format(value[0], f"0{value[1]}b")
            for key, value in parameters.items()
        }
        texts = [
            f'.{key}("{value}")' if isinstance(value, str) else f".{key}({value[1]}'d{value[0]})"
            for key, value in parameters.items()
        ]
        cells[name] = {"type": kind, "parameters": values, "connections": connections}
        instances.append(f"  {kind} #({', '.join(texts)}) {name} ({', '.join(wires)});")
    declared = [f"{'output' if w < 0 else 'input'} [{abs(w) - 1}:0] {port}" for port, w in ports.items()]
    text = f"module top({', '.join(declared)});\n" + "\n".join(instances) + "\nendmodule\n"
    directions = {p: {"direction": "output" if w < 0 else "input", "bits": bits[p]} for p, w in ports.items()}
    return text, {"ports": directions, "cells": cells, "netnames": {}}, ports


def vectors(ports):
    """Values of the inputs for each cycle; block RAMs and LUT memories meet the same few addresses again."""
    rng = random.Random(7)
    for _ in range(CYCLES):
        values = {}
        for port, width in ports.items():
            if width > 0 and port != "aclk":
                pin = port.rsplit("_", 1)[1]
                value = rng.getrandbits(width)
                if pin.startswith("ADDR"):
                    value = rng.choice((0, 1, 2, (1 << width) - 1)) << (rng.choice((3, 4, 5)) if width > 10 else 0)
                    value &= (1 << width) - 1
                elif pin.startswith(("R", "S")) and width == 1:
                    value &= rng.getrandbits(1)
                values[port] = value
        yield values


def engine(folder: Path, module, ports):
    """A function from one cycle's inputs to its outputs."""
    made = tables(module)
    made.write(folder / "tables")
    (folder / "Vcodenet.h").write_text(header(made, folder / "tables"))
    inputs = [port for port, width in ports.items() if width > 0 and port != "aclk"]
    outputs = [port for port, width in ports.items() if width < 0]
    lines = ['#include "Vcodenet.h"', 'extern "C" void cycle(const uint64_t* i, uint64_t* o) {']
    lines += ["static Vcodenet* t = new Vcodenet(nullptr);", "t->aclk = 0;"]
    lines += [f"t->{port} = i[{n}];" for n, port in enumerate(inputs)] + ["t->eval();"]
    lines += [f"o[{n}] = t->{port};" for n, port in enumerate(outputs)] + ["t->aclk = 1;", "t->eval();", "}"]
    (folder / "cycle.cpp").write_text("\n".join(lines))
    command = ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", f"-I{folder}", "cycle.cpp", "-o", "cycle.so"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "cycle.so"))

    def cycle(values):
        given = (ctypes.c_uint64 * len(inputs))(*(values[port] for port in inputs))
        found = (ctypes.c_uint64 * len(outputs))()
        library.cycle(given, found)
        return dict(zip(outputs, found, strict=True))

    return cycle


def test_cells(tmp_path):
    text, module, ports = circuit()
    cycle = engine(tmp_path, module, ports)
    expected = [cycle(values) for values in vectors(ports)]
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    library = models(kind for kind, *_ in CELLS.values())
    folder = bench.build_verilog(text + library, list(ports), "top", "netlist-cells")
    bench.simulate(folder, "top", __file__, only="check_cells", expected=str(tmp_path / "expected.json"))
    for name, (kind, _, pins, _) in CELLS.items():
        for pin in pins:
            if f"{name}_{pin}" in expected[0] and name not in NARROW:
                seen = {values[f"{name}_{pin}"] for values in expected}
                assert len(seen) > 1, f"{kind}.{pin} never changed: the test says nothing of it"


@cocotb.test()
async def check_cells(dut):
    expected = json.loads(Path(bench.parameter("expected")).read_text())
    _, _, ports = circuit()
    dut.aclk.value = 0
    for number, values in enumerate(vectors(ports)):
        for port, value in values.items():
            getattr(dut, port).value = value
        await Timer(1, "ns")
        for port, value in expected[number].items():
            found = int(getattr(dut, port).value)
            assert found == value, f"cycle {number}: {port} = {value:#x} in the engine, {found:#x} in the model"
        dut.aclk.value = 1
        await Timer(1, "ns")
        dut.aclk.value = 0
        await Timer(1, "ns")


def test_unknown_cells_and_modes_are_refused():
    _, module, _ = circuit()
    for change, text in (
        ({"fdre": {"type": "LDCE"}}, r"cell fdre \(LDCE\): expected a cell that the engine knows"),
        ({"dsp_c": {"parameters": {"PREG": "0"}}}, r"cell dsp_c \(DSP48E1\): PREG = 0: expected 1"),
        ({"ramb36_sdp_0": {"parameters": {"WRITE_MODE_A": "NO_CHANGE"}}}, "WRITE_MODE_A = NO_CHANGE"),
        ({"ramb36_sdp_0": {"parameters": {"INIT_00": "1"}}}, "contents at the start: expected zeros"),
    ):
        cells = {name: dict(cell) for name, cell in module["cells"].items()}
        for name, fields in change.items():
            for field, value in fields.items():
                cells[name][field] = {**cells[name][field], **value} if isinstance(value, dict) else value
        with pytest.raises(NetlistError, match=text):
            tables({**module, "cells": cells})


def test_a_loop_is_refused():
    inverter = {"type": "INV", "parameters": {}, "connections": {"I": [2], "O": [2]}}
    with pytest.raises(NetlistError, match="combinational loop through INV round"):
        tables({"ports": {}, "cells": {"round": inverter}, "netnames": {}})
