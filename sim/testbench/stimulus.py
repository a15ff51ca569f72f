# SPDX-License-Identifier: Apache-2.0
"""Drives what the sequencer and the parameter fetcher give to every component: step, half, start, and parameter
beats.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codenet.isa import Section
from hw.interfaces import PARAMETER, STEP, ParameterSection
from sim.testbench.streams import cycles, pack


async def send_parameters(dut: Any, half: int, section: Section, entries: Iterable[Iterable[int]]) -> None:
    """Put ``entries`` of a section, each a list of beats, on the parameter bus, one beat a cycle."""
    for index, beats in enumerate(entries):
        for number, beat in enumerate(beats):
            dut.parameters_valid.value = 1
            dut.parameters_payload.value = pack(
                PARAMETER, section=ParameterSection(int(section)), half=half, index=index, beat=number, data=beat
            )
            await cycles(dut)
    dut.parameters_valid.value = 0


async def start_step(dut: Any, half: int, **fields: int) -> None:
    """Give a step with these descriptor fields (the others 0) and pulse ``start``."""
    dut.step.value = pack(STEP, **fields)
    dut.half.value = half
    dut.start.value = 1
    await cycles(dut)
    dut.start.value = 0
