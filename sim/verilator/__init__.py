# SPDX-License-Identifier: Apache-2.0
"""The simulated board: the accelerator's Verilog in Verilator, as a device of the runtime."""

from sim.verilator.board import GUARD_BYTES, MEMORY_BASE, MEMORY_BYTES, Board, RtlDevice

__all__ = ["Board", "GUARD_BYTES", "MEMORY_BASE", "MEMORY_BYTES", "RtlDevice"]
