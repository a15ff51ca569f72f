# SPDX-License-Identifier: Apache-2.0
"""Which parts of a frame's memory are taken over from the accelerator."""

import numpy as np
import pytest

from codenet.isa import PEAK_BYTES, PLANE_ALIGNMENT
from codenet.program import PlacedTensor
from codenet.runtime.frame import _merged, _result_parts, _tensor_parts
from tests.codenet.fakes import CAPACITY, HEATMAP, HEIGHT, PEAKS, SIZE_AND_OFFSET, WIDTH, detector_program

LINE = PLANE_ALIGNMENT


@pytest.mark.parametrize(("upsample", "size"), [(0, 6 * 10 * 16), (1, 3 * 5 * 16)])
def test_parts_of_a_tensor_are_its_stored_pixels(upsample, size):
    tensor = PlacedTensor("t", 6, 10, 20, "int8", 1.0, 0, 0, (256, 2048), np.arange(20, dtype=np.int32), upsample, 1)
    assert _tensor_parts(tensor) == [(256, size), (2048, size)]


def test_results_are_outputs_and_all_records_of_peaks():
    program = detector_program()
    size = HEIGHT * WIDTH * 16
    assert _result_parts(program) == [
        (HEATMAP, size),
        (SIZE_AND_OFFSET, size),
        (SIZE_AND_OFFSET, size),
        (PEAKS, PEAK_BYTES * CAPACITY),
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], []),
        ([(4 * LINE, 1)], [(4 * LINE, LINE)]),
        ([(0, LINE), (LINE, LINE)], [(0, 2 * LINE)]),
        ([(0, LINE), (LINE + LINE, LINE)], [(0, LINE), (2 * LINE, LINE)]),
        # Two groups of neighbours: what follows the second joins the second.
        ([(9 * LINE, 5), (0, 2), (8 * LINE, LINE), (LINE, 1)], [(0, 2 * LINE), (8 * LINE, 2 * LINE)]),
        # One inside of another, and one twice.
        ([(0, 4 * LINE), (LINE, LINE), (LINE, LINE), (5 * LINE, 1)], [(0, 4 * LINE), (5 * LINE, LINE)]),
    ],
)
def test_parts_are_whole_lines_and_as_few_as_possible(parts, expected):
    assert _merged(parts) == expected
