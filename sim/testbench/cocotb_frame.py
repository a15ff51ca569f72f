# SPDX-License-Identifier: Apache-2.0
"""The cocotb half of ``sim.run --via cocotb``: one frame, then the result goes back in a file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cocotb
from cocotb.task import bridge

from codenet.graph import Graph
from codenet.program import Program
from sim.frame import Result, run_frame
from sim.testbench.cocotb_device import CocotbDevice, memory_for
from sim.testbench.runner import parameter


@cocotb.test()
async def check_frame(dut: Any) -> None:
    """Parameters as :func:`sim.run.run_cocotb` gives them."""
    folder = Path(parameter("workspace"))
    graph, program = Graph.load(folder / "graph.cdg"), Program.load(folder / "program.cdn")
    device = await CocotbDevice.open(dut, memory_for(program.memory_bytes))

    def body() -> Result:
        photo, name, threshold = (parameter(key) for key in ("photo", "name", "threshold"))
        return run_frame(device, program, graph, Path(photo), name=name, threshold=threshold)

    result = await bridge(body)()
    (folder / "result").write_bytes(pickle.dumps(result))
