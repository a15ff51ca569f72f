# SPDX-License-Identifier: Apache-2.0
"""Pictures of the documentation: up to date, well-formed, and of the hardware as it is."""

from xml.etree import ElementTree

import pytest
from amaranth.hdl import Fragment

from codenet.checkout import ROOT
from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from sim.pictures.__main__ import PICTURES
from sim.pictures.block_diagram import ARROWS, BLOCKS
from sim.pictures.waveform import Trace, draw


@pytest.mark.parametrize("name", PICTURES)
def test_up_to_date(name):
    text = PICTURES[name]()
    ElementTree.fromstring(text)
    assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is out of date: make pictures"


def test_blocks_are_the_components():
    """Every submodule of the accelerator is in the diagram, registers of streams aside, and nothing that is none."""
    fragment = Fragment.get(Accelerator(AcceleratorConfig.small()), None)
    names = {name for _, name, _ in fragment.subfragments if name}
    assert {block.name for block in BLOCKS.values() if block.name} == names - {"entrance", "results"}
    assert {end for arrow in ARROWS for end in arrow.split()} == set(BLOCKS)


def test_waveform_by_hand():
    text = draw("a & b", [Trace("bit", [0, 1, 1]), Trace("value", [7, 7, 9], wide=True)])
    assert "a &amp; b" in text and text.count(">7<") == 1 and text.count(">9<") == 1
    # Low for a cycle, then high for two.
    assert "M96 62h24L120 44h24L144 44h24" in text
