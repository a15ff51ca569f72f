# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: every error cause, stray accesses, resets at any time; and a correct run after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError, DeviceTimeout
from codenet.isa import DESCRIPTOR_BYTES, DepthwiseOp, ErrorCause
from codenet.registers import BY_NAME, IDENTITY
from codenet.runtime.accelerator import Accelerator
from sim.timing import DramTiming
from sim.verilator.board import PORT0_READ, PORT0_WRITE, PORT1_READ, READ, WRITE, RtlDevice
from tests.networks import network, random_image
from tests.rtl import SECONDS, compare, load_step, reset, run_step, start, status
from tests.steps import Step, random_step

SMALL = AcceleratorConfig.small()


@pytest.fixture
def device() -> Iterator[RtlDevice]:
    with RtlDevice(SMALL, DramTiming(jitter=20, stall=0.1, seed=3)) as opened:
        yield opened


@pytest.fixture(scope="module")
def step() -> Step:
    return random_step(SMALL, 12, 11, 2, op=DepthwiseOp.MAC, dilated=True, chunks=4, seed=7)


def expect_error(device: RtlDevice, cause: ErrorCause, index: int = 0) -> None:
    """The program stops with this cause; only a reset helps."""
    start(device)
    device.wait(SECONDS)
    assert (status(device, "error"), status(device, "done")) == (1, 0)
    assert (ErrorCause(status(device, "cause")), status(device, "step")) == (cause, index)
    start(device)
    device.board.run(500, until_interrupt=False)
    assert status(device, "cause") == cause, "a start was obeyed after an error"


def recover(device: RtlDevice, limit: int = 2000) -> None:
    reset(device)
    for _ in range(limit):
        if not status(device, "busy"):
            break
    else:
        raise AssertionError("reset did not end")
    assert (status(device, "error"), status(device, "cause")) == (0, 0)


@pytest.mark.parametrize("fields", [{"magic": 0xC0AA}, {"magic": 0xDE}, {"version": 255}], ids=str)
def test_bad_descriptor(device, step, fields):
    memory = load_step(device, step.replace(**fields))
    expect_error(device, ErrorCause.BAD_DESCRIPTOR)
    assert np.array_equal(memory[DESCRIPTOR_BYTES:], step.memory[DESCRIPTOR_BYTES:]), "a bad step wrote something"
    recover(device)
    run_step(device, step, SMALL)


@pytest.mark.parametrize("bit", [5, 8 * 40, 8 * DESCRIPTOR_BYTES - 1])
def test_damaged_descriptor(device, step, bit):
    memory = load_step(device, step)
    memory[bit // 8] ^= 1 << bit % 8
    expect_error(device, ErrorCause.DAMAGED)
    assert np.array_equal(memory[DESCRIPTOR_BYTES:], step.memory[DESCRIPTOR_BYTES:]), "a damaged step wrote something"
    recover(device)
    run_step(device, step, SMALL)


@pytest.mark.parametrize("byte", [0, 9, -1])
def test_damaged_parameters(device, step, byte):
    """In the input table, the output table, the last weights: the step does not begin."""
    memory = load_step(device, step)
    start, size = step.descriptor.parameter_address, 8 * step.descriptor.parameter_beats
    memory[start : start + size][byte] ^= 0x40
    damaged = memory.copy()
    expect_error(device, ErrorCause.DAMAGED)
    assert np.array_equal(memory, damaged), "a damaged step wrote something"
    recover(device)
    run_step(device, step, SMALL)


@pytest.mark.parametrize("damaged", [0, 3, 7])
def test_the_step_that_failed_is_named(device, damaged):
    program = compile_graph(network(32), SMALL)
    with Accelerator(device, program) as accelerator:
        accelerator.memory[program.program_offset + DESCRIPTOR_BYTES * damaged + 40] ^= 1
        with pytest.raises(DeviceError, match=f"step {damaged}.*DAMAGED"):
            accelerator.run(random_image(32, 32, 1))
        assert status(device, "step") == damaged


def test_parameter_block_of_wrong_length_is_a_bad_descriptor(device, step):
    load_step(device, step.replace(parameter_beats=step.descriptor.parameter_beats + 1))
    expect_error(device, ErrorCause.BAD_DESCRIPTOR)
    recover(device)
    run_step(device, step, SMALL)


def parameters(step: Step) -> tuple[int, int, int]:
    return step.descriptor.parameter_address + 8 * step.descriptor.parameter_beats - 8, 8, READ


def descriptor(step: Step) -> tuple[int, int, int]:
    return 0, 8, READ


def inputs(step: Step) -> tuple[int, int, int]:
    first = int(step.memory[step.descriptor.parameter_address :][:4].view("<u4")[0])
    return first + step.descriptor.row_pitch, 8, READ


def outputs(step: Step) -> tuple[int, int, int]:
    return step.outputs[1] + 64, 8, WRITE


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        (descriptor, ErrorCause.PARAMETER_READ),
        (parameters, ErrorCause.PARAMETER_READ),
        (inputs, ErrorCause.INPUT_READ),
        (outputs, ErrorCause.OUTPUT_WRITE),
    ],
    ids=["descriptor", "parameters", "input", "output"],
)
def test_bus_error(device, step, place: Callable[[Step], tuple[int, int, int]], cause):
    load_step(device, step)
    offset, size, kind = place(step)
    device.board.fault(device.read(BY_NAME["BASE_ADDRESS"].offset) + offset, size, kind)
    expect_error(device, cause)
    device.board.fault(0, 0, 0)
    recover(device)
    run_step(device, step, SMALL)


@pytest.mark.parametrize("channel", [PORT0_READ, PORT1_READ, PORT0_WRITE], ids=["input", "parameters", "output"])
def test_hanging_memory_is_a_watchdog_error(device, step, channel):
    load_step(device, step)
    device.board.halt(channel)
    expect_error(device, ErrorCause.WATCHDOG)
    reset(device)
    device.board.run(5000, until_interrupt=False)
    assert status(device, "busy"), "a reset ended while bus transfers were outstanding"
    device.board.halt(0)
    recover(device)
    run_step(device, step, SMALL)


def test_reset_at_any_time(device, step):
    """Resets while descriptor, parameters, inputs and outputs are on the bus; each leads to idle, and then all is
    right.
    """
    load_step(device, step)
    start(device)
    begin = device.board.cycles
    device.wait(SECONDS)
    duration = device.board.cycles - begin
    rng = np.random.default_rng(1)
    for when in sorted(rng.integers(1, duration, 40).tolist()):
        load_step(device, step)
        start(device)
        device.board.run(when, until_interrupt=False)
        recover(device)
        device.board.run(300, until_interrupt=False)
        assert device.board.violation == ""
        run_step(device, step, SMALL)


def test_start_is_ignored_while_busy(device, step):
    memory = load_step(device, step)
    start(device)
    device.board.run(700, until_interrupt=False)
    start(device)
    device.write(BY_NAME["BASE_ADDRESS"].offset, 0x7000_0000)
    device.wait(SECONDS)
    compare(device, step, memory, SMALL)
    device.board.run(2000, until_interrupt=False)
    assert status(device, "done")
    assert device.board.steps == 1


def test_stray_access_names_the_address(device, step):
    load_step(device, step)
    device.write(BY_NAME["BASE_ADDRESS"].offset, 0x2000_0000)
    start(device)
    with pytest.raises(DeviceError, match=r"port 1 read: 128 bytes at 0x20000000 lie outside .* step 0"):
        device.wait(SECONDS)


def test_write_outside_the_outputs_is_noticed(device, step):
    load_step(device, step)
    device.board.forbid(device.read(BY_NAME["BASE_ADDRESS"].offset) + step.outputs[0])
    start(device)
    with pytest.raises(DeviceError, match="port 0 write: .* lie outside"):
        device.wait(SECONDS)


def test_wait_without_start_times_out(device):
    device.write(BY_NAME["IRQ_ENABLE"].offset, 1)
    with pytest.raises(DeviceTimeout, match="no interrupt after .* step 0, cause NONE"):
        device.wait(1e-4)


def test_wait_polls_when_the_interrupt_is_disabled(device, step):
    memory = load_step(device, step)
    device.write(BY_NAME["IRQ_ENABLE"].offset, 0)
    start(device)
    device.wait(SECONDS)
    compare(device, step, memory, SMALL)


def test_registers_and_buffers(device):
    assert device.read(BY_NAME["IDENTITY"].offset) == IDENTITY
    first, second = device.allocate(100), device.allocate(1)
    assert first.address % 128 == 0 and second.address % 128 == 0
    assert second.address - first.address > 100
    assert not first.array.any()
    first.close()
    first.close()
    with pytest.raises(DeviceError, match="buffer of .* bytes of simulated memory are left"):
        device.allocate(1 << 40)
    device.close()
    device.close()
