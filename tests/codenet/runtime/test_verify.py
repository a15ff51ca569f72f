# SPDX-License-Identifier: Apache-2.0
"""Verification passes on the golden model and finds a single wrong integer anywhere."""

import numpy as np
import pytest

from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from codenet.errors import GraphError
from codenet.golden import interpreter
from codenet.isa import PEAK_DTYPE
from codenet.runtime.verify import peak_records, verify
from codenet.vision.image import to_activation
from tests.codenet.fakes import detector_program
from tests.networks import network

PHOTO = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def graph():
    return network(64, equal_heads=True)


@pytest.fixture(scope="module")
def program(graph):
    return compile_graph(graph, AcceleratorConfig.small())


class WrongDevice(GoldenDevice):
    """Adds 1 to byte ``offset`` at the end of ``step``."""

    def __init__(self, config, step, offset):
        super().__init__(config)
        self.step, self.offset = step, offset

    def _step_done(self, index, descriptor, counts):
        if index == self.step:
            self._memory()[self.offset] += 1
        super()._step_done(index, descriptor, counts)


class DeviceWithoutSteps(GoldenDevice):
    """A device that can't stop after steps, as a board."""

    reports_steps = False

    def _step_done(self, index, descriptor, counts):
        self._values["FRAME_STEPS"] = index + 1
        if counts.peaks is not None:
            self._values["PEAK_COUNT"] = counts.peaks


def test_golden_against_itself(program):
    result = verify(program, PHOTO, "golden")
    assert result.passed
    assert result.peaks > 0, "the comparison of peaks must have something to compare"
    assert result.comparison.tensors == len(program.outputs) + 1
    assert str(result) == f"golden: 4 outputs, 0 mismatches, 0 cycles, {result.peaks} peaks"


def test_every_tensor_of_every_step_against_the_graph(program, graph):
    result = verify(program, PHOTO, "golden", graph)
    assert result.passed, result.comparison.mismatches[0]
    assert result.step_by_step
    assert result.comparison.tensors == len(program.tensors) + 1


def test_outputs_against_the_graph_if_the_device_cannot_stop(program, graph):
    result = verify(program, PHOTO, DeviceWithoutSteps(program.config), graph)
    assert result.passed and not result.step_by_step
    assert result.comparison.tensors == len(program.outputs) + 1


@pytest.mark.parametrize("position", [0.0, 0.5, 0.9])
def test_one_wrong_byte_is_found_and_named(program, graph, position):
    candidates = [tensor for tensor in program.tensors if tensor.dtype == "int8" and not tensor.upsample]
    placed = candidates[int(position * len(candidates))]
    y, x, channel = placed.height // 2, placed.width - 1, placed.channels - 1
    plane, lane = divmod(int(placed.index[channel]), placed.lanes)
    device = WrongDevice(program.config, placed.step, placed.planes[plane] + 16 * (y * placed.width + x) + lane)
    expected = interpreter.run(graph, to_activation(PHOTO), [placed.name])[placed.name][y, x, channel]
    result = verify(program, PHOTO, device, graph)
    assert not result.passed
    first = next(m for m in result.comparison.mismatches if m.tensor == placed.name)
    assert (first.step, first.step_name) == (placed.step, program.step_names[placed.step])
    assert first.count == 1
    assert first.coordinate == (y, x, channel)
    assert first.expected == expected
    assert np.int8(first.found) == np.int8(np.int64(expected) + 1 - 256 * (expected == 127))
    assert f"step {placed.step} " in str(first) and repr(placed.name) in str(first)


def test_wrong_output_is_found_without_a_graph(program):
    size = program.outputs["size"]
    result = verify(program, PHOTO, WrongDevice(program.config, size.step, size.planes[0]))
    assert [m.tensor for m in result.comparison.mismatches] == ["size"]


def test_wrong_and_missing_peaks_are_found(program):
    step = len(program.descriptors) - 1
    address = program.descriptors[-1].peak_address

    result = verify(program, PHOTO, WrongDevice(program.config, step, address + 6))
    (mismatch,) = result.comparison.mismatches
    assert (mismatch.tensor, mismatch.coordinate) == ("peaks", (0,))

    class Forgetful(GoldenDevice):
        def _step_done(self, index, descriptor, counts):
            super()._step_done(index, descriptor, counts)
            if counts.peaks is not None:
                self._values["PEAK_COUNT"] -= 1

    result = verify(program, PHOTO, Forgetful(program.config))
    (mismatch,) = result.comparison.mismatches
    assert mismatch.tensor == "peaks" and "shape" in str(mismatch)


def test_peaks_of_a_pixel_are_ordered_by_place():
    program = detector_program()  # classes 0, 1, 2 in lanes 2, 0, 5
    peaks = np.array([(1, 0, 0, 7), (1, 0, 1, 8), (1, 0, 2, 9), (0, 1, 0, 6)], PEAK_DTYPE)
    assert peak_records(peaks, program).tolist() == [(1, 0, 0, 8), (1, 0, 2, 7), (1, 0, 5, 9), (0, 1, 2, 6)]
    assert len(peak_records(np.tile(peaks, 2), program)) == program.descriptors[-1].peak_capacity


@pytest.mark.parametrize("other", [{"units": (2, 2, 2)}, {"classes": 4}])
def test_graph_of_another_program(program, other):
    with pytest.raises(GraphError, match="of another graph"):
        verify(program, PHOTO, "golden", network(64, equal_heads=True, **other))


def test_memory_is_given_back(program):
    device = GoldenDevice(program.config)
    for _ in range(3):
        verify(program, PHOTO, device)
    assert not device._buffers
