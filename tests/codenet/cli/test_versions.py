# SPDX-License-Identifier: Apache-2.0
"""A program of another release, given to any command that takes one: one line that says what to do."""

import pytest

from codenet import cli
from codenet.isa import ISA_VERSION
from tests.paths import ROOT

PHOTO = str(ROOT / "docs/photos/chelsea.jpg")
COMMANDS = {
    "detect": ["detect", PHOTO, "--program", "PROGRAM"],
    "live": ["live", PHOTO, "--program", "PROGRAM"],
    "benchmark": ["benchmark", "--program", "PROGRAM"],
    "verify": ["verify", "PROGRAM", PHOTO],
    "info": ["info", "PROGRAM"],
    "doctor": ["doctor", "--device", "golden", "--program", "PROGRAM"],
}


@pytest.mark.parametrize("version", [ISA_VERSION + 1, ISA_VERSION - 1])
@pytest.mark.parametrize("command", COMMANDS)
def test_program_of_another_isa(program, tmp_path, capsys, command, version):
    data = bytearray(program.read_bytes())
    data[12:16] = version.to_bytes(4, "little")
    path = tmp_path / "other.cdn"
    path.write_bytes(data)
    assert cli.main([str(path) if word == "PROGRAM" else word for word in COMMANDS[command]]) == 2
    later = version > ISA_VERSION
    expected = (
        f"{path}: descriptor version {version}{', of a later release' if later else ''}: expected {ISA_VERSION}; "
    )
    expected += (
        "install that release and its bitstream, or compile the graph with this one"
        if later
        else "compile the graph again"
    )
    assert capsys.readouterr().err == f"codenet: error: {expected}\n"
