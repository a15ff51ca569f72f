"""A compiled network: what lies in memory, the program file (``.cdn``), and the table of its steps for people."""

from codenet.program.program import (
    FILE_MAGIC,
    FILE_VERSION,
    InputLayout,
    PlacedTensor,
    Program,
    array_cycles,
    peak_threshold,
)

__all__ = ["FILE_MAGIC", "FILE_VERSION", "InputLayout", "PlacedTensor", "Program", "array_cycles", "peak_threshold"]
