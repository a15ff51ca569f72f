# SPDX-License-Identifier: Apache-2.0
"""What descriptors say that no graph shows."""

from __future__ import annotations

import pytest

from codenet.compiler.emit import MEMORY_LIMIT, _block_log2
from codenet.config import AcceleratorConfig
from codenet.isa.descriptor import FIELDS


def test_memory_ends_where_addresses_do() -> None:
    (width,) = {field.width for field in FIELDS if field.name in ("parameter_address", "peak_address")}
    assert MEMORY_LIMIT == 1 << width


@pytest.mark.parametrize(
    ("planes", "log2"),
    # Half of 256 beats: 128, two of each plane and pixel.
    [(1, 4), (4, 4), (5, 3), (8, 3), (9, 2), (16, 2), (17, 1), (32, 1), (33, 0), (64, 0), (65, 0)],
)
def test_pixels_that_the_storer_collects_fill_half_its_memory(planes: int, log2: int) -> None:
    assert _block_log2(planes, AcceleratorConfig.small()) == log2
