# SPDX-License-Identifier: Apache-2.0
"""Features against a routed netlist: a slice, a DSP slice and a block RAM by hand, and each kind of mistake."""

from __future__ import annotations

import json

import pytest

from hw.flow.routed import differences, sites_of

SITES = {"SLICE_X4Y7": ("CLBLM_R_X3Y7", "SLICEM"), "DSP48_X0Y3": ("DSP_R_X9Y0", "DSP48E1")}
SITES |= {"RAMB36_X1Y0": ("BRAM_R_X17Y0", "RAMBFIFO36E1")}
MODES = {"ALUMODE": list("0000"), "INMODE": list("00000"), "OPMODE": list("1010100")}  # P = PCIN + A * B


def cell(kind, bel="", connections=None, outputs=(), parameters=None, **attributes):
    attributes |= {"NEXTPNR_BEL": bel} if bel else {}
    return {
        "type": kind,
        "parameters": parameters or {},
        "attributes": attributes,
        "connections": connections or {},
        "port_directions": {port: "output" for port in outputs},
    }


DSP = {"AREG": "10", "BREG": "10", "CREG": "0", "DREG": "0", "ADREG": "0", "A_INPUT": "DIRECT", "USE_DPORT": "FALSE"}
DSP |= dict.fromkeys(("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG"), "0")
RAM = {"READ_WIDTH_A": f"{72:b}", "WRITE_WIDTH_B": f"{72:b}", "DOA_REG": "1", "DOB_REG": "0"}
RAM |= {"WRITE_MODE_A": "READ_FIRST", "INIT_A": "0" * 36, "INIT_01": "0111" * 64, "INITP_00": "0" * 256}

NETLIST = {
    "cells": {
        "lut": cell("LUT2", connections={"I0": [2], "I1": [3], "O": [4]}, parameters={"INIT": "0010"}),
        "ff": cell("FDSE", parameters={"INIT": "1"}),
        "lut5": cell("LUT1", connections={"I0": [2], "O": [5]}, parameters={"INIT": "10"}),
        "dsp": cell("DSP48E1", connections=MODES, parameters=DSP),
        "ram": cell("RAMB36E1", parameters=RAM),
    }
}


def routed():
    """I0 is at A5, I1 at A2."""
    lut = {"X_ORIG_TYPE": "LUT2", "X_ORIG_PORT_A5": "I0", "X_ORIG_PORT_A2": "I1"}
    return {
        "cells": {
            "lut": cell("SLICE_LUTX", "SLICE_X4Y7/B6LUT", {"O6": [9]}, ["O6"], {"INIT": "0010"}, **lut),
            "ff": cell("SLICE_FFX", "SLICE_X4Y7/BFF", {"D": [9], "CE": [8], "SR": [7]}, X_ORIG_TYPE="FDSE"),
            "lut5": cell(
                "SLICE_LUTX",
                "SLICE_X4Y7/A5LUT",
                {"O5": [6]},
                ["O5"],
                {"INIT": "10"},
                X_ORIG_TYPE="LUT1",
                X_ORIG_PORT_A1="I0",
            ),
            "carry": cell("CARRY4", "SLICE_X4Y7/CARRY4", {"DI0": [6], "DI1": [9], "CIN": [5]}),
            "vcc": cell("PSEUDO_VCC", "", {"Y": [8]}, ["Y"]),
            "dsp": cell("DSP48E1_DSP48E1", "DSP48_X0Y3/DSP48E1", {"OPMODE0": [8], "OPMODE2": [8], "OPMODE4": [8]}),
            "ram": cell("RAMB36E1_RAMB36E1", "RAMB36_X1Y0/RAMB36E1"),
        }
    }


TABLE = "".join("1" if address >> 4 & 1 and not address >> 1 & 1 else "0" for address in reversed(range(64)))
ZERO = [f"ALUMODE{k}" for k in range(4)] + [f"INMODE{k}" for k in range(5)] + [f"OPMODE{k}" for k in (1, 3, 5, 6)]
REGISTERS = ("ADREG", "ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "CREG", "DREG", "INMODEREG", "OPMODEREG")
FASM = [
    f"CLBLM_R_X3Y7.SLICEM_X0.BLUT.INIT[63:0] = 64'b{TABLE}",
    f"CLBLM_R_X3Y7.SLICEM_X0.ALUT.INIT[63:0] = 64'b{'10' * 32}",
    "CLBLM_R_X3Y7.SLICEM_X0.CARRY4.ACY0",
    "CLBLM_R_X3Y7.CLBLM_M_BX.CLBLM_BYP4",
    "CLBLM_R_X3Y7.SLICEM_X0.PRECYINIT.CIN",
    "CLBLM_R_X3Y7.SLICEM_X0.NOCLKINV",
    "CLBLM_R_X3Y7.SLICEM_X0.BFFMUX.O6",
    "CLBLM_R_X3Y7.SLICEM_X0.FFSYNC",
    "CLBLM_R_X3Y7.SLICEM_X0.SRUSEDMUX",
    "DSP_R_X9Y0.DSP48.DSP_1.ZIS_CLK_INVERTED",
    "DSP_R_X9Y0.DSP48.DSP_1.AREG_2",
    "DSP_R_X9Y0.DSP48.DSP_1.BREG_2",
    *(f"DSP_R_X9Y0.DSP_1_{pin}.DSP_GND_R" for pin in ZERO),
    *(f"DSP_R_X9Y0.DSP48.DSP_1.ZIS_{port}_INVERTED[{k}]" for port, bits in MODES.items() for k in range(len(bits))),
    *(f"DSP_R_X9Y0.DSP48.DSP_1.Z{register}[0]" for register in REGISTERS),
    *(
        f"BRAM_R_X17Y0.RAMB18_Y{half}.{feature}"
        for half in (0, 1)
        for feature in (
            "IN_USE",
            "SDP_READ_WIDTH_36",
            "SDP_WRITE_WIDTH_36",
            "DOA_REG",
            "WRITE_MODE_A_READ_FIRST",
            "ZINV_CLKARDCLK",
            "ZINV_CLKBWRCLK",
            "ZINV_ENARDEN",
            "ZINV_ENBWREN",
            f"ZINIT_A[17:0] = 18'b{'1' * 18}",
            f"INIT_00[255:0] = 256'b{('11', '01')[half] * 64}{'0' * 128}",
        )
    ),
]


def compare(lines):
    return differences(NETLIST, routed(), "\n".join(lines), SITES)


def test_as_asked():
    assert compare(FASM) == []


@pytest.mark.parametrize("line", FASM, ids=lambda line: line.split(" ")[0])
def test_a_feature_is_missing(line):
    """No feature of the sample may go without a word."""
    found = compare([other for other in FASM if other != line])
    assert found and any(name in text for text in found for name in ("lut", "ff", "dsp", "ram", "carry", "SLICE_X4Y7"))


@pytest.mark.parametrize(
    "line, text",
    [
        ("CLBLM_R_X3Y7.SLICEM_X0.BFF.ZINI", "starts with 0, expected 1"),
        ("CLBLM_R_X3Y7.SLICEM_X0.BFF.ZRST", "reset gives the other value"),
        ("CLBLM_R_X3Y7.SLICEM_X0.BLUT.RAM", "RAM set"),
        ("CLBLM_R_X3Y7.SLICEM_X0.CARRY4.BCY0", "DI[1] is taken from outside"),
        ("CLBLM_R_X3Y7.SLICEM_X0.CEUSEDMUX", "CEUSEDMUX set"),
        ("DSP_R_X9Y0.DSP48.DSP_1.ZMREG[0]", "MREG is not 1"),
        ("DSP_R_X9Y0.DSP48.DSP_1.A_INPUT[0]", "A comes from the cascade"),
        ("BRAM_R_X17Y0.RAMB18_Y1.DOB_REG", "half 1: DOB_REG is not 0"),
        ("BRAM_R_X17Y0.RAMB18_Y0.WRITE_MODE_B_NO_CHANGE", "WRITE_MODE_B is NO_CHANGE"),
    ],
)
def test_a_feature_too_many(line, text):
    (found,) = compare([*FASM, line])
    assert text in found


def test_pins_are_swapped_in_the_features_only():
    """A2 and A5 exchanged: the function of the other netlist."""
    swapped = "".join("1" if address >> 1 & 1 and not address >> 4 & 1 else "0" for address in reversed(range(64)))
    (found,) = compare([line.replace(TABLE, swapped) for line in FASM])
    assert found.startswith("LUT2 lut at SLICE_X4Y7/B6LUT: another function")


def test_one_bit_of_a_memory():
    lines = [line.replace("RAMB18_Y0.INIT_00[255:0] = 256'b1", "RAMB18_Y0.INIT_00[255:0] = 256'b0") for line in FASM]
    (found,) = compare(lines)
    assert found == "RAMB36E1 ram at RAMB36_X1Y0, half 0: INIT_01 differs"


def test_sites_of_the_grid(tmp_path):
    grid = {"CLBLM_R_X3Y7": {"sites": {"SLICE_X4Y7": "SLICEM"}}, "NULL_X0Y0": {"sites": {}}}
    (tmp_path / "tilegrid.json").write_text(json.dumps(grid))
    assert sites_of(tmp_path / "tilegrid.json") == {"SLICE_X4Y7": ("CLBLM_R_X3Y7", "SLICEM")}
