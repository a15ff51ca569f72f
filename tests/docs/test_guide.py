# SPDX-License-Identifier: Apache-2.0
"""The board guide's troubleshooting has the messages that the programs really give, and its commands exist."""

import re

import pytest

from codenet.checkout import ROOT
from codenet.cli import command as cli
from hw.flow import flash

GUIDE = (ROOT / "docs" / "board.md").read_text(encoding="utf-8")
PYNQ = ROOT / "sw" / "codenet" / "devices" / "pynq"


def sources():
    """Text of the programs, strings that go on in the next line joined."""
    files = [*(ROOT / "sw" / "codenet").rglob("*.py"), ROOT / "hw" / "flow" / "flash.py"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def messages():
    """Code spans in the first column of the troubleshooting."""
    section = GUIDE.partition("## When something is wrong")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return [span for row in rows for span in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", messages())
def test_message_is_one_that_is_given(message):
    if "pynq" in message.lower() or "overlay" in message:
        if not PYNQ.exists():
            pytest.skip("this checkout has no device pynq")
    text = sources()
    for part in re.split(r"<[^>]+>", message):
        part = part.strip().replace("s: ", "")
        assert part in text, f"nothing says {part!r}"


def test_table_is_not_empty():
    assert len(messages()) > 30


def commands(name):
    return re.findall(rf"^ *(?:.venv/bin/)?{name} (.*?)(?:\s+#.*)?$", GUIDE, re.MULTILINE)


def test_commands_exist():
    found = [command.split() for command in commands("codenet")]
    assert len(found) >= 4
    known = cli._parser().format_help()
    for command in found:
        if command[0] == "doctor" and "doctor" not in known:
            continue  # This checkout has none.
        cli._parser().parse_args(command)


def test_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in {word for words in re.findall(r"`make ([a-z0-9-]+)", GUIDE) for word in words.split()} - {
        "bitstream"
    }:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_variables_of_flashing_exist():
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "hw.flow.flash" in line]
    for variable in re.findall(r"^\| `([A-Z]+)=", GUIDE, re.MULTILINE):
        assert f"$({variable}" in line, variable
    with pytest.raises(SystemExit) as stop:
        flash.main(["--help"])
    assert stop.value.code == 0


def test_python_in_the_guide_is_python():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    compile(code, "docs/board.md", "exec")


def test_files_that_are_named_exist():
    for name in re.findall(r"`((?:tests|hw|sw)/[\w/.]+)`", GUIDE):
        assert (ROOT / name).exists(), name
