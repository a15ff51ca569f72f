# SPDX-License-Identifier: Apache-2.0
"""What a step is estimated to cost, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codenet.compiler.cost import estimate, repeats, window_rows
from codenet.compiler.ir import Kind
from codenet.config import AcceleratorConfig
from tests.codenet.compiler.compiling import node

PIXELS = 12 * 12


@pytest.mark.parametrize(
    ("window_depth", "upsample", "planes", "rows", "repeated", "cycles"),
    [
        # All rows fit: memory moves 2 beats a plane and pixel beside the array, which takes a cycle a plane and group.
        (64, 0, 2, 12, False, max(PIXELS * 2, 2 * 2 * PIXELS)),
        # Six rows are three more than a step needs.
        (16, 0, 2, 6, False, max(PIXELS * 2, 2 * 2 * PIXELS)),
        # Three rows: loading waits for the array, storing does not.
        (16, 0, 3, 3, False, PIXELS * 3 * 2 + 2 * 3 * PIXELS),
        # Upsampled, a quarter of the pixels are loaded; six rows are what pairs of rows need.
        (16, 1, 2, 6, False, max(PIXELS * 2 + 2 * 2 * PIXELS // 4, 2 * 2 * PIXELS)),
        # Of three rows each is loaded twice.
        (16, 1, 3, 3, True, PIXELS * 3 * 2 + 2 * 3 * 2 * PIXELS // 4),
    ],
)
def test_filtering_of_upsampled_rows(
    window_depth: int, upsample: int, planes: int, rows: int, repeated: bool, cycles: int
) -> None:
    config = AcceleratorConfig(window_depth=window_depth)
    of = replace(node(Kind.DEPTHWISE), upsample=upsample)
    assert window_rows(config, of.source, planes, False) == rows and repeats(of, rows) == repeated
    assert estimate(config, of, planes, planes, False) == cycles


def test_expansion_and_wide_weights() -> None:
    config = AcceleratorConfig(window_depth=64)
    of = node(Kind.POINTWISE)
    # 2 planes to 4, which are two groups; 8-bit weights take two passes; 5 stored planes become the 2, one group.
    assert estimate(config, of, 2, 4, False) == max(PIXELS * 2 * 2, 2 * 2 * PIXELS, 2 * 4 * PIXELS)
    assert estimate(config, of, 6, 1, True) == PIXELS * 6 * 2
    assert estimate(config, of, 2, 4, False, expanded=5) == max(PIXELS * (4 + 5), 2 * 5 * PIXELS, 2 * 4 * PIXELS)
