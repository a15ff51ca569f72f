# SPDX-License-Identifier: Apache-2.0
"""The block diagram of the accelerator."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

COLUMN, ROW = 152, 92
WIDTH, HEIGHT = 124, 52
MARGIN = 24

MEMORY, DATA, CONTROL, BUS = "#e3ecf7", "#e6f2e6", "#f7efe0", "#f2f2f2"


@dataclass(frozen=True)
class Block:
    """A component at a place of the grid; ``name`` is that of the submodule, none for what lies outside."""

    title: str
    text: str
    column: float
    row: float
    colour: str
    name: str = ""

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, in pixels."""
        return MARGIN + COLUMN * self.column + WIDTH / 2, MARGIN + ROW * self.row + HEIGHT / 2


BLOCKS = {
    "in": Block("port 0 read", "activations", 0, 1, BUS),
    "loader": Block("Loader", "planes to vectors", 1, 1, MEMORY, "loader"),
    "window": Block("Window", "nine samples a cycle", 2, 1, DATA, "window"),
    "depthwise": Block("Depthwise", "16 channels x 9 taps", 3, 1, DATA, "depthwise"),
    "vectors": Block("VectorBuffer", "once for each group", 4, 1, DATA, "vector_buffer"),
    "pointwise": Block("Pointwise", "16 inputs x outputs", 5, 1, DATA, "pointwise"),
    "storer": Block("Storer", "blocks to planes", 6, 1, MEMORY, "storer"),
    "out": Block("port 0 write", "results, peak records", 7, 1, BUS),
    "rows": Block("RowBuffer", "pieces to expand", 2, 2, DATA, "row_buffer"),
    "peaks": Block("Peaks", "local maxima", 4.5, 0, DATA, "peaks"),
    "parameters": Block("port 1 read", "descriptors, parameters", 0, 3, BUS),
    "fetcher": Block("ParameterFetcher", "one step ahead", 1, 3, MEMORY, "fetcher"),
    "sequencer": Block("Sequencer", "steps in order", 3, 3, CONTROL, "sequencer"),
    "registers": Block("Registers", "AXI4-Lite slave", 6, 3, CONTROL, "registers"),
    "profiler": Block("Profiler", "where cycles go", 6, 2, CONTROL, "profiler"),
    "host": Block("processor", "starts a frame, waits", 7, 3, BUS),
}

ARROWS = (
    "in loader",
    "loader window",
    "window depthwise",
    "depthwise vectors",
    "vectors pointwise",
    "pointwise storer",
    "storer out",
    "loader rows",
    "rows pointwise",
    "window peaks",
    "peaks storer",
    "parameters fetcher",
    "fetcher sequencer",
    "registers sequencer",
    "host registers",
    "profiler registers",
)
"""From block to block, along a row or from row to row."""


def block_diagram() -> str:
    """SVG text."""
    width = 2 * MARGIN + COLUMN * max(block.column for block in BLOCKS.values()) + WIDTH
    height = 2 * MARGIN + ROW * max(block.row for block in BLOCKS.values()) + HEIGHT + 26
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        "<title>Block diagram of the accelerator</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>',
        *(_arrow(*(BLOCKS[end] for end in arrow.split())) for arrow in ARROWS),
        _expansion(BLOCKS["pointwise"], BLOCKS["window"]),
        *(_box(block) for block in BLOCKS.values()),
        f'<text x="{MARGIN}" y="{height - 14:g}" text-anchor="start" font-size="12" fill="#444">dashed: with an '
        "expansion "
        "the results of its 1x1 convolution go to the window. Parameters go from the fetcher to every "
        "component.</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(block: Block) -> str:
    x, y = block.centre
    return (
        f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" '
        f'fill="{block.colour}" stroke="#444"/>'
        f'<text x="{x:g}" y="{y - 4:g}" font-weight="bold">{escape(block.title)}</text>'
        f'<text x="{x:g}" y="{y + 14:g}" font-size="11" fill="#444">{escape(block.text)}</text>'
    )


def _arrow(start: Block, end: Block) -> str:
    """Along the row or column between facing sides; otherwise with one bend, into a side or an edge."""
    (x0, y0), (x1, y1) = start.centre, end.centre
    if y0 == y1:
        side = 1 if x1 > x0 else -1
        path = f"M{x0 + side * WIDTH / 2:g} {y0:g}H{x1 - side * WIDTH / 2:g}"
    elif start.column == end.column:
        path = f"M{x0:g} {y0 + HEIGHT / 2:g}V{y1 - HEIGHT / 2:g}"
    elif start.row > end.row and end.row == 0:
        path = f"M{x0 + WIDTH / 4:g} {y0 - HEIGHT / 2:g}V{y1:g}H{x1 - WIDTH / 2:g}"
    elif start.row > end.row:
        path = f"M{x0 + WIDTH / 2:g} {y0:g}H{x1:g}V{y1 + HEIGHT / 2:g}"
    elif start.row == 0:
        path = f"M{x0 + WIDTH / 2:g} {y0:g}H{x1:g}V{y1 - HEIGHT / 2:g}"
    else:
        path = f"M{x0:g} {y0 + HEIGHT / 2:g}V{y1:g}H{x1 - WIDTH / 2:g}"
    return f'<path d="{path}" fill="none" stroke="#444" marker-end="url(#tip)"/>'


def _expansion(start: Block, end: Block) -> str:
    (x0, y0), (x1, _) = start.centre, end.centre
    x0, x1, below = x0 - WIDTH / 4, x1 + WIDTH / 4, y0 + HEIGHT / 2 + 18
    path = f"M{x0:g} {y0 + HEIGHT / 2:g}V{below:g}H{x1:g}V{y0 + HEIGHT / 2:g}"
    return f'<path d="{path}" fill="none" stroke="#444" stroke-dasharray="5 4" marker-end="url(#tip)"/>'
