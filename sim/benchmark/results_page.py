# SPDX-License-Identifier: Apache-2.0
"""Generated sections of ``docs/results.md``: between a pair of markers, everything else is written by hand and
stays.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from codenet.errors import FormatError
from sim.performance.search import search_table


def _marker(section: str, end: bool = False) -> str:
    return f"<!-- {'end of ' if end else ''}bench: {section} -->"


def replace_section(text: str, section: str, body: str) -> str:
    """``text`` with ``body`` between the markers of ``section``.

    Raises
    ------
    FormatError
        The markers are not there, or not once.
    """
    begin, end = _marker(section), _marker(section, end=True)
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    replaced, count = pattern.subn(lambda _: f"{begin}\n{body}\n{end}", text)
    if count != 1:
        raise FormatError(f"section {section!r}: found {count} pairs of markers {begin} ... {end}, expected one")
    return replaced


def update(path: Path, report: dict[str, Any]) -> None:
    """Write the sections of ``path`` from ``report`` (:func:`sim.benchmark.report.report`); the search only if there
    was one.
    """
    text = path.read_text(encoding="utf-8")
    sections = {"frames": frames_table(report), "cycles": cycles_table(report), "model": model_table(report)}
    if report["search"]:
        sections["search"] = search_table(report["search"])
    for section, body in sections.items():
        text = replace_section(text, section, body)
    path.write_text(text, encoding="utf-8")


def frames_table(report: dict[str, Any]) -> str:
    """A line a configuration: correctness, cycles, utilization, traffic."""
    lines = [
        "| configuration | weights | tensors | mismatches | cycles | frames a second at 150 MHz | utilization | "
        "computed | read MB | written MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in report["configurations"].items():
        lines.append(
            f"| {name} | {entry['weights']} | {entry['tensors']} | {entry['mismatches']} | {entry['cycles']:,} "
            f"| {entry['fps_at_150mhz']:.1f} | {100 * entry['utilization']:.1f} % "
            f"| {100 * entry['computed_utilization']:.1f} % | {entry['dram_read_bytes'] / 1e6:.2f} "
            f"| {entry['dram_write_bytes'] / 1e6:.2f} |"
        )
    return "\n".join(lines)


def cycles_table(report: dict[str, Any]) -> str:
    """Where the cycles of each configuration went; a line sums to 100 %."""
    entries = report["configurations"]
    causes = list(next(iter(entries.values()))["stall_cycles"])
    lines = [
        f"| configuration | active | {' | '.join(cause.replace('_', ' ') for cause in causes)} |",
        "|---|" + "---|" * (len(causes) + 1),
    ]
    for name, entry in entries.items():
        counts = [entry["active_cycles"], *(entry["stall_cycles"][cause] for cause in causes)]
        parts = " | ".join(f"{count:,} ({100 * count / entry['cycles']:.1f} %)" for count in counts)
        lines.append(f"| {name} | {parts} |")
    return "\n".join(lines)


def model_table(report: dict[str, Any]) -> str:
    """The cycle model beside the measured frames."""
    lines = [
        "| configuration | RTL cycles | cycle model | difference | largest difference of a step | in |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in report["configurations"].items():
        model = entry["model"]
        lines.append(
            f"| {name} | {entry['cycles']:,} | {model['cycles']:,} | {100 * model['frame_error']:+.2f} % "
            f"| {100 * model['worst_step_error']:+.2f} % | {model['worst_step']} |"
        )
    return "\n".join(lines)
