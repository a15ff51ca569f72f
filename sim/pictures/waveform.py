# SPDX-License-Identifier: Apache-2.0
"""Waveforms of components, simulated with Amaranth's own simulator and drawn as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from amaranth import Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.lib import StreamRegister
from hw.window import Window

CYCLE, LEVEL, LANE, NAMES = 24, 18, 32, 96
TOP, BOTTOM = 44, 24


@dataclass(frozen=True)
class Trace:
    """A signal's value in each cycle, just before the rising edge that ends it; ``wide`` ones are drawn as values."""

    name: str
    values: Sequence[int]
    wide: bool = False


def draw(title: str, traces: Sequence[Trace]) -> str:
    """SVG text: a line a signal, a grid line a cycle."""
    cycles = len(traces[0].values)
    width, height = NAMES + CYCLE * cycles + 16, TOP + LANE * len(traces) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for cycle in range(cycles + 1):
        x = NAMES + CYCLE * cycle
        lines.append(f'<path d="M{x} {TOP - 6}V{height - BOTTOM}" stroke="#ddd"/>')
        if cycle < cycles and cycle % 5 == 0:
            lines.append(
                f'<text x="{x + CYCLE / 2:g}" y="{height - 8}" text-anchor="middle" fill="#666">{cycle}</text>'
            )
    for n, trace in enumerate(traces):
        y = TOP + LANE * n
        lines.append(f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(trace.name)}</text>')
        lines.append(_values(trace, y) if trace.wide else _levels(trace, y))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _levels(trace: Trace, y: int) -> str:
    path = ""
    for cycle, value in enumerate(trace.values):
        level = y + (0 if value else LEVEL)
        path += f"{'L' if cycle else 'M'}{NAMES + CYCLE * cycle} {level}h{CYCLE}"
    return f'<path d="{path}" fill="none" stroke="#3b6fb6" stroke-width="1.6"/>'


def _values(trace: Trace, y: int) -> str:
    parts, begin = [], 0
    for cycle in range(1, len(trace.values) + 1):
        if cycle == len(trace.values) or trace.values[cycle] != trace.values[begin]:
            x, length = NAMES + CYCLE * begin, CYCLE * (cycle - begin)
            parts.append(
                f'<path d="M{x} {y + LEVEL / 2:g}l3 {-LEVEL / 2:g}h{length - 6}l3 {LEVEL / 2:g}l-3 {LEVEL / 2:g}'
                f'h{6 - length}z" fill="#eef3fa" stroke="#3b6fb6"/>'
                f'<text x="{x + length / 2:g}" y="{y + 13}" text-anchor="middle" '
                f'font-size="10">{trace.values[begin]}</text>'
            )
            begin = cycle
    return "".join(parts)


def record(
    component: wiring.Component, inputs: Any, signals: dict[str, tuple[Value, bool]], cycles: int
) -> list[Trace]:
    """Simulate: ``inputs(ctx, cycle)`` sets inputs behind a rising edge, and ``signals`` (value, wide) are read before
    the next.
    """
    values: dict[str, list[int]] = {name: [] for name in signals}

    async def testbench(ctx: Any) -> None:
        for cycle in range(cycles):
            inputs(ctx, cycle)
            for name, (signal, _) in signals.items():
                values[name].append(int(ctx.get(Value.cast(signal))))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    return [Trace(name, values[name], wide) for name, (_, wide) in signals.items()]


def step_start() -> str:
    """The window at the start of a step, until its first samples leave."""
    window = Window(AcceleratorConfig.small())
    height, width = 4, 4
    fields = {
        "depthwise_op": DepthwiseOp.MAC,
        "reach": 1,
        "window_rows": 6,
        "input_planes": 1,
        "input_height": height,
        "input_width": width,
        "output_height": height,
        "output_width": width,
        "output_pixels": height * width,
        "window_row_stride": 2,
    }

    def inputs(ctx: Any, cycle: int) -> None:
        if cycle == 0:
            ctx.set(window.step, fields)
            ctx.set(window.space, 1)
        ctx.set(window.start, int(cycle == 1))
        ctx.set(window.i.valid, int(cycle > 1))

    signals = {
        "start": (window.start, False),
        "busy": (window.busy, False),
        "i.valid": (window.i.valid, False),
        "i.ready": (window.i.ready, False),
        "issue": (window.issue, False),
        "o.valid": (window.o.valid, False),
        "o.y": (window.o.payload.y, True),
        "o.x": (window.o.payload.x, True),
    }
    title = "Start of a step in the window: 3x3, one plane of 4x4; rows 0 and 1 have to be there for the first pixel"
    return draw(title, record(window, inputs, signals, 48))


def back_pressure() -> str:
    """A stream register while what follows is not ready."""
    register = StreamRegister(8)
    pauses = {5, 6, 7, 8, 12, 15, 16}
    item = 1

    def inputs(ctx: Any, cycle: int) -> None:
        nonlocal item
        if cycle:
            item += taken[-1]
        ctx.set(register.i.valid, 1)
        ctx.set(register.i.payload, item)
        ctx.set(register.o.ready, int(cycle not in pauses))
        taken.append(int(ctx.get(register.i.ready)))

    taken: list[int] = []
    signals = {
        "i.valid": (register.i.valid, False),
        "i.ready": (register.i.ready, False),
        "i.payload": (register.i.payload, True),
        "o.valid": (register.o.valid, False),
        "o.ready": (register.o.ready, False),
        "o.payload": (register.o.payload, True),
    }
    title = "Back pressure in a stream register: o.ready falls, a cycle later i.ready; nothing is lost"
    return draw(title, record(register, inputs, signals, 24))
