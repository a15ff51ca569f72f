# SPDX-License-Identifier: Apache-2.0
"""The one-layer study: what co-design of the deformable convolution gains, in exact cycles of RTL simulation
(docs/one-layer.md).

``python -m sim.one_layer [--kind full|depthwise|separable ...] [-o build/one-layer.json]``. Every result is compared
with NumPy.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from codenet import command, files
from codenet.checkout import BUILD
from codenet.command import FAILURE, SUCCESS
from codenet.config import BEAT_BYTES, LANES, VECTOR_BYTES, AcceleratorConfig
from codenet.devices import control
from codenet.errors import DeviceError
from codenet.registers import BY_NAME, PROFILE_WORDS, ProfileCounter
from sim.one_layer.accelerators import generate_bounded, generate_unbounded
from sim.one_layer.offsets import Distribution, Range
from sim.one_layer.program import Kind, Layer, LayerProgram, Memory, build
from sim.timing import CLOCK_HZ, DramTiming
from sim.verilator.board import RtlDevice
from sim.verilator.library import build as build_board

OUTPUT = BUILD / "one-layer.json"

STUDY = AcceleratorConfig(window_depth=2048)
"""The default accelerator with a window that holds 15 rows of 64 pixels and 256 channels, which a full deformable
convolution needs.
"""

SHIPPED = AcceleratorConfig()

SECONDS = 0.6
"""Simulated time that a layer may take: 90 million cycles."""

WATCHDOG_CYCLES = 10_000
"""For each output pixel: far more than any step takes."""

PAPER_MS = {
    Kind.FULL: {Range.ORDINARY: 43.1, Range.UNBOUNDED: 59.0, Range.BOUNDED: 43.4, Range.SQUARE: 43.4},
    Kind.DEPTHWISE: {Range.ORDINARY: 1.9, Range.UNBOUNDED: 20.5, Range.BOUNDED: 3.0, Range.SQUARE: 2.1},
}
"""Milliseconds that the paper reports for the layer, on an Ultra96 at 250 MHz, without last-level cache."""


@dataclass(frozen=True)
class Row:
    """One measured layer.

    ``cycles``: from the start command to the end of the last step, the fetch of parameters included. ``read_bytes``,
    ``write_bytes``: all that moved on both ports. ``counters``: sums over the steps by
    :class:`codenet.registers.ProfileCounter`.
    """

    layer: Layer
    config: AcceleratorConfig
    steps: int
    cycles: int
    read_bytes: int
    write_bytes: int
    mismatches: int
    counters: dict[str, int]

    @property
    def milliseconds(self) -> float:
        """At 150 MHz."""
        return 1e3 * self.cycles / CLOCK_HZ

    @property
    def gops(self) -> float:
        """Multiplications and additions in 10^9 a second, at 150 MHz."""
        return 2 * self.layer.macs * CLOCK_HZ / self.cycles / 1e9

    @property
    def paper_ms(self) -> float | None:
        """What the paper reports for this kind and range; ``None`` where it reports nothing."""
        return PAPER_MS.get(self.layer.kind, {}).get(self.layer.range)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        layer = {k: getattr(v, "value", v) for k, v in dataclasses.asdict(self.layer).items()}
        measured = {k: v for k, v in dataclasses.asdict(self).items() if k not in ("layer", "config")}
        derived = {"milliseconds": self.milliseconds, "gops": self.gops, "paper_ms": self.paper_ms}
        return {**layer, "window_depth": self.config.window_depth, **measured, **derived}


@lru_cache
def board(layer_range: Range, memory: Memory, config: AcceleratorConfig) -> Path | None:
    """Library of the accelerator that serves these samples; ``None``: the default one."""
    if memory != Memory.WINDOW:
        return build_board(config, generate_unbounded)
    if layer_range == Range.BOUNDED:
        return build_board(config, generate_bounded)
    return None


def run(layer: Layer, config: AcceleratorConfig = STUDY, timing: DramTiming | None = None) -> Row:
    """Simulate a layer and compare its result with NumPy.

    Raises
    ------
    ConfigError
        The layer does not fit ``config``.
    DeviceError
        The accelerator stopped with an error, broke a bus rule or touched other memory.
    """
    program = build(layer, config)
    library = board(layer.range, layer.memory, config)
    with RtlDevice(config, timing or DramTiming(), library=library) as device:
        memory = _execute(device, program)
        counters = _counters(device, program.steps)
        cycles = device.read(BY_NAME["FRAME_CYCLES"].offset)
        mismatches = int(np.count_nonzero(_result(memory, program) != program.expected))
    return Row(
        layer,
        config,
        program.steps,
        cycles,
        BEAT_BYTES * counters[ProfileCounter.READ_BEATS.name],
        BEAT_BYTES * counters[ProfileCounter.WRITE_BEATS.name],
        mismatches,
        counters,
    )


def _execute(device: RtlDevice, program: LayerProgram) -> np.ndarray:
    buffer = device.allocate(program.memory.size)
    buffer.array[:] = program.memory
    device.restrict(buffer, program.writable)
    height, width, _ = program.expected.shape
    control.configure(device, watchdog_cycles=WATCHDOG_CYCLES * (height * width + 10))
    control.start(device, buffer.address)
    device.wait(SECONDS)
    if not BY_NAME["STATUS"].extract(device.read(BY_NAME["STATUS"].offset), "done"):
        state = control.describe_state(device, [str(n) for n in range(program.steps)])
        raise DeviceError(f"{state}: expected the layer to be done")
    return buffer.array


def _counters(device: RtlDevice, steps: int) -> dict[str, int]:
    device.write(BY_NAME["PROFILE_INDEX"].offset, 0)
    words = [device.read(BY_NAME["PROFILE_DATA"].offset) for _ in range(steps * PROFILE_WORDS)]
    return {counter.name: sum(words[counter::PROFILE_WORDS]) for counter in ProfileCounter}


def _result(memory: np.ndarray, program: LayerProgram) -> np.ndarray:
    """int8 ``[H, W, C]`` from the output planes."""
    height, width, _ = program.expected.shape
    size = VECTOR_BYTES * height * width
    planes = [memory[offset : offset + size].reshape(height, width, LANES) for offset in program.outputs]
    return np.concatenate(planes, axis=-1).view(np.int8)


def study(kinds: Iterable[Kind] = Kind) -> Iterator[tuple[Layer, AcceleratorConfig]]:
    """The layers of the study, the paper's four ranges for each kind."""
    uniform, near, free = Distribution.UNIFORM, Distribution.NEAR, Distribution.CONFLICT_FREE
    for kind in kinds:
        # The nine samples of a full convolution take nine cycles wherever they lie.
        others = () if kind == Kind.FULL else (near,)
        yield Layer(kind), STUDY
        for memory in (Memory.PLANES, Memory.PIXELS):
            for distribution in (uniform, *(others if kind == Kind.DEPTHWISE else ())):
                yield Layer(kind, Range.UNBOUNDED, memory, distribution), STUDY
        for distribution in (uniform, *others):
            yield Layer(kind, Range.BOUNDED, distribution=distribution), STUDY
        for distribution in (uniform, *others, *((free,) if others else ())):
            yield Layer(kind, Range.SQUARE, distribution=distribution), STUDY
        if kind != Kind.FULL:
            yield Layer(kind), SHIPPED
            yield Layer(kind, Range.SQUARE), SHIPPED


def rows(kinds: Iterable[Kind] = Kind) -> Iterator[Row]:
    """Measure :func:`study`, one layer after another."""
    for layer, config in study(kinds):
        yield run(layer, config)


def baseline(row: Row, measured: Iterable[Row], memory: Memory) -> Row | None:
    """The unbounded layer, read from ``memory``, that ``row`` is compared with: same kind, uniform offsets."""
    wanted = dataclasses.replace(row.layer, range=Range.UNBOUNDED, memory=memory, distribution=Distribution.UNIFORM)
    return next((other for other in measured if other.layer == wanted), None)


HEADER = (
    "| kind | samples | offsets | window | cycles | ms | GOPS | read MB | written MB | faster than planes, pixels | "
    "wrong "
    "| paper, ms | paper, faster |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table(measured: list[Row]) -> str:
    """The rows as Markdown: speed-ups over the two baselines, and the paper's figures in columns of their own."""
    lines = [HEADER]
    for row in measured:
        layer = row.layer
        memory = f", from {layer.memory.value}" if layer.memory != Memory.WINDOW else ""
        bases = [baseline(row, measured, memory) for memory in (Memory.PLANES, Memory.PIXELS)]
        faster = ", ".join(f"{base.cycles / row.cycles:.2f}" if base else "" for base in bases)
        offsets = "" if layer.range == Range.ORDINARY else layer.distribution.value
        paper, unbounded = row.paper_ms, PAPER_MS.get(layer.kind, {}).get(Range.UNBOUNDED)
        window = "" if memory else str(row.config.window_depth)
        figures = (
            f"{row.cycles:,} | {row.milliseconds:.2f} | {row.gops:.1f} | {row.read_bytes / 1e6:.2f} | "
            f"{row.write_bytes / 1e6:.2f} "
            f"| {faster} | {row.mismatches} | {paper or ''} | "
            f"{f'{unbounded / paper:.2f}' if paper and unbounded else ''}"
        )
        lines.append(f"| {layer.kind.value} | {layer.range.value}{memory} | {offsets} | {window} | {figures} |")
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> int:
    measured = []
    for row in rows([Kind[name.upper()] for name in options.kind]):
        measured.append(row)
        layer = row.layer
        what = f"{layer.kind.value}, {layer.range.value}, {layer.memory.value}, {layer.distribution.value}"
        print(f"{what}: {row.cycles} cycles, {row.mismatches} wrong", file=sys.stderr, flush=True)
    print(table(measured))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    found = [row.to_dict() for row in measured]
    timing = dataclasses.asdict(DramTiming())
    files.write_json(options.output, {"clock_hz": CLOCK_HZ, "timing": timing, "rows": found})
    return FAILURE if any(row.mismatches for row in measured) else SUCCESS


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if a layer's result differs from NumPy's."""
    parser = command.Parser(prog="python -m sim.one_layer", description="Measure one layer in RTL simulation.")
    names = [kind.name.lower() for kind in Kind]
    parser.add_argument("--kind", choices=names, nargs="+", default=names, help="default: all")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
