# SPDX-License-Identifier: Apache-2.0
"""The drawings of docs/models.md, made from the code that they show: ``python -m models.diagrams docs/models``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import torch

from codenet import command, files
from models.command import check_folder
from models.network.config import CONFLICT_FREE_OR_ZERO, MAX_DILATION, NetworkConfig, get_config
from models.network.deform import offset_places, round_dilation, square_places

_FILLS = {"data": "#f2f2f2", "conv": "#d7e3f4", "deform": "#f6d9c6", "head": "#dcedd9"}


@dataclass
class Drawing:
    """Boxes, arrows and dots as SVG, in pixels from the left upper corner."""

    width: int
    height: int
    elements: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, text: str, kind: str = "conv") -> None:
        """A rectangle with a line of text in its middle."""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{_FILLS[kind]}" '
            'stroke="#555"/>'
        )
        self.text(x + width / 2, y + height / 2 + 4, text, "middle")

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """A line of text on the line ``y``."""
        self.elements.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through points, with a head at the last."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.elements.append(f'<polyline points="{path}" fill="none" stroke="#555" marker-end="url(#head)"/>')

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """A filled circle."""
        self.elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}"/>')

    def svg(self, label: str) -> str:
        """The file; ``label`` says what it shows to who cannot see it."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            'font-family="sans-serif" '
            f'font-size="12" role="img" aria-label="{escape(label)}">\n'
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>\n'
            + "\n".join(self.elements)
            + "\n</svg>\n"
        )


def network_rows(config: NetworkConfig) -> list[tuple[str, str, tuple[int, int]]]:
    """The network, of square input, from image to heads: kind of box, text, and (side, channels) of its result."""
    size, channels = config.input_size[0], config.channels
    stem = "3x3, stride 4" if config.stem == "s4" else "3x3, stride 2; maximum 3x3, stride 2"
    rows = [("data", "image", (size, 3)), ("conv", f"stem: {stem}", (size // 4, channels[0]))]
    for number, units in enumerate(config.units):
        text = f"stage {number + 1}: a unit of stride 2, {units - 1} of stride 1"
        rows.append(("conv", text, (size // (8 << number), channels[number + 1])))
    rows.append(("conv", "1x1 convolution", (size // 32, channels[4])))
    for number, width in enumerate(config.decoder):
        skip = f"half of stage {3 - number} joined; " if config.skip_channels[number] else ""
        rows.append(("deform", f"{skip}deformable depthwise, 1x1, upsample", (size // (16 >> number), width)))
    return rows


def network_drawing(config: NetworkConfig) -> str:
    """The whole network, top to bottom, with the shape of each result."""
    rows, left, width, pitch = network_rows(config), 40, 330, 46
    drawing = Drawing(600, 90 + pitch * len(rows))
    for number, (kind, text, (side, channels)) in enumerate(rows):
        top = 20 + number * pitch
        drawing.box(left, top, width, 28, text, kind)
        drawing.text(left + width + 16, top + 18, f"{side} x {side} x {channels}")
        drawing.arrow((left + width / 2, top + 28), (left + width / 2, top + pitch))
    top = 20 + len(rows) * pitch
    side, outputs = config.output_size[0], (("heatmap", "classes"), ("size", "2"), ("offset", "2"))
    drawing.elements.append(f'<line x1="{left}" x2="{left + width}" y1="{top}" y2="{top}" stroke="#555"/>')
    for number, (name, count) in enumerate(outputs):
        x = left + number * 115
        drawing.arrow((x + 50, top), (x + 50, top + 18))
        drawing.box(x, top + 18, 100, 44, "", "head")
        drawing.text(x + 50, top + 36, f"{name}: {count}", "middle")
        drawing.text(x + 50, top + 52, "1x1, dw 3x3, 1x1", "middle")
    drawing.text(left + width + 16, top + 44, f"{side} x {side} each; peaks of the heatmap")
    return drawing.svg(f"Configuration {config.name} from image to heads")


def unit_drawing() -> str:
    """The two units of ShuffleNetV2 and the deformable stage."""
    drawing = Drawing(900, 340)
    columns = {
        "unit, stride 1": (["second half", "1x1, BN, ReLU", "depthwise 3x3, BN", "1x1, BN, ReLU"], ["first half"]),
        "unit, stride 2": (
            ["1x1, BN, ReLU", "depthwise 3x3 s2, BN", "1x1, BN, ReLU"],
            ["depthwise 3x3 s2, BN", "1x1, BN, ReLU"],
        ),
    }
    for number, (title, branches) in enumerate(columns.items()):
        left = 20 + number * 310
        drawing.text(left + 135, 20, title, "middle")
        for side, branch in enumerate(branches):
            x = left + side * 140
            for place, text in enumerate(branch):
                drawing.box(x, 40 + place * 50, 130, 28, text, "data" if "half" in text else "conv")
                end = 250 if place + 1 == len(branch) else 90 + place * 50
                drawing.arrow((x + 65, 68 + place * 50), (x + 65, end))
        drawing.box(left, 250, 270, 28, "concatenate, shuffle channels", "data")
    left = 640
    drawing.text(left + 120, 20, "deformable stage", "middle")
    drawing.box(left + 60, 40, 60, 28, "input", "data")
    drawing.arrow((left + 75, 68), (left + 75, 100))
    drawing.box(left, 100, 130, 28, "1x1, one output: s", "deform")
    drawing.arrow((left + 65, 128), (left + 65, 160))
    drawing.text(left + 72, 148, "d = round(s)")
    drawing.arrow((left + 120, 54), (left + 220, 54), (left + 220, 160))
    drawing.box(left, 160, 240, 28, "depthwise 3x3, dilation d a pixel", "deform")
    drawing.arrow((left + 120, 188), (left + 120, 205))
    drawing.box(left, 205, 240, 28, "1x1, BN, ReLU")
    drawing.arrow((left + 120, 233), (left + 120, 250))
    drawing.box(left, 250, 240, 28, "nearest upsampling by 2", "data")
    drawing.text(left, 305, "variant i; in variant ii the 1x1 comes first,")
    drawing.text(left, 322, "and BN and ReLU follow the depthwise")
    return drawing.svg("Units of the backbone and the deformable stage")


def sampling_places() -> dict[str, torch.Tensor]:
    """Title and places ``[9, 2]`` of the variants for one pixel: offsets drawn at random (seed 3, deviation 3), and
    ``s`` = 2.8.
    """
    offsets = 3.0 * torch.randn(1, 18, 1, 1, generator=torch.Generator().manual_seed(3))
    s = torch.full((1, 1, 1, 1), 2.8)
    one, rounded, kept = torch.ones(1, 1, 1, 1), round_dilation(s), round_dilation(s, CONFLICT_FREE_OR_ZERO)
    found = {
        "regular": square_places(one),
        "original: 18 offsets": offset_places(offsets, bounded=False),
        f"bounded by {MAX_DILATION}": offset_places(offsets, bounded=True),
        f"square: s = {s.item():.1f}": square_places(s),
        f"rounded: {int(rounded)}": square_places(rounded),
        f"of {{0, 1, 2, 4, 5, 7}}: {int(kept)}": square_places(kept),
    }
    return {title: places[0, :, :, 0, 0] for title, places in found.items()}


def sampling_drawing() -> str:
    """Where the nine taps of each variant lie, on pixels up to eight away from the centre."""
    reach, cell = 8, 8
    side = (2 * reach + 1) * cell
    places = sampling_places()
    drawing = Drawing(20 + len(places) * (side + 14), side + 50)
    for number, (title, taps) in enumerate(places.items()):
        left, top = 10 + number * (side + 14), 30
        drawing.text(left + side / 2, 20, title, "middle")
        for n in range(2 * reach + 2):
            for x0, y0, x1, y1 in ((n * cell, 0, n * cell, side), (0, n * cell, side, n * cell)):
                drawing.elements.append(
                    f'<line x1="{left + x0}" y1="{top + y0}" x2="{left + x1}" y2="{top + y1}" stroke="#ddd"/>'
                )
        middle = (reach + 0.5) * cell
        drawing.dot(left + middle, top + middle, 5, "#bbb")
        for row, column in taps.tolist():
            drawing.dot(round(left + middle + column * cell, 1), round(top + middle + row * cell, 1), 3, "#d1495b")
    return drawing.svg("Sampling places of the variants of the deformable convolution")


def drawings() -> dict[str, str]:
    """File name and content of every drawing."""
    return {
        "network.svg": network_drawing(get_config("a")),
        "units.svg": unit_drawing(),
        "sampling.svg": sampling_drawing(),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.diagrams", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the drawings are written")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    check_folder(options.folder)
    for name, text in drawings().items():
        files.write(options.folder / name, text)


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a folder that cannot be written to."""
    return command.run("models.diagrams", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
