# SPDX-License-Identifier: Apache-2.0
"""The clock in a routed design's features: from the processor's pin to the columns of the chip, and by nothing else.

The processor's FCLK goes to a global buffer in the middle of the chip, from it to a buffer in each half of a clock
region's row, from these to leaves, a column and half of a region each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PINS = ("CE0", "CE1", "S0", "S1", "IGNORE0", "IGNORE1")
_ROW = re.compile(r"(CLK_HROW_\w+_X\d+Y(\d+))\.CLK_HROW_CK_MUX_OUT_([LR])(\d+)\.(CLK_HROW_R_CK_GCLK(\d+)|.+)")
_LEAF = re.compile(r"(HCLK_[LR]_X\d+Y(\d+))\.HCLK_LEAF_CLK_B_\w+\.HCLK_CK_BUFHCLK(\d+)")


def faults(buffers: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str], lines: set[str]) -> Iterator[str]:
    """A line for each feature of the clock that is missing, or leads elsewhere.

    Parameters
    ----------
    buffers:
        Global buffers (BUFGCTRL) of the routed netlist by place, such as ``BUFGCTRL_X0Y16``.
    sources:
        The processor's pin that drives each.
    lines:
        Features of the tiles that clocks go through, ``TILE.FEATURE``.
    """
    in_use = {line for line in lines if re.search(r"\.BUFGCTRL_X0Y\d+\.IN_USE$", line)}
    if len(in_use) != len(buffers):
        yield f"clock: {len(in_use)} global buffers in use, expected {len(buffers)}"
    numbers = {str(_number(site)) for site in buffers}
    for site, cell in buffers.items():
        yield from _global_buffer(site, cell["parameters"], sources[site], lines)
    driven = set()
    for tile, row, side, n, source, number in _matches(_ROW, lines):
        driven.add((row, n))
        if number not in numbers:
            yield f"clock: {tile} takes {source}, expected a global buffer of {sorted(numbers)}"
        buffer = f"{tile}.BUFHCE.BUFHCE_X{'LR'.index(side)}Y{n}"
        yield from _missing(lines, f"{buffer}.IN_USE", f"{buffer}.ZINV_CE", f"{tile}.CLK_HROW_R_CK_GCLK{number}_ACTIVE")
        yield from _missing(lines, f"{tile}.CLK_HROW_CK_BUFHCLK_{side}{n}.CLK_HROW_CK_HCLK_OUT_{side}{n}")
    for tile, row, n in _matches(_LEAF, lines):
        if (row, n) not in driven:
            yield f"clock: {tile} takes buffer {n} of its row, which nothing drives"
        yield from _missing(lines, f"{tile}.ENABLE_BUFFER.HCLK_CK_BUFHCLK{n}")


def _global_buffer(site: str, parameters: Mapping[str, str], source: str, lines: set[str]) -> Iterator[str]:
    number = _number(site)
    slot = number % 16  # Of a tile's.
    tile = f"CLK_BUFG_{'TOP' if number > 15 else 'BOT'}_R_X\\d+Y\\d+"
    settings = f"{tile}\\.BUFGCTRL\\.BUFGCTRL_X0Y{slot}"
    for pin in _PINS:
        inverted = int(parameters.get(f"IS_{pin}_INVERTED", "0").strip(), 2) == 1
        ignored = pin.startswith("IGNORE")
        setting = f"{settings}\\.{'IS_' if ignored else 'ZINV_'}{pin}{'_INVERTED' if ignored else ''}"
        if bool(_found(setting, lines)) != (inverted == ignored):
            yield f"clock: {site} has {pin} {'not ' * inverted}inverted"
    way = (
        rf"PSS\d_X\d+Y\d+\.PSS_{source}\.PS7_{source}",
        rf"PSS\d_X\d+Y\d+\.PSS_HCLK_CK_IN\d\.PSS_{source}",
        r"CLK_HROW_\w+\.CLK_HROW_\w+_CK_BUFG_CASCO\d+\.CLK_HROW_CK_IN_[LR]\d+",
        rf"{tile}\.CLK_BUFG_BUFGCTRL{slot}_I0\.CLK_BUFG_\w+_CK_MUXED\d+",
        rf"{tile}\.CLK_BUFG_CK_GCLK{number}\.CLK_BUFG_BUFGCTRL{slot}_O",
    )
    for n, step in enumerate(way, 1):
        if (count := len(_found(step, lines))) != 1:
            yield f"clock: {count} wires at step {n} of the way from {source or 'nothing'} to {site}, expected 1"


def _number(site: str) -> int:
    return int(re.sub(r".*Y", "", site))


def _found(pattern: str, lines: set[str]) -> list[str]:
    return [line for line in lines if re.fullmatch(pattern, line)]


def _matches(pattern: re.Pattern[str], lines: set[str]) -> Iterator[tuple[str, ...]]:
    return (match.groups() for line in sorted(lines) if (match := pattern.fullmatch(line)))


def _missing(lines: set[str], *names: str) -> Iterator[str]:
    return (f"clock: {name} not set" for name in names if name not in lines)
