# SPDX-License-Identifier: Apache-2.0
"""The accelerator between models of buses that were not written with it: memory, and master of its registers, of
cocotbext-axi. They assert AXI4's rules on bursts and on the last beat, and take an address and its data in any order.
"""

from __future__ import annotations

import itertools
import mmap
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, First, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiRamRead, AxiReadBus

from codenet.config import AcceleratorConfig
from codenet.isa import PLANE_ALIGNMENT, DepthwiseOp
from hw.accelerator import Accelerator
from hw.verilog import NAME, Wrapper, convert
from sim import testbench as bench
from sim.testbench import runner
from tests.rtl import run_step
from tests.steps import Step, random_step, various_steps

SMALL = AcceleratorConfig.small()
BASE, SIZE = 0x1000_0000, 1 << 20
WIDTHS = {"arlen": 8, "awlen": 8, "arlock": 1, "awlock": 1}
"""Of AXI4, where the accelerator's ports are those of AXI3."""


@pytest.mark.parametrize("simulator", [runner.VERILATOR, runner.ICARUS])
def test_axi_memory(simulator):
    """Icarus has undefined values: one that reaches a bus, or what control depends on, is an error."""
    if simulator == runner.ICARUS and not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed (Debian, Ubuntu: apt install iverilog)")
    wrapper = Wrapper(Accelerator(SMALL))
    ports, text = axi4(wrapper)
    folder = runner.build_verilog(convert(wrapper) + text, ports, "axi4", f"axi4-{simulator}", simulator)
    only = "check_steps" if simulator == runner.VERILATOR else "check_small_steps"
    bench.simulate(folder, "axi4", __file__, only=only, simulator=simulator)


def axi4(wrapper: Wrapper) -> tuple[list[str], str]:
    """Names of ports, and Verilog, of a module around the accelerator whose ports are AXI4's."""
    ports, connections, names = [], [], []
    for name, (value, direction) in wrapper.ports.items():
        if name.endswith("_wid"):  # AXI4 has none.
            continue
        width = WIDTHS.get(name.partition("_axi")[2].partition("_")[2], len(value))
        ports.append(f"{direction.value} [{width - 1}:0] {name}")
        connections.append(f".{name}({name})")
        names.append(name)
    body = f"  {NAME} accelerator ({', '.join(connections)});"
    return names, f"\nmodule axi4 ({', '.join(ports)});\n{body}\nendmodule\n"


@dataclass
class Part:
    """Some of the memory."""

    address: int
    array: np.ndarray


class Memory:
    """What :func:`tests.rtl.run_step` needs of a device, on models of cocotbext-axi."""

    name = "cocotbext-axi"

    def __init__(self, dut: Any, pauses: Iterator[Iterator[bool]]) -> None:
        self._dut = dut
        self._memory = mmap.mmap(-1, SIZE)
        self._array = np.frombuffer(self._memory, np.uint8)
        self._next = 0
        clock = (dut.aclk, dut.aresetn, False)
        port0 = AxiRam(AxiBus.from_prefix(dut, "m_axi0"), *clock, size=SIZE, mem=self._memory)
        port1 = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi1"), *clock, size=SIZE, mem=self._memory)
        self._registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), *clock)
        for side, names in ((port0.write_if, ("aw", "w", "b")), (port0.read_if, ("ar", "r")), (port1, ("ar", "r"))):
            for name in names:
                getattr(side, f"{name}_channel").set_pause_generator(next(pauses))

    def read(self, offset: int) -> int:
        return int(resume(self._registers.read_dword)(offset))

    def write(self, offset: int, value: int) -> None:
        resume(self._registers.write_dword)(offset, value)

    def allocate(self, size: int) -> Part:
        first = self._next
        self._next += size + -size % PLANE_ALIGNMENT
        return Part(BASE + first, self._array[first:][:size])

    def restrict(self, *_: object) -> None:
        """All that is written is compared instead."""

    def wait(self, timeout: float) -> None:
        resume(self._wait)()

    async def _wait(self) -> None:
        if not self._dut.irq.value:
            await First(RisingEdge(self._dut.irq), ClockCycles(self._dut.aclk, 100_000))
        assert self._dut.irq.value, "no interrupt within 100000 cycles"


@cocotb.test()
async def check_steps(dut):
    """A step of each kind, one after the other, channels paused at random."""
    steps = [
        *various_steps(SMALL),
        random_step(SMALL, 8, 9, 3, op=DepthwiseOp.MAC, chunks=4, expand=2, seed=6),
        random_step(SMALL, 6, 8, 2, upsample=True, seed=7),
    ]
    await run_steps(dut, steps)


@cocotb.test()
async def check_small_steps(dut):
    """The same kinds on a few pixels."""
    steps = [
        random_step(SMALL, 2, 3, chunks=2, seed=1),
        random_step(SMALL, 3, 2, op=DepthwiseOp.MAC, dilated=True, chunks=2, seed=2),
        random_step(SMALL, 2, 2, op=DepthwiseOp.PEAKS, peak_threshold=-32768, seed=3),
        random_step(SMALL, 3, 3, op=DepthwiseOp.MAX, stride2=True, seed=4),
        random_step(SMALL, 2, 2, full=True, chunks=2, seed=5),
        random_step(SMALL, 2, 2, op=DepthwiseOp.MAC, chunks=2, expand=1, seed=6),
        random_step(SMALL, 2, 4, upsample=True, seed=7),
    ]
    await run_steps(dut, steps)


async def run_steps(dut: Any, steps: list[Step]) -> None:
    """Reset, and run steps without a reset between them; all memory is compared after each."""
    rng = random.Random(1)
    Clock(dut.aclk, 10, "ns").start()
    dut.aresetn.value = 0
    memory = Memory(dut, (bench.pauses(rng, probability) for probability in itertools.cycle((0.0, 0.2, 0.5))))
    await ClockCycles(dut.aclk, 8)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)

    def body():
        for step in steps:
            run_step(memory, step, SMALL)

    await bridge(body)()
