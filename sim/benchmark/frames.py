# SPDX-License-Identifier: Apache-2.0
"""Measured frames: a configuration's photo through the RTL, with what is needed to explain its cycles, as a JSON file.

``python -m sim.benchmark.frames CONFIG -o FILE`` runs one; :mod:`sim.benchmark` calls it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codenet import command, files
from codenet.checkout import BUILD, sources
from codenet.config import BEAT_BYTES, AcceleratorConfig
from codenet.errors import FormatError
from codenet.golden import interpreter
from codenet.graph import Graph
from codenet.program import Program
from codenet.registers import ProfileCounter
from codenet.runtime.accelerator import StepProfile
from codenet.vision.image import load, resize, to_activation
from sim.benchmark.trace import TracedStep
from sim.cycles import FramePrediction, dilation_maps, predict
from sim.cycles.fetch import DESCRIPTOR_BEATS
from sim.cycles.model import CAUSES
from sim.cycles.work import work_of
from sim.frame import run_frame
from sim.networks import CONFIGURATIONS, PHOTO, load_kept
from sim.performance.plan import compile_for
from sim.timing import CLOCK_HZ, DramTiming
from sim.verilator.library import HARNESS

BENCH = BUILD / "bench"


@dataclass(frozen=True)
class FrameStep:
    """A measured step.

    Attributes
    ----------
    counters:
        By :class:`codenet.registers.ProfileCounter`.
    predicted:
        Cycles of the cycle model, given the dilations of this frame.
    activation_beats, parameter_beats:
        What the step itself reads; the hardware counts parameters in the step before.
    """

    name: str
    counters: tuple[int, ...]
    predicted: int
    useful_macs: int
    activation_beats: int
    parameter_beats: int

    @property
    def cycles(self) -> int:
        """Measured cycles."""
        return sum(self.causes.values())

    @property
    def causes(self) -> dict[ProfileCounter, int]:
        """Measured cycles by counter."""
        return {cause: self.counters[cause] for cause in CAUSES}

    @property
    def error(self) -> float:
        """Of the prediction, as part of the measured cycles."""
        return self.predicted / self.cycles - 1

    @property
    def moved_bytes(self) -> int:
        """The step's own activations, parameters and results."""
        written = self.counters[ProfileCounter.WRITE_BEATS]
        return BEAT_BYTES * (self.activation_beats + self.parameter_beats + written)

    @property
    def traced(self) -> TracedStep:
        """The step as a trace needs it."""
        return TracedStep(self.name, self.counters, self.activation_beats)


@dataclass(frozen=True)
class Frame:
    """A measured frame. ``key``: digest of all that its cycles depend on; ``tensors``, ``mismatches``: of the
    comparison with the golden model.
    """

    key: str
    name: str
    untrained: bool
    config: dict[str, int]
    clock_hz: float
    tensors: int
    mismatches: int
    detections: int
    graph_macs: int
    steps: tuple[FrameStep, ...]

    @property
    def cycles(self) -> int:
        """Measured cycles of all steps."""
        return sum(step.cycles for step in self.steps)

    @property
    def predicted(self) -> int:
        """Cycles of the cycle model."""
        return sum(step.predicted for step in self.steps)

    @property
    def computed_macs(self) -> int:
        """Multiply-accumulates of all steps; those of the graph that need no computation are not in it."""
        return sum(step.useful_macs for step in self.steps)

    def beats(self, counter: ProfileCounter) -> int:
        """Sum of one counter."""
        return sum(step.counters[counter] for step in self.steps)

    def save(self, path: Path) -> None:
        """Write the JSON file; complete or not at all."""
        files.write_json(path, dataclasses.asdict(self))


def load_frame(path: Path) -> Frame:
    """Inverse of :meth:`Frame.save`.

    Raises
    ------
    FormatError
        Not a measured frame of this version.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        steps = tuple(FrameStep(**(step | {"counters": tuple(step["counters"])})) for step in values["steps"])
        return Frame(**(values | {"steps": steps}))
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: expected a measured frame ({error!r}); delete it") from error


def key_of(name: str, config: AcceleratorConfig | None = None) -> str:
    """Digest of the graph, the photo, the hardware, the compiler, the model and the memory's timing."""
    digest = hashlib.sha256(repr((config or AcceleratorConfig(), DramTiming())).encode())
    for operation in load_kept(name).operations:
        digest.update(repr(sorted((field, _bytes(value)) for field, value in vars(operation).items())).encode())
    for path in (PHOTO, *HARNESS, *sources("sim.benchmark.frames")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _bytes(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return (
        [(name, _bytes(inner)) for name, inner in sorted(vars(value).items())] if hasattr(value, "__dict__") else value
    )


def combine(
    graph: Graph, program: Program, profile: list[StepProfile], prediction: FramePrediction
) -> tuple[FrameStep, ...]:
    """Counters and prediction, step by step."""
    return tuple(
        FrameStep(
            name=measured.name,
            counters=measured.counters,
            predicted=predicted.cycles,
            useful_macs=predicted.useful_macs,
            activation_beats=work_of(predicted.work.step, program.config).load_beats,
            parameter_beats=DESCRIPTOR_BEATS + predicted.work.step.parameter_beats,
        )
        for measured, predicted in zip(profile, prediction.steps, strict=True)
    )


def simulate(name: str) -> Frame:
    """Run the frame of configuration ``name``.

    Raises
    ------
    DeviceError
        The simulation failed.
    """
    from sim.verilator.board import RtlDevice

    key = key_of(name)
    graph = load_kept(name)
    program = compile_for(graph, None)
    activation = to_activation(resize(load(PHOTO), program.input.height, program.input.width, program.input.fit))
    prediction = predict(program, dilations=dilation_maps(program, interpreter.run(graph, activation)))
    with RtlDevice(program.config) as device:
        result = run_frame(device, program, graph, PHOTO, name=name, threshold=0.3)
    return Frame(
        key=key,
        name=name,
        untrained=bool(graph.metadata.get("untrained")),
        config=program.config.to_dict(),
        clock_hz=CLOCK_HZ,
        tensors=result.tensors,
        mismatches=len(result.mismatches),
        detections=len(result.detections),
        graph_macs=program.graph_macs,
        steps=combine(graph, program, result.profile, prediction),
    )


def _run(options: argparse.Namespace) -> None:
    frame = simulate(options.config)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    frame.save(options.output)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = command.Parser(prog="python -m sim.benchmark.frames", description="Measure one frame in RTL simulation.")
    parser.add_argument("config", choices=CONFIGURATIONS, help="configuration of the network")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
