# SPDX-License-Identifier: Apache-2.0
"""The whole netlist of the small array; minutes of synthesis if it isn't kept."""

from __future__ import annotations

import random

import pytest

from codenet.config import AcceleratorConfig
from hw.synthesis.defects import shared_parity
from sim import netlist
from sim.netlist.library import to_rtlil
from tests.netlist.__main__ import Campaign


def block_ram(**pins):
    connections = {"DIPADIP": [4, 5, 6, 7], "DIPBDIP": [8, 9, "x", "x"]} | pins
    return {"type": "RAMB36E1", "parameters": {"RAM_MODE": "SDP"}, "connections": connections}


def test_parity_of_the_lower_half_in_the_upper_5833():
    good, unused = block_ram(), block_ram(DIPADIP=["0"] * 4, DIPBDIP=["0"] * 4)
    bad = block_ram(DIPBDIP=[4, 5, 6, 7])
    other = {"type": "LUT2", "connections": {"I0": [2]}}
    assert shared_parity({"cells": {"good": good, "unused": unused, "other": other}}) == []
    assert shared_parity({"cells": {"good": good, "bad": bad}}) == ["bad"]


@pytest.mark.slow
def test_small_array():
    config = AcceleratorConfig.small()
    campaign = Campaign(netlist.build(to_rtlil(config), "small"), config)
    campaign.steps()
    campaign.detector()
    cells = (campaign.library.parent / "cells").read_text().splitlines()
    lasting = [n for n, cell in enumerate(cells) if not cell.startswith("RAM")]
    faults = random.Random(1).sample(lasting, 10)
    assert sum(campaign.noticed(lut) is not None for lut in faults) >= 3, "a netlist with faults passes"
