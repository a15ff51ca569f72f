# SPDX-License-Identifier: Apache-2.0
"""What a search of shapes found: a table, plain values for JSON, and a chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from codenet.config import LANES
from codenet.svg import COLOURS, Axis, Chart
from sim.shape.proxy import Detector
from sim.shape.search import Candidate, Search, front
from sim.shape.shapes import UNNAMED

HEADER = (
    "AP50, estimated",
    "frames a second",
    "cycles",
    "MMAC",
    "utilization",
    "input",
    "stem",
    "channels",
    "units",
    "decoder",
    "head",
    "skips",
    "dilations",
    "precision",
)


def candidate_row(candidate: Candidate, outputs: int) -> tuple[str, ...]:
    """Cells of `HEADER`."""
    config = candidate.shape.config
    utilization = candidate.macs / (candidate.cycles * LANES * outputs)
    return (
        f"{candidate.ap50:.1f}" + (f" ({config.name})" if config.name != UNNAMED else ""),
        f"{candidate.fps:.1f}",
        f"{candidate.cycles:,}",
        f"{candidate.macs / 1e6:.0f}",
        f"{100 * utilization:.0f} %",
        "x".join(map(str, candidate.shape.sides)),
        config.stem,
        *("-".join(map(str, widths)) for widths in (config.channels, config.units, config.decoder)),
        f"{config.head}",
        "yes" if config.skips else "no",
        "".join(map(str, config.dilations)),
        str(candidate.shape.precision),
    )


def table(candidates: Sequence[Candidate], outputs: int) -> str:
    """Markdown, for an array of ``outputs``."""
    lines = [HEADER, ("---",) * len(HEADER), *(candidate_row(candidate, outputs) for candidate in candidates)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def known(search: Search) -> list[Candidate]:
    """The configurations a to g that the compiler takes."""
    named = [candidate for candidate in search.found.values() if candidate.shape.config.name != UNNAMED]
    return sorted(named, key=lambda candidate: (candidate.shape.config.name, str(candidate.shape.precision)))


def _values(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.shape.config.name,
        **candidate.shape.to_dict(),
        "cycles": candidate.cycles,
        "fps": round(candidate.fps, 2),
        "macs": candidate.macs,
        "ap50_estimated": round(candidate.ap50, 2),
    }


def report(search: Search, best: Mapping[float, Sequence[Candidate]], chip: str) -> dict[str, Any]:
    """Plain values of everything that was found; ``best`` by frames a second."""
    proxy = search.proxy
    terms = ("constant", "pixels", "multiplications", "stem")
    return {
        "chip": chip,
        "clock_mhz": search.clock_mhz,
        "accelerator": search.costs.accelerator.to_dict(),
        "proxy": {
            "coefficients": dict(zip(terms, proxy.coefficients[1:].round(3).tolist(), strict=True)),
            "errors_left_out": {name: round(error, 2) for name, error in proxy.errors.items()},
        },
        "shapes": search.seen,
        "refused": dict(Counter(search.refused.values())),
        "best": [{"wanted": fps, "shapes": list(map(_values, found))} for fps, found in best.items()],
        "front": list(map(_values, front(list(search.found.values())))),
        "all": list(map(_values, search.found.values())),
    }


def chart(
    title: str,
    search: Search,
    best: Mapping[float, Sequence[Candidate]],
    trained: Sequence[tuple[Detector, float]],
) -> str:
    """Frames a second against AP50: what was found, by the proxy, and ``trained`` detectors with their frames a second,
    by the AP50 that was measured.
    """
    found = list(search.found.values())
    rates = [candidate.fps for candidate in found] + [fps for _, fps in trained] + list(best)
    scores = [candidate.ap50 for candidate in found] + [detector.ap50 for detector, _ in trained]
    chart = Chart(
        title,
        Axis("frames a second", 0.8 * min(rates), 1.3 * max(rates), log=True),
        Axis("AP50, %", max(0.0, min(scores) - 3), max(scores) + 3),
    )
    colours = {"search": COLOURS[0], "shipped": COLOURS[1], "paper": COLOURS[2]}
    for candidate in found:
        chart.point(candidate.fps, candidate.ap50, colours["search"], str(candidate.shape), 2, hollow=True)
    chart.line([(candidate.fps, candidate.ap50) for candidate in front(found)], colours["search"])
    for fps, candidates in best.items():
        chart.line([(fps, chart.y.low), (fps, chart.y.high)], "#bbb", dashed=True)
        chart.point(candidates[0].fps, candidates[0].ap50, colours["search"], str(candidates[0].shape), 5)
    for candidate in known(search):
        chart.point(candidate.fps, candidate.ap50, "#333", str(candidate.shape), 3)
        chart.label(candidate.fps, candidate.ap50, candidate.shape.config.name)
    for detector, fps in trained:
        chart.point(fps, detector.ap50, colours[detector.source], f"{detector.source} {detector.name}", 5)
        chart.label(fps, detector.ap50, detector.name)
    chart.legend = [
        ("search, estimated", colours["search"]),
        ("configurations, estimated", "#333"),
        ("shipped, golden model", colours["shipped"]),
        ("paper, VOC 2007, its accelerator", colours["paper"]),
    ]
    return chart.text()
