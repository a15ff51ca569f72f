# SPDX-License-Identifier: Apache-2.0
"""Which parts of a frame's memory are taken over from the accelerator."""

import pytest

from codenet.isa import PLANE_ALIGNMENT
from codenet.runtime.frame import _merged

LINE = PLANE_ALIGNMENT


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
