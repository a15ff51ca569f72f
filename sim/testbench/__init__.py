# SPDX-License-Identifier: Apache-2.0
"""Test benches in cocotb: streams, memory with latency and back pressure, and the runtime on them."""

from sim.testbench.runner import build_verilog, parameter, run, simulate
from sim.testbench.streams import Sink, Source, cycles, from_int, pack, pauses, reset, to_int

__all__ = [
    "Sink",
    "Source",
    "build_verilog",
    "cycles",
    "from_int",
    "pack",
    "parameter",
    "pauses",
    "reset",
    "run",
    "simulate",
    "to_int",
]
