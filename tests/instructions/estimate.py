# SPDX-License-Identifier: Apache-2.0
"""From counts of instructions to milliseconds and frame rates, as tables of ``docs/host.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from codenet.errors import FormatError

CLOCK_HZ = 650e6
"""Of the processor on PYNQ-Z1, PYNQ-Z2 and Arty Z7-20."""

CYCLES = (1.1, 2.0)
"""An instruction takes, at best and at worst (``docs/host.md`` says why)."""

PUBLISHED = {"halve 640x360": 0.0245, "halve 3840x2160": 1.02}
"""Seconds that the same resize took on a board: the notebook resizer_ps of Xilinx/PYNQ-HelloWorld, commits 370fc0d and
78d0a10."""

ACCELERATOR_HZ = 125e6
"""Of the routed bitstream."""

ACCELERATOR = {"a": (256, 752_980), "c": (512, 2_958_765)}
"""Side of the input and cycles of a frame of the trained networks (``docs/results.md``)."""

LINE = 32
"""Bytes that a miss of a cache brings."""

CAMERAS = ("640x480", "1280x720")
FORMATS = ("rgb", "yuyv", "mjpeg")
DECODE = "decode 10"

NAMES = {"rgb": "frames in memory", "yuyv": "camera, YUYV", "mjpeg": "camera, MJPEG"}


@dataclass(frozen=True)
class Counts:
    """Of a part of the host's work: instructions, bytes loaded and stored, and lines that miss the first and the second
    level of caches.
    """

    instructions: int
    loaded: int
    stored: int
    missed_first: int
    missed_second: int


def parse(described: str, counted: str) -> dict[str, Counts]:
    """Counts of each part's last run, from what frames.py and the plugin printed.

    Raises
    ------
    FormatError
        They do not belong together.
    """
    names = json.loads(described)["parts"]
    lines = [line.split()[1:] for line in counted.splitlines() if line.startswith("counted ")]
    if len(lines) != 2 * len(names):
        raise FormatError(f"{len(lines)} counts: expected {2 * len(names)}, two for each of {len(names)} parts")
    return {name: Counts(*map(int, line)) for name, line in zip(names, lines[1::2], strict=True)}


def parts_table(counts: Mapping[str, Counts]) -> str:
    """A line a part."""
    lines = [
        "| part | million instructions | MB loaded | MB stored | MB from memory | milliseconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in counts.items():
        if name != "nothing" and name not in PUBLISHED:
            memory = LINE * part.missed_second
            figures = (part.instructions, part.loaded, part.stored, memory)
            lines.append(f"| {name} | {' | '.join(f'{n / 1e6:.2f}' for n in figures)} | {_span(part.instructions)} |")
    return "\n".join(lines)


def read_parts(table: str) -> dict[str, int]:
    """Instructions of each part, to 10,000, of :func:`parts_table`."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {row[0]: round(float(row[1]) * 1e6) for row in rows}


def rates_table(instructions: Mapping[str, int]) -> str:
    """Frames a second of each camera and network, on one core and on two."""
    lines = [
        "| pictures | network | million instructions | one core | two cores | accelerator |",
        "|---|---|---|---|---|---|",
    ]
    for camera in CAMERAS:
        for form in FORMATS:
            for network, (side, cycles) in ACCELERATOR.items():
                fit = instructions[f"fit {camera} {side}"]
                other = instructions.get(f"{form} {camera}", 0) + instructions[DECODE]
                other += sum(instructions[f"{part} {side}"] for part in ("write", "start", "finish"))
                limit = ACCELERATOR_HZ / cycles
                # Threads fit photos; all else is done by the one that asks for results.
                rates = [_rates(busiest, limit) for busiest in (fit + other, max(other, (fit + other) / 2))]
                lines.append(
                    f"| {NAMES[form]}, {camera} | {network} | {(fit + other) / 1e6:.1f} | {' | '.join(rates)} "
                    f"| {limit:.0f} |"
                )
    return "\n".join(lines)


def published_table(counts: Mapping[str, Counts]) -> str:
    """Cycles an instruction of what was timed on a board."""
    lines = ["| resize | million instructions | seconds on the board | cycles an instruction |", "|---|---|---|---|"]
    for name, seconds in PUBLISHED.items():
        count = counts[name].instructions
        lines.append(f"| {name} | {count / 1e6:.1f} | {seconds} | {seconds * CLOCK_HZ / count:.2f} |")
    return "\n".join(lines)


def _span(instructions: float) -> str:
    low, high = (1e3 * cycles * instructions / CLOCK_HZ for cycles in CYCLES)
    return f"{low:.1f} to {high:.1f}"


def _rates(instructions: float, limit: float) -> str:
    high, low = (min(limit, CLOCK_HZ / cycles / instructions) for cycles in CYCLES)
    return f"{low:.0f} to {high:.0f}"
