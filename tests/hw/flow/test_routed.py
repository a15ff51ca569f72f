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
            "ps7": cell("PS7_PS7", "PS7_X0Y0/PS7", {"FCLKCLK0": [20], "SAXIHP0WDATA3": [6]}, ["FCLKCLK0"]),
            "buffer": cell("BUFGCTRL", "BUFGCTRL_X0Y16/BUFGCTRL", {"I0": [20]}, [], {"IS_IGNORE1_INVERTED": "1"}),
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
    "CLBLM_R_X3Y7.SLICEM_X0.AOUTMUX.O5",
    "CLBLM_R_X3Y7.CLBLM_M_CLK.CLBLM_CLK1",
    "INT_R_X3Y7.CLK1.GCLK_B0_EAST",
    "PSS2_X32Y105.PSS_FCLKCLK0.PS7_FCLKCLK0",
    "PSS2_X32Y105.PS7_SAXIHP0WDATA3.PSS_IMUX_B9_2",
    "PSS1_X32Y84.PSS_HCLK_CK_IN0.PSS_FCLKCLK0",
    "CLK_HROW_TOP_R_X87Y78.CLK_HROW_TOP_R_CK_BUFG_CASCO0.CLK_HROW_CK_IN_L0",
    "CLK_BUFG_TOP_R_X87Y53.CLK_BUFG_BUFGCTRL0_I0.CLK_BUFG_TOP_R_CK_MUXED0",
    "CLK_BUFG_TOP_R_X87Y53.CLK_BUFG_CK_GCLK16.CLK_BUFG_BUFGCTRL0_O",
    *(f"CLK_BUFG_TOP_R_X87Y53.BUFGCTRL.BUFGCTRL_X0Y0.{name}" for name in ("IN_USE", "IS_IGNORE1_INVERTED")),
    *(f"CLK_BUFG_TOP_R_X87Y53.BUFGCTRL.BUFGCTRL_X0Y0.ZINV_{pin}" for pin in ("CE0", "CE1", "S0", "S1")),
    "CLK_HROW_BOT_R_X87Y26.CLK_HROW_CK_MUX_OUT_R0.CLK_HROW_R_CK_GCLK16",
    "CLK_HROW_BOT_R_X87Y26.CLK_HROW_CK_BUFHCLK_R0.CLK_HROW_CK_HCLK_OUT_R0",
    "CLK_HROW_BOT_R_X87Y26.CLK_HROW_R_CK_GCLK16_ACTIVE",
    *(f"CLK_HROW_BOT_R_X87Y26.BUFHCE.BUFHCE_X1Y0.{name}" for name in ("IN_USE", "ZINV_CE")),
    "HCLK_R_X165Y26.HCLK_LEAF_CLK_B_TOP0.HCLK_CK_BUFHCLK0",
    "HCLK_R_X165Y26.ENABLE_BUFFER.HCLK_CK_BUFHCLK0",
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
    if "HCLK_LEAF" in line:  # Columns without registers have no leaf.
        return
    names = ("lut", "ff", "dsp", "ram", "carry", "SLICE_X4Y7", "clock", "PS7")
    assert found and any(name in text for text in found for name in names)


@pytest.mark.parametrize(
    "line, text",
    [
        ("CLBLM_R_X3Y7.SLICEM_X0.BFF.ZINI", "starts with 0, expected 1"),
        ("CLBLM_R_X3Y7.SLICEM_X0.BFF.ZRST", "reset gives the other value"),
        ("CLBLM_R_X3Y7.SLICEM_X0.BLUT.RAM", "RAM set"),
        ("CLBLM_R_X3Y7.SLICEM_X0.CARRY4.BCY0", "DI[1] is taken from outside"),
        ("CLBLM_R_X3Y7.SLICEM_X0.CEUSEDMUX", "CEUSEDMUX set"),
        ("CLBLM_R_X3Y7.SLICEM_X0.COUTMUX.O5", "second output is O5, which no one reads"),
        ("CLBLM_R_X3Y7.SLICEM_X0.AOUTMUX.XOR", "['O5', 'XOR'], expected ['O5']"),
        ("INT_R_X3Y7.CLK1.FAN_BOUNCE5", "clock comes from ['FAN_BOUNCE5', 'GCLK_B0_EAST']"),
        ("CLK_BUFG_TOP_R_X87Y53.BUFGCTRL.BUFGCTRL_X0Y3.IN_USE", "2 global buffers in use, expected 1"),
        ("CLK_BUFG_TOP_R_X87Y53.BUFGCTRL.BUFGCTRL_X0Y0.IS_IGNORE0_INVERTED", "has IGNORE0 inverted"),
        ("CLK_BUFG_TOP_R_X87Y53.CLK_BUFG_BUFGCTRL0_I0.CLK_BUFG_TOP_R_CK_MUXED3", "2 wires at step 4"),
        ("HCLK_R_X165Y78.HCLK_LEAF_CLK_B_BOT0.HCLK_CK_BUFHCLK0", "takes buffer 0 of its row, which nothing drives"),
        ("DSP_R_X9Y0.DSP48.DSP_1.ZMREG[0]", "MREG is not 1"),
        ("DSP_R_X9Y0.DSP48.DSP_1.A_INPUT[0]", "A comes from the cascade"),
        ("BRAM_R_X17Y0.RAMB18_Y1.DOB_REG", "half 1: DOB_REG is not 0"),
        ("BRAM_R_X17Y0.RAMB18_Y0.WRITE_MODE_B_NO_CHANGE", "WRITE_MODE_B is NO_CHANGE"),
    ],
)
def test_a_feature_too_many(line, text):
    assert any(text in found for found in compare([*FASM, line]))


@pytest.mark.parametrize(("pin", "feature"), [("CE", "CEUSEDMUX"), ("SR", "SRUSEDMUX")])
def test_a_flip_flop_that_a_net_enables_or_resets(pin, feature):
    design, used = routed(), f"CLBLM_R_X3Y7.SLICEM_X0.{feature}"
    design["cells"]["ff"]["connections"][pin] = [11]
    lines = [line for line in FASM if line != used]
    assert differences(NETLIST, design, "\n".join([*lines, used]), SITES) == []
    assert differences(NETLIST, design, "\n".join(lines), SITES) == [f"SLICE_X4Y7: {feature} not set"]


def test_pins_are_swapped_in_the_features_only():
    """A2 and A5 exchanged: the function of the other netlist."""
    swapped = "".join("1" if address >> 1 & 1 and not address >> 4 & 1 else "0" for address in reversed(range(64)))
    (found,) = compare([line.replace(TABLE, swapped) for line in FASM])
    assert found.startswith("LUT2 lut at SLICE_X4Y7/B6LUT: another function")


@pytest.mark.parametrize("other", ["O5", "XOR", "CY"])
def test_a_flip_flop_takes_another_net_of_its_slice(other):
    assert f"ff at SLICE_X4Y7/BFF: takes {other}, which is not its D" in "\n".join(
        compare([line.replace("BFFMUX.O6", f"BFFMUX.{other}") for line in FASM])
    )


def test_another_clock():
    lines = [line.replace("HROW_R_CK_GCLK16", "HROW_R_CK_GCLK3") for line in FASM]
    (found,) = compare(lines)
    assert found == "clock: CLK_HROW_BOT_R_X87Y26 takes CLK_HROW_R_CK_GCLK3, expected a global buffer of ['16']"


@pytest.mark.parametrize(
    ("pin", "starts"),
    [({"CIN": [5]}, ["CIN"]), ({"CYINIT": [8]}, ["C1"]), ({"CYINIT": [9]}, ["AX"]), ({}, ["C0", "C1"])],
    ids=["below", "one", "net", "nothing"],
)
def test_what_a_carry_begins_with(pin, starts):
    """Of a constant that placement left out, either is taken."""
    design = routed()
    design["cells"]["carry"]["connections"] = {"DI0": [6], "DI1": [9], **pin}
    lines = [line for line in FASM if "PRECYINIT" not in line]
    for start in ("CIN", "C0", "C1", "AX"):
        found = differences(NETLIST, design, "\n".join([*lines, f"CLBLM_R_X3Y7.SLICEM_X0.PRECYINIT.{start}"]), SITES)
        assert [text for text in found if "begins with" not in text] == []
        assert bool(found) == (start not in starts), start


MEMORY = [
    "CLBLM_R_X3Y7.SLICEM_X0.ALUT.RAM",
    "CLBLM_R_X3Y7.SLICEM_X0.ALUT.DI1MUX.AI",
    "CLBLM_R_X3Y7.CLBLM_M_CLK.CLBLM_CLK1",
    "CLBLM_R_X3Y7.CLBLM_M_WE.CLBLM_FAN7",
    "INT_R_X3Y7.CLK1.GCLK_B0_EAST",
]


@pytest.mark.parametrize(
    "lines, found",
    [
        (MEMORY, None),
        ([line for line in MEMORY if "DI1MUX" not in line], "written with what B is"),
        ([line for line in MEMORY if "_WE." not in line], "written by WE, which nothing drives"),
        ([*MEMORY, "CLBLM_R_X3Y7.SLICEM_X0.WEMUX.CE"], "written by CE, which nothing drives"),
    ],
    ids=["as asked", "data", "nothing enables", "another enables"],
)
def test_what_a_memory_is_written_with(lines, found):
    pins = {"DI1": [3], "O6": [4]}
    cells = {
        "ram": cell("SLICE_LUTX", "SLICE_X4Y7/A6LUT", pins, ["O6"], X_ORIG_TYPE="RAMD64E"),
        "lut": cell("SLICE_LUTX", "SLICE_X8Y7/A6LUT", {"O6": [3]}, ["O6"]),
    }
    del cells["lut"]["attributes"]["NEXTPNR_BEL"]
    texts = differences({"cells": {}}, {"cells": cells}, "\n".join(lines), SITES)
    assert [found in text for text in texts] == ([] if found is None else [True])


def test_one_bit_of_a_memory():
    lines = [line.replace("RAMB18_Y0.INIT_00[255:0] = 256'b1", "RAMB18_Y0.INIT_00[255:0] = 256'b0") for line in FASM]
    (found,) = compare(lines)
    assert found == "RAMB36E1 ram at RAMB36_X1Y0, half 0: INIT_01 differs"


def test_sites_of_the_grid(tmp_path):
    grid = {"CLBLM_R_X3Y7": {"sites": {"SLICE_X4Y7": "SLICEM"}}, "NULL_X0Y0": {"sites": {}}}
    (tmp_path / "tilegrid.json").write_text(json.dumps(grid))
    assert sites_of(tmp_path / "tilegrid.json") == {"SLICE_X4Y7": ("CLBLM_R_X3Y7", "SLICEM")}
