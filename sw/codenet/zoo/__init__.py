# SPDX-License-Identifier: Apache-2.0
"""The programs that ship with the runtime."""

from pathlib import Path

from codenet.errors import FormatError

__all__ = ["DEFAULT_PROGRAM", "ZOO", "shipped_program"]

ZOO = Path(__file__).parent
"""Compiled detectors, and the bitstream if one is shipped."""

DEFAULT_PROGRAM = ZOO / "codenet-a.cdn"


def shipped_program() -> Path:
    """Path of the default program.

    Raises
    ------
    FormatError
        It does not come with this installation.
    """
    if not DEFAULT_PROGRAM.exists():
        raise FormatError(f"no --program given, and {DEFAULT_PROGRAM.name} does not come with this installation")
    return DEFAULT_PROGRAM
