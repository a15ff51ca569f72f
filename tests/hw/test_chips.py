# SPDX-License-Identifier: Apache-2.0
"""What accelerators take of a chip; budgets are in `tests/hw/synthesis`."""

import pytest

from hw.arithmetic.dsp_sums import CASCADE
from hw.chips import XC7Z020, ZU3EG


@pytest.mark.parametrize(
    ("chip", "cascades"), [(XC7Z020, 22), (ZU3EG, 36)], ids=lambda value: getattr(value, "name", "")
)
def test_array_takes_whole_cascades(chip, cascades):
    assert chip.array_slices == cascades * CASCADE
    assert chip.array_slices < chip.resources.dsp
