# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG text, for reports of training and simulation: axes, bars, points and lines, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT = 960, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 60

COLOURS = ("#3b6fb6", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#6b705c")


@dataclass(frozen=True)
class Axis:
    """A range of values along one side of a chart. ``log``: decades are equally long, and ``low`` is above 0."""

    label: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"axis {self.label!r} from {self.low} to {self.high}: expected a range{' above 0' * self.log}"
            )

    def position(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values to write at the axis."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**n for n in range(first, last + 1)]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 8)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Chart:
    """Elements are added in data coordinates; :meth:`text` is the finished file."""

    title: str
    x: Axis
    y: Axis
    elements: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data to picture coordinates."""
        return (
            LEFT + self.x.position(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - self.y.position(y) * (HEIGHT - TOP - BOTTOM),
        )

    def bar(self, x: float, width: float, low: float, high: float, colour: str, tip: str = "") -> None:
        """A bar from ``low`` to ``high`` over ``x`` to ``x + width``; ``tip`` appears under the pointer."""
        left, top = self.at(x, high)
        right, bottom = self.at(x + width, low)
        self.elements.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'fill="{colour}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def point(self, x: float, y: float, colour: str, tip: str = "", radius: float = 4, hollow: bool = False) -> None:
        """A dot."""
        cx, cy = self.at(x, y)
        fill = f'fill="none" stroke="{colour}"' if hollow else f'fill="{colour}" fill-opacity="0.75"'
        self.elements.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius}" {fill}><title>{escape(tip)}</title></circle>'
        )

    def line(self, points: list[tuple[float, float]], colour: str, dashed: bool = False) -> None:
        """Straight lines from point to point."""
        path = " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.elements.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>')

    def label(self, x: float, y: float, text: str) -> None:
        """Text beside a point."""
        cx, cy = self.at(x, y)
        self.elements.append(f'<text x="{cx + 6:.1f}" y="{cy - 5:.1f}" font-size="11">{escape(text)}</text>')

    def text(self) -> str:
        """The SVG file."""
        body = [*self._axes(), *self.elements, *self._legend()]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="12" '
            f'role="img" aria-label={quoteattr(self.title)}>\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
            f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{escape(self.title)}</text>\n'
            + "\n".join(body)
            + "\n</svg>\n"
        )

    def _axes(self) -> list[str]:
        lines = []
        bottom, middle = HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2
        for value in self.x.ticks():
            x, _ = self.at(value, self.y.low)
            lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
            lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
        for value in self.y.ticks():
            _, y = self.at(self.x.low, value)
            lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
            lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        lines.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 22}" '
            f'text-anchor="middle">{escape(self.x.label)}</text>'
        )
        lines.append(
            f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return lines

    def _legend(self) -> list[str]:
        lines, x = [], LEFT
        for name, colour in self.legend:
            lines.append(f'<rect x="{x}" y="{HEIGHT - 14}" width="10" height="10" fill="{colour}"/>')
            lines.append(f'<text x="{x + 14}" y="{HEIGHT - 5}" font-size="11">{escape(name)}</text>')
            x += 30 + 7 * len(name)
        return lines
