# SPDX-License-Identifier: Apache-2.0
"""What a shape costs: cycles a frame by compiler and cycle model, kept in a file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from codenet import compiler
from codenet.checkout import digest, sources
from codenet.command import describe
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError, CompileError
from models.quantization.outline import outline
from sim.cycles import equally_frequent, predict
from sim.shape.shapes import Shape
from sim.timing import DramTiming


@dataclass(frozen=True)
class Cost:
    """Cycles a frame, the dilations of the network's set being equally frequent; without them, why the compiler refuses
    the network.
    """

    cycles: int | None
    refused: str | None = None


def measure(shape: Shape, accelerator: AcceleratorConfig, timing: DramTiming) -> Cost:
    """Compile ``shape`` and predict a frame."""
    try:
        program = compiler.compile(outline(shape.config, precision=shape.precision), accelerator)
    except CompileError as error:
        return Cost(None, str(error))
    return Cost(predict(program, timing, equally_frequent(program, shape.config.dilations)).cycles)


class Costs:
    """Costs on one accelerator with its memory. Each is measured once and kept in ``folder``, as a line of a file whose
    name changes with accelerator, memory, compiler and cycle model.

    Attributes
    ----------
    measured:
        How many have been measured, and not found in the file.
    """

    def __init__(self, folder: Path, accelerator: AcceleratorConfig, timing: DramTiming) -> None:
        self.accelerator, self.timing = accelerator, timing
        settings = (json.dumps(accelerator.to_dict()), json.dumps(dataclasses.asdict(timing)))
        self.path = folder / f"cycles-{digest(sources('sim.shape.cost'), *settings)}.jsonl"
        self.measured = 0
        self.kept: dict[str, Cost] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            try:
                key, cycles, refused = json.loads(line)
            except ValueError:  # the run was killed while it wrote
                continue
            self.kept[key] = Cost(cycles, refused)

    def __contains__(self, shape: Shape) -> bool:
        return shape.key in self.kept

    def __getitem__(self, shape: Shape) -> Cost:
        """Cost of ``shape``; `CodenetError` if it cannot be kept."""
        if shape not in self:
            cost = measure(shape, self.accelerator, self.timing)
            self._keep(shape.key, cost)
            self.measured += 1
        return self.kept[shape.key]

    def _keep(self, key: str, cost: Cost) -> None:
        self.kept[key] = cost
        try:
            # The end of the line comes first: what a killed run left of one stays alone.
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([key, cost.cycles, cost.refused]))
        except OSError as error:
            raise CodenetError(f"{self.path}: cannot be written: {describe(error)}") from error
