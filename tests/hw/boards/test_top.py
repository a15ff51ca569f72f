# SPDX-License-Identifier: Apache-2.0
"""The boards' Verilog, processor block included, as tools get it: ports against Yosys' library, lint, and programs in
simulation.
"""

from __future__ import annotations

import re
import subprocess

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.devices import open_device
from codenet.isa import DepthwiseOp
from codenet.registers import BY_NAME, IDENTITY, PROFILE_WORDS, config_registers
from codenet.runtime.accelerator import Accelerator
from hw.axi.processor_port import DECERR, FIXED, INCR, OKAY, SLVERR
from hw.boards.ps7 import PS7
from hw.boards.ps8 import PS8
from hw.boards.reset import STAGES
from hw.boards.ultra96 import Ultra96
from hw.boards.zynq_7020 import Zynq7020
from sim import testbench as bench
from sim.testbench.cocotb_device import memory_for
from sim.timing import DramTiming
from sim.verilator.library import environment
from tests.board.axi import Burst
from tests.board.processor import ProcessorDevice, build, small_top, stand_in
from tests.netlist.cells import primitive_ports
from tests.networks import network, random_image
from tests.rtl import run_step
from tests.steps import random_step

BOARDS = {"pynq_z2": Zynq7020, "ultra96": Ultra96}
SMALL = AcceleratorConfig.small()


@pytest.mark.parametrize("system", [PS7, PS8], ids=["PS7", "PS8"])
def test_ports_are_the_primitives(system):
    """Name, direction and width of every port in use; and of an AXI port in use, no input is left out."""
    primitive = primitive_ports(system.cell)
    assert {name: primitive.get(name) for name in system.ports} == dict(system.ports)
    prefixes = (system.registers_port, *system.memory_ports)
    inputs = {name for name, (direction, _) in primitive.items() if direction == "i" and name.startswith(prefixes)}
    assert inputs - set(system.ports) == set()


@pytest.mark.parametrize("system", [PS7, PS8], ids=["PS7", "PS8"])
def test_registers_bridge_has_the_widths_of_the_block(system):
    primitive, port = primitive_ports(system.cell), system.registers_signature
    found = (port.address_width, port.id_width, port.len_width)
    assert found == tuple(primitive[f"{system.registers_port}{name}"][1] for name in ("ARADDR", "ARID", "ARLEN"))


def test_primitives_ports_are_read_whole():
    """The helper above: counts and examples from the vendor's description of the block."""
    ports = primitive_ports("PS7")
    assert len(ports) == 620
    assert ports["MAXIGP0ARID"] == ("o", 12) and ports["IRQF2P"] == ("i", 20) and ports["MIO"] == ("io", 54)


@pytest.fixture(scope="module", params=["pynq_z2", pytest.param("ultra96", marks=pytest.mark.slow)])
def board(request):
    """Name, top, and its Verilog with the processor's stand-in."""
    top = small_top(BOARDS[request.param])
    return request.param, top, top.verilog(request.param) + stand_in(top.system)


LINT = ("PINNOTFOUND", "WIDTHEXPAND", "WIDTHTRUNC", "IMPLICIT", "MULTIDRIVEN", "LATCH", "SYNCASYNCNET")


def lint(text: str, name: str, folder) -> list[str]:
    """What Verilator warns of, of widths only those at ports of instances: Amaranth leaves the widening of operands to
    the language.
    """
    (folder / "top.v").write_text(text)
    command = [
        "verilator",
        "--lint-only",
        "-Wno-lint",
        *(f"-Wwarn-{kind}" for kind in LINT),
        "--top-module",
        name,
        "top.v",
    ]
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    lines = [line for line in result.stderr.splitlines() if re.match(r"%(Warning|Error)(-\w+)?: top\.v", line)]
    return [line for line in lines if "WIDTH" not in line or "pin connection" in line]


def test_lint(board, tmp_path):
    name, _, text = board
    assert lint(text, name, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (r"\.MAXIGP0ARADDR\(", ".MAXIGP0ARADR(", "PINNOTFOUND"),
        (r"\.IRQF2P\([^)]*\)", ".IRQF2P(20'h0 == 0)", "WIDTHEXPAND"),
    ],
)
def test_lint_sees_wrong_ports(tmp_path, board, old, new, warning):
    name, _, text = board
    text, count = re.subn(old, new, text)
    if not count:
        pytest.skip(f"{name} has no such port")
    assert count == 1
    assert warning in "".join(lint(text, name, tmp_path))


def test_top(board):
    name, top, text = board
    bench.simulate(build(top, name, text), name, __file__, board=name)


# ----------------------------------------------------------------------------------------------------------------
# cocotb
async def _boot(dut, memory_bytes=1 << 20, timing=None):
    top = small_top(BOARDS[bench.parameter("board")])
    return await ProcessorDevice.boot(dut, top.system, top.base, memory_bytes, timing), top


@cocotb.test()
async def check_registers_by_bursts(dut):
    """Identity and configuration in one burst; a FIXED burst takes a profile's counters one after the other; errors
    beside the block.
    """
    device, top = await _boot(dut)
    base, master = top.base, device.master
    words = config_registers(SMALL)
    answers = await master.read(Burst(base, 5, 2, INCR, ident=0xABC))
    found = {4 * n: answer.data for n, answer in enumerate(answers)}
    assert found[0] == IDENTITY
    assert {name: found[BY_NAME[name].offset] for name in words} == words
    assert {(a.ident, a.response) for a in answers} == {(0xABC, OKAY)}

    index = BY_NAME["PROFILE_INDEX"].offset
    await master.write(Burst(base + index, 1, 2, INCR), [(0, 15)])
    await master.read(Burst(base + BY_NAME["PROFILE_DATA"].offset, PROFILE_WORDS, 2, FIXED))
    (answer,) = await master.read(Burst(base + index, 1, 2, INCR))
    assert answer.data == PROFILE_WORDS

    scratch = base + BY_NAME["SCRATCH"].offset
    await master.write(Burst(scratch, 1, 2, INCR), [(0x11223344, 15)])
    await master.write(Burst(scratch + 2, 1, 0, INCR), [(0x00AA0000, 4)])
    (answer,) = await master.read(Burst(scratch, 1, 2, INCR))
    assert answer.data == 0x11AA3344
    assert [a.response for a in await master.read(Burst(base + 4096, 2, 2, INCR))] == [DECERR] * 2
    if top.system.cell == "PS8":  # a size of 3 does not fit the two bits of a Zynq-7000
        assert (await master.write(Burst(base, 1, 4, INCR), [(0, 15)]))[1] == SLVERR


@cocotb.test()
async def check_steps(dut):
    """Steps on the board's memory ports, late and irregular, compared byte for byte with the functional model."""
    device, _ = await _boot(dut, timing=DramTiming(latency=9, jitter=30, stall=0.2, seed=12))
    steps = [
        random_step(SMALL, 6, 7, 2, chunks=4, seed=1),
        random_step(SMALL, 7, 6, 2, op=DepthwiseOp.MAC, dilated=True, chunks=2, seed=2),
        random_step(SMALL, 8, 8, 1, op=DepthwiseOp.PEAKS, peak_threshold=8000, seed=3),
    ]

    def body():
        for step in steps:
            run_step(device, step, SMALL)

    await bridge(body)()


@cocotb.test()
async def check_program(dut):
    """A whole small detector by the unchanged driver; outputs, peaks and memory equal those of the golden model."""
    program = compiler.compile(
        network(32, channels=(8, 16, 16, 16, 16), units=(1, 1, 1), decoder=(16, 8, 8), head=8), SMALL
    )
    image = random_image(32, 32, seed=5)
    with Accelerator(open_device("golden", SMALL), program) as golden:
        expected = golden.run(image)
        expected_tensors = {role: expected.read(role).copy() for role in expected.tensors}
    device, _ = await _boot(dut, memory_for(program.memory_bytes))

    def body():
        with Accelerator(device, program) as accelerator:
            outputs = accelerator.run(image)
            for role, tensor in expected_tensors.items():
                assert np.array_equal(outputs.read(role), tensor), role
            assert np.array_equal(outputs.peaks, expected.peaks)
            assert outputs.cycles > 0

    await bridge(body)()


@cocotb.test()
async def check_reset(dut):
    """A burst in the middle is forgotten, registers are as new, and the next accesses are answered."""
    device, top = await _boot(dut)
    scratch = BY_NAME["SCRATCH"].offset

    await bridge(device.write)(scratch, 77)
    assert await bridge(device.read)(scratch) == 77
    await device.master.send_address("aw", Burst(top.base + scratch, 4, 2, INCR))
    await device.master.send_data([(5, 15)])
    await RisingEdge(device.pins.clk)
    device.reset_n(0)
    await ClockCycles(device.pins.clk, 5)
    device.reset_n(1)
    await ClockCycles(device.pins.clk, STAGES + 2)
    assert await bridge(device.read)(scratch) == 0
    await bridge(device.write)(scratch, 78)
    assert await bridge(device.read)(scratch) == 78
