# SPDX-License-Identifier: Apache-2.0
"""Heads become one step where that takes no more cycles, by the estimate of :mod:`codenet.compiler.cost`."""

from __future__ import annotations

import pytest

from codenet.config import AcceleratorConfig
from tests import networks
from tests.codenet.compiler.compiling import check

MERGED = "a.dw,b.dw,c.dw + a,b,c"

CASES = {
    # Each of the three reads 4 planes: 8 beats a pixel to load, which hide 4 cycles of the array. Together 24 to load,
    # and 12 planes times 2 groups (2 + 2 planes of 16, 32 channels a group) are 24 too.
    "as fast": (50, (32, 16, 16), 4, 8, True),
    # 2 + 3 planes are 3 groups: 36.
    "one group more": (50, (32, 17, 16), 4, 8, False),
    # One plane each: 4 + 4 + 2 beats to store, 10 together, which hide the 9 of the array.
    "stores hide it": (16, (32, 17, 16), 4, 8, True),
    # Twice the cycles of the array: 8 each, 48 together.
    "8 bit": (50, (32, 16, 16), 8, 8, False),
    # The window holds the rows that it needs and no more, but that is the whole image.
    "all rows in the window": (50, (32, 16, 16), 4, 3, True),
}
"""Channels of the heads' input, their output channels, bits of their weights, height; and whether they are merged."""


@pytest.mark.parametrize("case", CASES)
def test_merged_if_not_slower(case: str) -> None:
    channels, outputs, bits, height, merged = CASES[case]
    net = networks.Builder(4 * height, 32)
    x = net.convolution("stem", "image", channels, kernel=3, stride=4, bits=8)
    for name, count in zip("abc", outputs, strict=True):
        if name == "c":  # What the last one reads is there only after the others.
            x = net.convolution("late", x, channels, bits=8)
        net.convolution(name, net.depthwise(f"{name}.dw", x, relu=True), count, bits=bits)
    for kind in (("a", "b", "c"), ("a.dw", "b.dw", "c.dw")):
        alike = [n for n, operation in enumerate(net.operations) if operation.name in kind]
        shift = min(net.operations[n].requantize.s for n in alike)
        for n in alike:
            net.operations[n] = networks.with_shift(net.operations[n], shift)
    program = check(net.graph("heads", {name: name for name in "abc"}), AcceleratorConfig())
    heads = [MERGED] if merged else ["a.dw + a", "b.dw + b", "c.dw + c"]
    assert {name.partition(" [")[0] for name in program.step_names} == {"stem", "late", *heads}
