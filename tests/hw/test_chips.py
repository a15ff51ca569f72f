# SPDX-License-Identifier: Apache-2.0
"""What accelerators take of a chip; budgets are in `tests/hw/synthesis`."""

import pytest

from hw.arithmetic.dsp_sums import CASCADE
from hw.chips import XC7Z020, ZU3EG, Usage


@pytest.mark.parametrize(
    ("chip", "cascades"), [(XC7Z020, 22), (ZU3EG, 36)], ids=lambda value: getattr(value, "name", "")
)
def test_array_takes_whole_cascades(chip, cascades):
    assert chip.array_slices == cascades * CASCADE
    assert chip.array_slices < chip.resources.dsp


def test_resources_are_those_of_the_data_sheets():
    """DS190 and DS891."""
    assert XC7Z020.resources == Usage(lut=53_200, ff=106_400, dsp=220, bram36=140)
    assert ZU3EG.resources == Usage(lut=70_560, ff=141_120, dsp=360, bram36=216)
