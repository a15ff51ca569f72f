# SPDX-License-Identifier: Apache-2.0
"""Single steps and programs on the simulated board, compared byte for byte with the functional model."""

from __future__ import annotations

import numpy as np

from codenet.config import VECTOR_BYTES, AcceleratorConfig
from codenet.devices import control
from codenet.golden.executor import Counts, execute
from codenet.isa import PEAK_BYTES, DepthwiseOp
from codenet.registers import BY_NAME
from sim.testbench.cocotb_device import CocotbDevice
from sim.verilator.board import RtlDevice
from tests.steps import Step

SimulatedDevice = RtlDevice | CocotbDevice

WATCHDOG_CYCLES = 100_000
SECONDS = 0.02
"""Simulated time that a small step may take: 3 million cycles."""


def load_step(device: SimulatedDevice, step: Step) -> np.ndarray:
    """Put a step into memory, ready to start; the accelerator may write only where its outputs belong.

    Returns
    -------
    View of the device's memory, uint8.
    """
    buffer = device.allocate(len(step.memory))
    buffer.array[:] = step.memory
    d = step.descriptor
    writable = [(offset, VECTOR_BYTES * d.output_pixels) for offset in step.outputs]
    if d.depthwise_op == DepthwiseOp.PEAKS:
        writable.append((d.peak_address, PEAK_BYTES * d.peak_capacity))
    device.restrict(buffer, writable)
    control.configure(device, watchdog_cycles=WATCHDOG_CYCLES)
    device.write(BY_NAME["BASE_ADDRESS"].offset, buffer.address)
    return buffer.array


def start(device: SimulatedDevice) -> None:
    """Start what BASE_ADDRESS points to."""
    control.start(device, device.read(BY_NAME["BASE_ADDRESS"].offset))


def reset(device: SimulatedDevice) -> None:
    """Reset, and do not wait for its end as :func:`codenet.devices.control.reset` does."""
    device.write(BY_NAME["CONTROL"].offset, 2)


def status(device: SimulatedDevice, field: str) -> int:
    register = BY_NAME["STATUS"]
    return register.extract(device.read(register.offset), field)


def run_step(device: SimulatedDevice, step: Step, config: AcceleratorConfig) -> Counts:
    """Run a step on board and model and compare all memory; returns what the model counted."""
    memory = load_step(device, step)
    start(device)
    device.wait(SECONDS)
    assert (status(device, "done"), status(device, "error"), status(device, "cause")) == (1, 0, 0)
    if isinstance(device, RtlDevice):
        assert device.board.unanswered == 0, "the step has ended, and the bus still owes an answer"
    return compare(device, step, memory, config)


def compare(device: SimulatedDevice, step: Step, memory: np.ndarray, config: AcceleratorConfig) -> Counts:
    """Compare memory, after the step, with what the model makes of the memory before it."""
    expected = step.memory.copy()
    (counts,) = execute(expected, 0, config)
    different = np.flatnonzero(expected != memory)
    if different.size:
        raise AssertionError(f"{different.size} bytes differ: {describe(step, int(different[0]), expected, memory)}")
    if counts.peaks is not None:
        assert device.read(BY_NAME["PEAK_COUNT"].offset) == counts.peaks
    return counts


def describe(step: Step, offset: int, expected: np.ndarray, found: np.ndarray) -> str:
    """Where in the step's outputs a byte lies."""
    d = step.descriptor
    values = f"expected {int(expected[offset])}, found {int(found[offset])}"
    for plane, first in enumerate(step.outputs):
        if first <= offset < first + VECTOR_BYTES * d.output_pixels:
            pixel, lane = divmod(offset - first, VECTOR_BYTES)
            y, x = divmod(pixel, d.output_width)
            return f"output plane {plane}, pixel ({y}, {x}), byte {lane}: {values}"
    if d.depthwise_op == DepthwiseOp.PEAKS and 0 <= offset - d.peak_address < PEAK_BYTES * d.peak_capacity:
        return f"peak record {(offset - d.peak_address) // PEAK_BYTES}: {values}"
    return f"byte {offset}, which is no output: {values}"
