# SPDX-License-Identifier: Apache-2.0
"""Drives what the sequencer, the parameter fetcher and the window give to components: step, half, start, parameter
beats, and items that are issued before they arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from codenet.isa import Section
from hw.interfaces import PARAMETER, STEP, ParameterSection
from sim.testbench.streams import cycles, pack


async def send_parameters(dut: Any, half: int, section: Section, entries: Iterable[Iterable[int]]) -> None:
    """Put ``entries`` of a section, each a list of beats, on the parameter bus, one beat a cycle."""
    of = {"section": ParameterSection(int(section)), "half": half}
    await send_beats(
        dut,
        [
            pack(PARAMETER, index=index, beat=number, data=beat, **of)
            for index, beats in enumerate(entries)
            for number, beat in enumerate(beats)
        ],
    )


async def send_beats(dut: Any, beats: Iterable[int]) -> None:
    """Put packed values of the parameter bus on it, one a cycle."""
    for beat in beats:
        dut.parameters_valid.value = 1
        dut.parameters_payload.value = beat
        await cycles(dut)
    dut.parameters_valid.value = 0


async def issue(dut: Any, items: Iterable[int], latency: int, pause: Iterator[bool]) -> None:
    """Issue items as the window does, as ``space`` and ``pause`` permit; they arrive ``latency`` cycles later."""
    pipeline: list[int | None] = [None] * latency
    waiting = list(items)
    while waiting or any(item is not None for item in pipeline):
        fires = bool(waiting) and int(dut.space.value) and not next(pause)
        dut.issue.value = int(fires)
        pipeline.append(waiting.pop(0) if fires else None)
        arrived = pipeline.pop(0)
        dut.i_valid.value = int(arrived is not None)
        dut.i_payload.value = arrived or 0
        await cycles(dut)
    dut.issue.value = 0
    dut.i_valid.value = 0


async def start_step(dut: Any, half: int, **fields: int) -> None:
    """Give a step with these descriptor fields (the others 0) and pulse ``start``."""
    dut.step.value = pack(STEP, **fields)
    dut.half.value = half
    dut.start.value = 1
    await cycles(dut)
    dut.start.value = 0
