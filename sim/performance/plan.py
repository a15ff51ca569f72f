# SPDX-License-Identifier: Apache-2.0
"""``codenet plan``: frame rate, utilization, memory traffic and resources of a network on an accelerator, from the
cycle model.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.errors import ConfigError, FormatError
from codenet.graph import Graph
from codenet.program import FILE_MAGIC, Program
from codenet.registers import ProfileCounter
from hw.chips import Usage
from sim.cycles import FramePrediction, predict
from sim.cycles.dilation import dilation_sources
from sim.networks import CONFIGURATIONS, load_kept
from sim.performance.roofline import Point, points, roof
from sim.performance.targets import TARGETS, Target, estimate_error, resources_of
from sim.timing import CLOCK_HZ, DramTiming


@dataclass(frozen=True)
class Plan:
    """A network on an accelerator on a chip."""

    prediction: FramePrediction
    target: Target
    clock_mhz: float
    timing: DramTiming
    resources: Usage
    resource_source: str

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.clock_mhz * 1e6 / self.prediction.cycles

    @property
    def points(self) -> list[Point]:
        """The steps on the roofline."""
        return points(self.prediction.steps, roof(self.prediction.program.config, self.timing))


def plan(
    program: Program,
    target: Target,
    clock_mhz: float | None = None,
    dilations: Mapping[int, np.ndarray] | None = None,
    timing: DramTiming | None = None,
) -> Plan:
    """Predict ``program`` on ``target``; ``dilations`` as in :func:`sim.cycles.model.predict`. ``timing``: of its
    memory, if that was measured.

    Raises
    ------
    ConfigError
        A clock that no memory timing can be made for.
    """
    timing = timing or target.timing(clock_mhz)
    resources, source = resources_of(program.config, target)
    clock = target.clock_mhz if clock_mhz is None else clock_mhz
    return Plan(predict(program, timing, dilations), target, clock, timing, resources, source)


def load_program(path: Path, outputs: int | None) -> Program:
    """The program of a ``.cdn`` file, or that of a graph, compiled for an array of ``outputs``.

    Raises
    ------
    FormatError
        Neither a program nor a graph.
    ConfigError
        A program for another array.
    """
    with path.open("rb") as file:
        start = file.read(len(FILE_MAGIC))
    if start == FILE_MAGIC:
        program = Program.load(path)
        if outputs not in (None, program.config.outputs):
            raise ConfigError(f"outputs = {outputs}: expected {program.config.outputs}, for which {path} is compiled")
        return program
    if not start.startswith(b"PK"):
        raise FormatError(f"{path}: expected a program (.cdn) or a graph (.cdg), found something else")
    return compile_for(Graph.load(path), outputs)


def compile_for(graph: Graph, outputs: int | None) -> Program:
    """``graph`` for the default accelerator with an array of ``outputs``."""
    config = AcceleratorConfig()
    return compiler.compile(graph, config if outputs is None else dataclasses.replace(config, outputs=outputs))


def read_timing(path: Path, clock_mhz: float | None = None) -> tuple[DramTiming, float]:
    """Memory that ``codenet doctor --memory --timing`` has measured, and the clock in MHz that it ran at.

    Raises
    ------
    FormatError
        Not such a file.
    ConfigError
        It was measured at another clock than ``clock_mhz``, or a value is out of range.
    """
    try:
        values = json.loads(path.read_text())
        clock = (values.pop("clock_hz") or CLOCK_HZ) / 1e6
        timing = DramTiming(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: expected a timing file of codenet doctor, found {error!r}") from error
    if clock_mhz is not None and abs(clock_mhz - clock) > 1e-3 * clock:
        raise ConfigError(f"clock = {clock_mhz:g} MHz: expected {clock:g}, at which {path} was measured")
    return timing, clock


def read_dilations(path: Path, program: Program) -> dict[int, np.ndarray]:
    """How often each dilation occurs, eight counts for each deformable step of ``program``, from a file of
    ``python -m models.offsets``.

    Raises
    ------
    FormatError
        Not such a file, or one without the counts of one of the program's tensors of dilations.
    """
    try:
        layers = json.loads(path.read_text())["dilations"]
        counts = {name: np.array(values, np.float64) for name, values in layers.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path}: expected a JSON file of models.offsets with counts of dilations, found {error!r}"
        ) from error
    found = {}
    for number, source in dilation_sources(program).items():
        if source.name not in counts:
            raise FormatError(
                f"{path}: no counts for {source.name!r}, it has {sorted(counts)}: expected those of this network"
            )
        found[number] = counts[source.name]
    return found


STALLS = (
    ProfileCounter.WAIT_PARAMETERS,
    ProfileCounter.WAIT_INPUT,
    ProfileCounter.WAIT_WINDOW,
    ProfileCounter.WAIT_OUTPUT,
    ProfileCounter.DRAIN,
)


def step_table(plan: Plan) -> str:
    """A line a step: where it is on the roofline, what it moves, and where its cycles go."""
    header = (
        "step",
        "kcycles",
        "MMAC",
        "util %",
        "MAC/B",
        "bound",
        "roof %",
        "read KB",
        "write KB",
        "parameters",
        "input",
    )
    rows: list[tuple[str, ...]] = [(*header, "window", "output", "drain", "name")]
    for point in plan.points:
        step = point.step
        utilization = step.useful_macs / (step.cycles * point.roof.macs_per_cycle)
        rows.append(
            (
                str(step.index),
                f"{step.cycles / 1e3:.1f}",
                f"{step.useful_macs / 1e6:.2f}",
                f"{100 * utilization:.0f}",
                f"{point.intensity:.1f}",
                point.bound,
                f"{100 * point.attained:.0f}",
                f"{step.read_bytes / 1e3:.0f}",
                f"{step.write_bytes / 1e3:.0f}",
                *(f"{100 * step.causes[cause] / step.cycles:.0f}%" for cause in STALLS),
                step.name,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row[:-1], widths, strict=False)) + f"  {row[-1]}"
        for row in rows
    )


def summary(plan: Plan) -> str:
    """The frame, and what the accelerator takes of the chip."""
    frame, limit = plan.prediction, plan.target.chip.resources
    timing, config = plan.timing, frame.program.config
    stalls = ", ".join(f"{cause.name.lower()} {frame.causes[cause]}" for cause in STALLS)
    used = ", ".join(
        f"{name} {getattr(plan.resources, name):g} of {getattr(limit, name):g}"
        for name in ("lut", "ff", "dsp", "bram36")
    )
    exceeding = plan.resources.exceeding(plan.target.chip.budget)
    bounds = [point.bound for point in plan.points]
    lines = [
        f"{frame.program.name} on {plan.target.chip.name}, 16 x {config.outputs} multipliers at {plan.clock_mhz:g} MHz",
        f"input: {frame.program.input.text}",
        f"memory: {timing.bytes_per_cycle} bytes a cycle, latency {timing.latency} cycles",
        f"{plan.fps:.1f} frames a second: {frame.cycles} cycles in {len(frame.steps)} steps",
        f"utilization {100 * frame.utilization:.1f} %: {frame.program.graph_macs / 1e6:.1f} MMAC of "
        f"{frame.array_macs / 1e6:.1f} possible",
        f"{bounds.count('compute')} steps under the compute roof, {bounds.count('memory')} under the memory roof "
        f"(ridge {plan.points[0].roof.ridge:.0f} MAC/B)",
        f"memory traffic a frame: {frame.read_bytes / 1e6:.2f} MB read, {frame.write_bytes / 1e6:.2f} MB written",
        f"active {frame.causes[ProfileCounter.ACTIVE]} cycles; {stalls}",
        f"resources ({plan.resource_source}): {used}",
    ]
    if plan.resource_source == "estimate":
        lines.append(f"such an estimate was off by {estimate_error(plan.target)}")
    if exceeding:
        budget = ", ".join(f"{name} {getattr(plan.target.chip.budget, name):g}" for name in exceeding)
        lines.append(f"over the budget for {plan.target.chip.name}, which is {budget}")
    if frame.assumed_dilations:
        lines.append("assumed: all dilations from 0 to 7 equally frequent")
    return "\n".join(lines)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``plan`` to the ``codenet`` command (entry point group ``codenet.commands``)."""
    parser = commands.add_parser("plan", help="predict frame rate, utilization, memory traffic and resources")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", type=Path, metavar="FILE", help="graph (.cdg) or program (.cdn)")
    source.add_argument("--config", choices=CONFIGURATIONS, help="configuration of the network instead of a file")
    parser.add_argument("--outputs", type=int, metavar="N", help="output channels of the array (default 32)")
    parser.add_argument("--target", choices=sorted(TARGETS), default="xc7z020", help="chip (default xc7z020)")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="clock (default: 150 on xc7z020, 250 on zu3eg)")
    parser.add_argument(
        "--timing", type=Path, metavar="FILE", help="memory that codenet doctor --memory has measured, and its clock"
    )
    parser.add_argument(
        "--dilations", type=Path, metavar="FILE", help="offsets.json of models.offsets (default: all dilations alike)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.config is not None:
        program = compile_for(load_kept(options.config), options.outputs)
    else:
        program = load_program(options.file, options.outputs)
    dilations = None if options.dilations is None else read_dilations(options.dilations, program)
    timing, clock = (None, options.clock) if options.timing is None else read_timing(options.timing, options.clock)
    result = plan(program, TARGETS[options.target], clock, dilations, timing)
    print(step_table(result), summary(result), sep="\n\n")
    return 0
