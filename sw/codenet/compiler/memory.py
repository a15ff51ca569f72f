# SPDX-License-Identifier: Apache-2.0
"""Addresses of planes: memory of tensors that nobody reads any more is used again."""

from __future__ import annotations

from collections.abc import Iterable

from codenet.compiler.ir import Plane, Step
from codenet.isa import PLANE_ALIGNMENT


def align(size: int) -> int:
    """``size`` rounded up to whole bursts."""
    return -(-size // PLANE_ALIGNMENT) * PLANE_ALIGNMENT


def find_lifetimes(steps: list[Step], kept: Iterable[Plane]) -> None:
    """Set ``written`` and ``last`` of all planes; those ``kept`` outlive the program."""
    for number, step in enumerate(steps):
        for plane in step.outputs:
            plane.written = plane.last = number
        for plane in [*step.inputs, *([step.dilation] if step.dilation is not None else [])]:
            plane.last = number
    for plane in kept:
        plane.last = len(steps)


def plan(steps: list[Step], start: int) -> int:
    """Give every plane that a step writes an offset, first fit from ``start`` on; the end of the memory in use.

    A plane keeps its memory from the step that writes it to the last that reads it, both included, so that no step
    writes over its own input.
    """
    live: list[Plane] = []
    end = start
    for number, step in enumerate(steps):
        live = [plane for plane in live if plane.last >= number]
        for plane in step.outputs:
            plane.offset = _first_fit(live, plane.size, start)
            live.append(plane)
            live.sort(key=lambda other: other.offset)
            end = max(end, plane.offset + align(plane.size))
    return end


def _first_fit(live: list[Plane], size: int, start: int) -> int:
    """Lowest offset of a gap of ``size`` bytes between the ``live`` planes, which are sorted by offset."""
    offset = start
    for plane in live:
        if offset + align(size) <= plane.offset:
            break
        offset = max(offset, plane.offset + align(plane.size))
    return offset
