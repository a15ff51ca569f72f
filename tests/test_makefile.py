# SPDX-License-Identifier: Apache-2.0
"""The Makefile says what a system lacks, and sets up what pyproject.toml asks for."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[1]
NEEDED = ("python3.11", "g++", "make", "perl")


def check_system(path: Path) -> subprocess.CompletedProcess:
    environment = {"PATH": str(path)}
    return subprocess.run(["make", "check-system"], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture
def programs(tmp_path):
    """A folder with all that the check itself runs and looks for."""
    for name in ("bash", "make", *NEEDED):
        found = sys.executable if name == "python3.11" else shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not on this system")
        if not (tmp_path / name).exists():
            # Not a link: a launcher may look at its own place.
            (tmp_path / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
            (tmp_path / name).chmod(0o755)
    shutil.copy("/bin/sh", tmp_path / "sh")
    return tmp_path


def test_complete_system(programs):
    result = check_system(programs)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["python3.11", "g++", "perl"])
def test_missing_program_is_named_with_its_package(programs, name):
    (programs / name).unlink()
    result = check_system(programs)
    assert result.returncode != 0
    others = [other for other in NEEDED if other != name]
    assert re.search(
        rf"^  {re.escape(name)} \(Debian, Ubuntu: apt install {re.escape(name)}", result.stderr, re.MULTILINE
    )
    assert not any(f"  {other} (" in result.stderr for other in others)


def test_python_without_venv(programs):
    (programs / "python3.11").write_text("#!/bin/sh\nexit 1\n")
    assert "apt install python3.11-venv" in check_system(programs).stderr


def test_requirements_cover_what_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + extras["sim"] + extras["models"] + extras["teacher"] + extras["dev"]
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    for requirement in declared:
        name, version = re.match(r"([\w-]+)(?:==(\S+))?", requirement).groups()
        assert name in pinned, f"{name} is not in requirements.txt"
        assert version in (None, pinned[name])
