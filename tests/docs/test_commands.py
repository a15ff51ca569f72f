# SPDX-License-Identifier: Apache-2.0
"""The quick commands of README and docs run, as they stand there; the others at least exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from codenet.checkout import BUILD, ROOT
from codenet.cli import command as cli

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "models" / "README.md",
]

QUICK = (
    "codenet info",
    "codenet doctor",
    "codenet compile models/zoo/codenet-a",
    "codenet plan models/zoo/codenet-a",
    "codenet detect docs/photos/*.jpg",
    "python -m models.qat --help",
    "python -m hw.verilog --small",
)
"""Beginnings of commands that take seconds and need nothing but the checkout."""

SLOW = ("codenet detect docs/photos/*.jpg",)


def commands() -> list[tuple[str, str]]:
    """(page, command) of all indented and fenced blocks, without prompt, comment and the environment's folder."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"^(?:    |\t)(\S.*)$", text, re.MULTILINE)
        lines += [
            line
            for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL)
            for line in block.splitlines()
        ]
        for line in lines:
            # A list of targets has what they do beside them.
            command = re.split(r"\s+#|\s{2,}", line.removeprefix("$ "))[0].replace(".venv/bin/", "").strip()
            if re.match(r"(codenet|python -m|make) [a-z-]", command):
                found.append((page.name, command))
    return found


COMMANDS = commands()


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "sw"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def run(command: str) -> subprocess.CompletedProcess:
    """In a shell, with this interpreter as the environment's."""
    python = shlex.quote(sys.executable)
    main = f"{python} -c 'import sys; from codenet.cli import main; sys.exit(main())'"
    command = re.sub(r"^codenet\b", lambda _: main, re.sub(r"^python\b", lambda _: python, command))
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600
    )


def test_commands_are_found():
    assert len(COMMANDS) > 40
    for beginning in ("codenet detect", "codenet info", "python -m models.qat", "make sim"):
        assert any(command.startswith(beginning) for _, command in COMMANDS), beginning


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command.startswith(SLOW) else ())
        for command in dict.fromkeys(command for _, command in COMMANDS)
        if command.startswith(QUICK) and "build/offsets" not in command
    ],
)
def test_quick_command_runs(command):
    BUILD.mkdir(exist_ok=True)
    result = run(command)
    assert result.returncode in ((0, 1) if "doctor" in command else (0,)), result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize(
    "module", sorted({c.split()[2] for _, c in COMMANDS if c.startswith("python -m")} - {"pytest"})
)
def test_modules_of_commands_exist(module):
    path = ROOT.joinpath(*module.split("."))
    home = next(
        (p for p in (path, ROOT / "sw" / Path(*module.split("."))) if p.with_suffix(".py").exists() or p.is_dir()), None
    )
    assert home is not None, f"python -m {module}"
    assert home.with_suffix(".py").exists() or (home / "__main__.py").exists(), f"python -m {module}: not a command"


def test_codenet_commands_parse():
    for page, command in COMMANDS:
        if command.startswith("codenet "):
            try:
                cli._parser().parse_args(shlex.split(command)[1:])
            except SystemExit as error:
                raise AssertionError(f"{page}: {command}") from error


def test_targets_of_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page, command in COMMANDS:
        if command.startswith("make "):
            for word in command.split()[1:]:
                if re.fullmatch(r"[a-z][a-z0-9-]+", word):
                    assert re.search(rf"^{word}:", makefile, re.MULTILINE), f"{page}: make {word}"
                else:
                    break
