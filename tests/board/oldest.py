# SPDX-License-Identifier: Apache-2.0
"""The runtime's tests with the oldest Python, NumPy and Pillow that it supports: those of Ubuntu 22.04, on which PYNQ
3.0.1 is built.

``python -m tests.board.oldest PYTHON3.10``, also ``make test-oldest``. Makes an environment in build/oldest, installs
the wheel into it, and runs ``tests/codenet`` there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from codenet.checkout import ROOT
from hw.flow.wheel import build_wheel

BUILD = ROOT / "build" / "oldest"
PACKAGES = ("numpy==1.21.5", "pillow==9.0.1", "pytest", "pytest-timeout", "hypothesis")

SETTINGS = f"""\
[pytest]
pythonpath = {ROOT}
addopts = --import-mode=importlib
markers = slow: not run here
cache_dir = {BUILD}/pytest
timeout = 900
"""


def make_environment(interpreter: str) -> str:
    """Path of the environment's Python."""
    python = BUILD / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", str(BUILD / "venv")], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(build_wheel(BUILD / "wheel"))], check=True)
    return str(python)


def main(interpreter: str) -> int:
    if shutil.which(interpreter) is None:
        print(
            f"test-oldest: {interpreter} is not on this system; name one: make test-oldest PYTHON310=...",
            file=sys.stderr,
        )
        return 2
    version = subprocess.run([interpreter, "-V"], capture_output=True, text=True).stdout.strip()
    if not version.startswith("Python 3.10."):
        print(f"test-oldest: {interpreter} is {version or 'no Python'}, expected Python 3.10", file=sys.stderr)
        return 2
    python = make_environment(interpreter)
    settings = BUILD / "pytest.ini"
    settings.write_text(SETTINGS)
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(settings),
        "--rootdir",
        str(ROOT),
        "-m",
        "not slow",
        "tests/codenet",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
