# SPDX-License-Identifier: Apache-2.0
"""The golden device at the level of registers and buffers."""

from __future__ import annotations

import numpy as np
import pytest

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.devices import open_device
from codenet.devices.golden import DRAM_BASE, GoldenDevice
from codenet.errors import DeviceError, DeviceTimeout
from codenet.golden import executor, interpreter
from codenet.isa import ISA_VERSION, DepthwiseOp, ErrorCause
from codenet.isa.rules import StepError
from codenet.registers import BY_NAME, IDENTITY, config_from_registers
from codenet.runtime.accelerator import Accelerator
from tests import networks
from tests.steps import Step, random_step

SMALL = AcceleratorConfig.small()
START, RESET = 1, 2


@pytest.fixture
def device() -> GoldenDevice:
    return GoldenDevice(SMALL)


def read(device: GoldenDevice, name: str) -> int:
    return device.read(BY_NAME[name].offset)


def write(device: GoldenDevice, name: str, value: int) -> None:
    device.write(BY_NAME[name].offset, value)


def status(device: GoldenDevice) -> dict[str, int]:
    register = BY_NAME["STATUS"]
    return {field.name: register.extract(read(device, "STATUS"), field.name) for field in register.fields}


def load(device: GoldenDevice, step: Step, *, at: int = 0):
    """A buffer with the step's memory ``at`` bytes from its start, and the registers set for it."""
    buffer = device.allocate(at + step.memory.size)
    buffer.array[at:] = step.memory
    write(device, "BASE_ADDRESS", buffer.address + at)
    write(device, "PROGRAM_OFFSET", 0)
    return buffer


def test_identity_version_and_configuration(device: GoldenDevice) -> None:
    assert read(device, "IDENTITY") == IDENTITY
    assert read(device, "VERSION") == ISA_VERSION
    assert config_from_registers({name: read(device, name) for name in ("CONFIG0", "CONFIG1", "CONFIG2")}) == SMALL


def test_opens_by_name() -> None:
    with open_device("golden", SMALL) as device:
        assert isinstance(device, GoldenDevice)


def test_read_write_registers_keep_their_bits(device: GoldenDevice) -> None:
    write(device, "SCRATCH", 0xDEADBEEF)
    write(device, "BASE_ADDRESS", 0xFFFFFFFF)
    write(device, "IRQ_ENABLE", 0xFFFFFFFF)
    write(device, "IDENTITY", 0)
    assert (read(device, "SCRATCH"), device.read(BY_NAME["SCRATCH"].offset + 3)) == (0xDEADBEEF, 0xDEADBEEF)
    assert read(device, "BASE_ADDRESS") == 0xFFFFFF80
    assert read(device, "IRQ_ENABLE") == 1
    assert read(device, "IDENTITY") == IDENTITY
    assert read(device, "CONTROL") == 0


def test_offsets_without_register(device: GoldenDevice) -> None:
    device.write(0xFFC, 5)
    assert device.read(0xFFC) == 0
    with pytest.raises(DeviceError, match="register offset 0x1000: expected 0 to 0xfff"):
        device.read(0x1000)
    with pytest.raises(DeviceError, match="write of -1 to register SCRATCH: expected 32 bits"):
        write(device, "SCRATCH", -1)


def test_runs_a_program(device: GoldenDevice) -> None:
    step = random_step(SMALL, 4, 5, 2, op=DepthwiseOp.MAC, chunks=2)
    expected = step.memory.copy()
    executor.execute(expected, 0, SMALL)
    buffer = load(device, step, at=256)
    seen = []
    device.on_step = seen.append
    with pytest.raises(DeviceTimeout, match="no program has been started"):
        device.wait(0.0)
    write(device, "CONTROL", START)
    device.wait(1.0)
    assert np.array_equal(buffer.array[256:], expected)
    assert status(device) == {"busy": 0, "done": 1, "error": 0, "cause": 0, "step": 1}
    assert seen == [0]
    assert (read(device, "FRAME_STEPS"), read(device, "FRAME_CYCLES")) == (1, 0)
    assert read(device, "IRQ_STATUS") == 1
    write(device, "IRQ_STATUS", 1)
    assert read(device, "IRQ_STATUS") == 0
    write(device, "CONTROL", RESET)
    assert status(device)["done"] == 0


def test_profile_reads_zeros_and_advances(device: GoldenDevice) -> None:
    write(device, "PROFILE_INDEX", 7)
    assert [read(device, "PROFILE_DATA") for _ in range(3)] == [0, 0, 0]
    assert read(device, "PROFILE_INDEX") == 10


def test_counts_peaks_beyond_the_capacity(device: GoldenDevice) -> None:
    step = random_step(SMALL, 4, 5, 2, op=DepthwiseOp.PEAKS, peak_capacity=2, peak_threshold=-32768)
    load(device, step)
    write(device, "CONTROL", START)
    assert read(device, "PEAK_COUNT") > 2


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ("bit", ErrorCause.DAMAGED),
        ("parameter bit", ErrorCause.DAMAGED),
        ("magic", ErrorCause.BAD_DESCRIPTOR),
        ("length", ErrorCause.BAD_DESCRIPTOR),
        ("base", ErrorCause.PARAMETER_READ),
        ("program", ErrorCause.PARAMETER_READ),
        ("input", ErrorCause.INPUT_READ),
        ("output", ErrorCause.OUTPUT_WRITE),
    ],
)
def test_errors_that_hardware_sees(device: GoldenDevice, damage: str, cause: ErrorCause) -> None:
    good = random_step(SMALL, 3, 3)
    fields = {"length": {"parameter_beats": 3}, "magic": {"magic": 1}}
    step = good.replace(**fields.get(damage, {}))
    table = step.memory[step.descriptor.parameter_address :].view("<u8")
    if damage == "bit":
        step.memory[9] ^= 1
    elif damage == "parameter bit":
        table[1] ^= np.uint64(1)
    elif damage in ("input", "output"):
        table[int(damage == "output")] = 0xFFFFFF80
        step = step.replace()
    load(device, step)
    if damage == "base":
        write(device, "BASE_ADDRESS", 0)
    elif damage == "program":
        write(device, "PROGRAM_OFFSET", 1 << 20)
    write(device, "CONTROL", START)
    device.wait(0.0)
    assert status(device) == {"busy": 0, "done": 0, "error": 1, "cause": cause, "step": 0}
    # Only a reset leads out of the error.
    load(device, good)
    write(device, "CONTROL", START)
    assert status(device)["error"] == 1
    write(device, "CONTROL", RESET)
    assert status(device) == {"busy": 0, "done": 0, "error": 0, "cause": 0, "step": 0}
    write(device, "CONTROL", START)
    assert status(device)["done"] == 1


def test_broken_rules_that_hardware_does_not_see_raise(device: GoldenDevice) -> None:
    load(device, random_step(SMALL, 3, 3).replace(output_width=2))
    with pytest.raises(StepError, match="step 0: output_width = 2: expected 3"):
        write(device, "CONTROL", START)
    assert status(device)["error"] == 1


def test_a_program_does_not_leave_its_buffer(device: GoldenDevice) -> None:
    step = random_step(SMALL, 3, 3)
    table = step.memory[step.descriptor.parameter_address :].view("<u8")
    table[1] = -(-step.memory.size // 128) * 128
    step = step.replace()
    load(device, step)
    neighbour = device.allocate(4096)
    write(device, "CONTROL", START)
    assert status(device)["cause"] == ErrorCause.OUTPUT_WRITE
    assert not neighbour.array.any()


def test_buffers_are_aligned_zeroed_apart_and_used_again(device: GoldenDevice) -> None:
    first, second, third = device.allocate(100), device.allocate(1), device.allocate(128)
    assert [buffer.address - DRAM_BASE for buffer in (first, second, third)] == [0, 128, 256]
    second.array[:] = 1
    second.close()
    second.close()
    assert device.allocate(129).address - DRAM_BASE == 384
    again = device.allocate(128)
    assert again.address - DRAM_BASE == 128 and not again.array.any()


def test_refused_buffers(device: GoldenDevice) -> None:
    device.allocate(100)
    with pytest.raises(DeviceError, match="no room for a buffer of 536870912 bytes: 100 of 536870912 bytes are in use"):
        device.allocate(512 << 20)
    with pytest.raises(DeviceError, match="buffer of 0 bytes: expected at least 1"):
        device.allocate(0)


def test_the_driver_runs_a_network(device: GoldenDevice) -> None:
    """Every tensor of a compiled network, right after its step, equals the graph's; a second frame on the same memory
    too.
    """
    graph = networks.network(64)
    program = compile(graph, SMALL)
    with Accelerator(device, program) as accelerator:
        for seed in (0, 1):
            image = networks.random_image(64, 64, seed)
            expected = interpreter.run(graph, image)
            compared = []

            def on_step(index: int, expected=expected, compared=compared) -> None:
                for tensor in program.tensors:
                    if tensor.step == index:
                        assert np.array_equal(accelerator.tensor(tensor.name), expected[tensor.name]), tensor.name
                        compared.append(tensor.name)

            threshold = int(np.percentile(expected["heatmap"], 90))
            outputs = accelerator.run(image, threshold, on_step=on_step)
            assert len(compared) == len(program.tensors) > 40
            assert np.array_equal(outputs.read("heatmap"), expected["heatmap"])
            assert np.array_equal(outputs.peaks, interpreter.peaks(graph, expected, threshold))
            assert outputs.peaks_found == len(outputs.peaks) > 0
