# SPDX-License-Identifier: Apache-2.0
"""The runtime as a wheel: what a board gets."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from codenet.checkout import ROOT
from codenet.errors import CodenetError


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build ``codenet-*.whl`` of a ``source`` tree into ``folder``, emptied first, without the network; returns its
    path.

    Raises
    ------
    CodenetError
        With what pip said.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(source / "build" / "lib", ignore_errors=True)  # Modules deleted since would come along.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("codenet-*.whl"))
    if result.returncode or len(wheels) != 1:
        raise CodenetError(f"building the wheel failed: {result.stderr.strip() or wheels}")
    return wheels[0]
