# SPDX-License-Identifier: Apache-2.0
"""Whole accelerator under cocotb: the same driver code as on the shared-library board, another simulation around it."""

from __future__ import annotations

import cocotb
from cocotb.task import bridge

from codenet.config import AcceleratorConfig
from codenet.registers import BY_NAME, IDENTITY
from hw.verilog import NAME
from sim import testbench as bench
from sim.testbench import cocotb_device
from sim.testbench.cocotb_device import CocotbDevice
from sim.timing import DramTiming
from tests.rtl import reset, run_step, status
from tests.steps import various_steps

SMALL = AcceleratorConfig.small()


def test_accelerator_under_cocotb():
    bench.simulate(cocotb_device.build(SMALL), NAME, __file__)


@cocotb.test()
async def check_registers(dut):
    device = await CocotbDevice.open(dut, 1 << 16)

    def body():
        assert device.read(BY_NAME["IDENTITY"].offset) == IDENTITY
        device.write(BY_NAME["SCRATCH"].offset, 0xCAFE0123)
        assert device.read(BY_NAME["SCRATCH"].offset) == 0xCAFE0123
        reset(device)
        while status(device, "busy"):
            pass

    await bridge(body)()


@cocotb.test()
async def check_steps(dut):
    """Steps one after the other, memory late and irregular; the accelerator is not reset between them."""
    timing = DramTiming(latency=9, jitter=40, stall=0.2, seed=11)
    device = await CocotbDevice.open(dut, 1 << 20, timing)

    def body():
        for step in various_steps(SMALL):
            run_step(device, step, SMALL)

    await bridge(body)()
