# SPDX-License-Identifier: Apache-2.0
"""What chips have, and what their accelerators take of it."""

import pytest

from hw.arithmetic.dsp_sums import CASCADE
from hw.chips import XC7Z020, ZU3EG


@pytest.mark.parametrize(
    ("chip", "cascades"), [(XC7Z020, 22), (ZU3EG, 36)], ids=lambda value: getattr(value, "name", "")
)
def test_array_takes_whole_cascades(chip, cascades):
    assert chip.array_slices == cascades * CASCADE
    assert chip.array_slices < chip.resources.dsp


def test_budgets_are_the_same_share():
    """Of 200 of 220 slices, 40,000 of 53,200 LUTs and so on, rounded down."""
    for chip in (XC7Z020, ZU3EG):
        whole, budget = chip.resources.to_dict(), chip.budget.to_dict()
        shares = {"lut": (40_000, 53_200), "ff": (60_000, 106_400), "dsp": (200, 220), "bram36": (125, 140)}
        for name, (part, of) in shares.items():
            assert budget[name] == whole[name] * part // of
