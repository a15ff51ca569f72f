# SPDX-License-Identifier: Apache-2.0
"""What a routed design's features show: slices in use, and what nextpnr's writer is known to leave out.

Features are those of Project X-Ray's database, one a line: ``TILE.PART.FEATURE``.
"""

from __future__ import annotations

import re
from collections import defaultdict

DSP_CONSTANTS = ("INMODE0", "INMODE1", "INMODE2", "INMODE3", "INMODE4", "ALUMODE2", "ALUMODE3", "OPMODE6")
"""Pins of a DSP48E1 without a way from the interconnect: they are tied in the tile or they are nothing."""


def count_slices(fasm: str) -> int:
    """Slices that something is set in."""
    return len(set(re.findall(r"^(CL[BE]L[LM]\w*_X\d+Y\d+\.SLICE[LM]_X\d)", fasm, re.M)))


def defects(fasm: str) -> list[str]:
    """A line for each known defect of nextpnr's writer that the features show; the chip would compute something else,
    and no tool would say so.
    """
    tiles: dict[str, set[str]] = defaultdict(set)
    for tile, feature in re.findall(r"^((?:DSP|BRAM)_[LR]_X\d+Y\d+)\.([^ =\n]+)", fasm, re.M):
        tiles[tile].add(feature)
    untied = [name for tile, features in tiles.items() for name in _untied(tile, features)]
    halves = [name for tile, features in tiles.items() for name in _half_words(tile, features)]
    texts = {
        "DSP48E1 {} and {} others have pins tied to nothing, such as INMODE0: openXC7/nextpnr-xilinx#159": untied,
        "block RAM {} and {} others read half of their word: openXC7/nextpnr-xilinx#150": halves,
    }
    return [text.format(found[0], len(found) - 1) for text, found in texts.items() if found]


def _untied(tile: str, features: set[str]) -> list[str]:
    used = {match[1] for feature in features if (match := re.match(r"DSP48\.(DSP_\d)\.", feature))}
    ties = {feature.split(".")[0] for feature in features if re.search(r"\.DSP_(GND|VCC)_[LR]$", feature)}
    return sorted(f"{tile}.{dsp}" for dsp in used if any(f"{dsp}_{pin}" not in ties for pin in DSP_CONSTANTS))


def _half_words(tile: str, features: set[str]) -> list[str]:
    halves = ("RAMB18_Y0", "RAMB18_Y1")
    return [
        f"{tile}.{half}"
        for half in halves
        if f"{half}.SDP_READ_WIDTH_36" in features and f"{half}.READ_WIDTH_B_18" not in features
    ]
