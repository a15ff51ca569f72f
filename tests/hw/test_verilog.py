# SPDX-License-Identifier: Apache-2.0
"""The Verilog that tools read: port names, directions, sizes, constants."""

from __future__ import annotations

import re

import pytest

from codenet.config import AcceleratorConfig
from hw import verilog


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("verilog") / "small.v"
    verilog.main(["--small", "-o", str(path)])
    return path.read_text()


@pytest.fixture(scope="module")
def ports(text):
    """Direction and width by name, of module ``codenet``."""
    body = re.search(r"^module codenet\(.*?^endmodule", text, re.S | re.M)
    assert body
    found = {}
    for direction, high, name in re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body[0], re.M):
        found[name] = (direction, int(high or 0) + 1)
    return found


def test_ports_have_the_names_of_the_standard(ports):
    expected = {
        "aclk": ("input", 1),
        "aresetn": ("input", 1),
        "irq": ("output", 1),
        "s_axi_awaddr": ("input", 12),
        "s_axi_awprot": ("input", 3),
        "s_axi_wstrb": ("input", 4),
        "s_axi_rdata": ("output", 32),
        "s_axi_bvalid": ("output", 1),
        "s_axi_bresp": ("output", 2),
        "s_axi_rresp": ("output", 2),
        "m_axi0_araddr": ("output", 32),
        "m_axi0_arlen": ("output", 4),
        "m_axi0_rdata": ("input", 64),
        "m_axi0_rready": ("output", 1),
        "m_axi0_wstrb": ("output", 8),
        "m_axi0_bresp": ("input", 2),
        "m_axi1_arvalid": ("output", 1),
        "m_axi1_rlast": ("input", 1),
    }
    assert {name: ports.get(name) for name in expected} == expected
    assert not any("__" in name for name in ports)
    assert not any(name.startswith("m_axi1_aw") for name in ports), "port 1 only reads"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (f"{channel}{field}", value)
            for channel in ("m_axi0_ar", "m_axi0_aw", "m_axi1_ar")  # Port 1 only reads.
            for field, value in (("id", 0), ("size", 3), ("burst", 1), ("lock", 0), ("cache", 3), ("prot", 0))
        ),
        ("m_axi0_wid", 0),
    ],
)
def test_constant_fields(text, ports, name, value):
    """One ID; 8 bytes a beat, incrementing; normal, unprivileged, secure data (ARM IHI 0022E, A3.4, A4, A7)."""
    assert re.search(rf"assign {name} = {ports[name][1]}'h{value:x};", text)


def test_memories_are_cleared_by_loops(text):
    """Not word by word, which would be most of the text; and every memory is cleared."""
    memories = re.findall(r"^  reg \[\d+:0\] (\S+) \[(\d+):0\];", text, re.M)
    assert len(memories) > 20
    for name, last in memories:
        assert re.search(rf"< {int(last) + 1}; \w+ = \w+ \+ 1\)\n      {re.escape(name)} ?\[", text), name


def test_outputs_option(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(verilog, "generate", lambda config: seen.append(config) or "")
    verilog.main(["--outputs", "24", "-o", str(tmp_path / "deep" / "a.v")])
    assert seen == [AcceleratorConfig(outputs=24)]
    assert (tmp_path / "deep" / "a.v").exists()
