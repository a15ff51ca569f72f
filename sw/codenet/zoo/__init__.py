"""The programs that ship with the runtime."""

from pathlib import Path

__all__ = ["DEFAULT_PROGRAM", "ZOO"]

ZOO = Path(__file__).parent
"""Compiled detectors, and the bitstream if one is shipped."""

DEFAULT_PROGRAM = ZOO / "codenet-a.cdn"
