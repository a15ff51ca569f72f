"""The simulated board: the accelerator's Verilog in Verilator, as a device of the runtime."""

from sim.verilator.board import CLOCK_HZ, GUARD_BYTES, MEMORY_BASE, MEMORY_BYTES, Board, RtlDevice

__all__ = ["Board", "CLOCK_HZ", "GUARD_BYTES", "MEMORY_BASE", "MEMORY_BYTES", "RtlDevice"]
