# SPDX-License-Identifier: Apache-2.0
"""Known defects of nextpnr's writer, from features with and without them."""

from __future__ import annotations

import pytest

from hw.flow.fasm import DSP_CONSTANTS, count_slices, defects

SLICE = ["DSP_L_X64Y115.DSP48.DSP_1.AREG_2", "DSP_L_X64Y115.DSP48.DSP_1.MASK[45:0] = 46'b11"]
TIES = [f"DSP_L_X64Y115.DSP_1_{pin}.DSP_GND_L" for pin in DSP_CONSTANTS]
MEMORY = ["BRAM_R_X37Y90.RAMB18_Y1.IN_USE", "BRAM_R_X37Y90.RAMB18_Y1.SDP_READ_WIDTH_36"]
WIDTH = ["BRAM_R_X37Y90.RAMB18_Y1.READ_WIDTH_B_18"]


def test_whole():
    assert defects("\n".join(SLICE + TIES + MEMORY + WIDTH)) == []
    assert defects("") == []


@pytest.mark.parametrize("missing", TIES)
def test_a_pin_of_a_slice_that_nothing_ties_159(missing):
    (text,) = defects("\n".join(SLICE + [tie for tie in TIES if tie != missing]))
    assert text.startswith("DSP48E1 DSP_L_X64Y115.DSP_1 and 0 others") and text.endswith("nextpnr-xilinx#159")


def test_the_ties_of_the_neighbour_do_not_count_159():
    (text,) = defects("\n".join(SLICE + [tie.replace("DSP_1_", "DSP_0_") for tie in TIES]))
    assert "DSP_1" in text


def test_half_a_word_is_read_150():
    (text,) = defects("\n".join(MEMORY))
    assert text.startswith("block RAM BRAM_R_X37Y90.RAMB18_Y1 and 0 others") and text.endswith("nextpnr-xilinx#150")


def test_slices_are_counted_once():
    lines = ["CLBLL_L_X2Y100.SLICEL_X0.ALUT.INIT[63:0] = 64'h1", "CLBLL_L_X2Y100.SLICEL_X0.AFF.ZINI"]
    assert count_slices("\n".join([*lines, "CLBLM_R_X3Y7.SLICEM_X0.ALUT.RAM", "INT_L_X2Y100.EL1BEG0.X"])) == 2
