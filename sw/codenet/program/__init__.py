# SPDX-License-Identifier: Apache-2.0
"""A compiled network: what lies in memory, the program file (``.cdn``), and the table of its steps for people."""

from codenet.program.file import FILE_MAGIC, FILE_VERSION
from codenet.program.memory import InputLayout, PlacedTensor
from codenet.program.program import Program, peak_threshold
from codenet.program.table import array_cycles

__all__ = ["FILE_MAGIC", "FILE_VERSION", "InputLayout", "PlacedTensor", "Program", "array_cycles", "peak_threshold"]
