# SPDX-License-Identifier: Apache-2.0
"""The reference pages say what the definitions say."""

import pytest

from codenet.cli.reference import PAGES, _docstrings, isa_page, registers_page
from codenet.isa import FIELDS
from codenet.registers import REGISTERS, ProfileCounter
from tests.paths import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is out of date: run make docs"


def test_every_register_and_field_is_there():
    page = registers_page()
    for register in REGISTERS:
        assert f"| `0x{register.offset:02x}` | `{register.name}` | {register.access} |" in page
        for field in register.fields:
            assert f"| `{field.name}` | {field.description} |" in page


def test_every_descriptor_field_is_there():
    page = isa_page()
    for field in FIELDS:
        assert f"| {field.word} | " in page and f"| `{field.name}`" in page


def test_texts_of_enumerations_are_found():
    texts = _docstrings(ProfileCounter)
    assert texts["DRAIN"] == "All vectors taken; results are being written."
    assert "WRITE_BEATS" not in texts
