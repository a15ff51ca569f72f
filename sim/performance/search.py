# SPDX-License-Identifier: Apache-2.0
"""Search for the shape of the accelerator: frame rates from the cycle model, resources from the table, over many
shapes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Graph
from hw.chips import Usage
from sim.cycles import predict
from sim.performance.targets import Clock, Target, clock_of, resources_of, resources_report

SPACE: Mapping[str, tuple[int, ...]] = {
    "outputs": (16, 24, 32, 40, 48),
    "window_depth": (512, 1024),
    "weight_depth": (512, 1024),
}
"""Sizes that cost most of the block RAM and of the multipliers; the others stay at their defaults."""


@dataclass(frozen=True)
class Candidate:
    """A shape with its frame rates by network; networks that do not compile for it are in ``refused``, with the reason.

    Attributes
    ----------
    excess:
        Resources of which it needs more than the target's budget.
    """

    config: AcceleratorConfig
    fps: Mapping[str, float]
    refused: Mapping[str, str]
    resources: Usage
    resource_source: str
    excess: tuple[str, ...]
    clock: Clock

    @property
    def name(self) -> str:
        """Its sizes, for people."""
        return f"16x{self.config.outputs}, window {self.config.window_depth}, weights {self.config.weight_depth}"

    @property
    def fits(self) -> bool:
        """Whether the target's budget is enough."""
        return not self.excess

    @property
    def score(self) -> float:
        """Geometric mean of the frame rates; 0 if a network is refused."""
        if self.refused or not self.fps:
            return 0.0
        return math.exp(sum(map(math.log, self.fps.values())) / len(self.fps))


def shapes(space: Mapping[str, Sequence[int]] = SPACE) -> Iterator[AcceleratorConfig]:
    """Every combination of the sizes in ``space``."""
    for values in itertools.product(*space.values()):
        yield dataclasses.replace(AcceleratorConfig(), **dict(zip(space, values, strict=True)))


def evaluate(
    config: AcceleratorConfig, graphs: Mapping[str, Graph], target: Target, clock_mhz: float | None = None
) -> Candidate:
    """Frame rates of ``graphs`` on one shape, at ``clock_mhz``, otherwise at the clock that the shape has."""
    fps, refused = {}, {}
    clock = clock_of(config, target) if clock_mhz is None else Clock(clock_mhz, "asked for")
    for name, graph in graphs.items():
        try:
            program = compiler.compile(graph, config)
        except CompileError as error:
            refused[name] = str(error)
            continue
        fps[name] = clock.mhz * 1e6 / predict(program, target.timing(clock.mhz)).cycles
    resources, source = resources_of(config, target)
    return Candidate(config, fps, refused, resources, source, tuple(resources.exceeding(target.chip.budget)), clock)


def search(
    graphs: Mapping[str, Graph],
    target: Target,
    space: Mapping[str, Sequence[int]] = SPACE,
    clock_mhz: float | None = None,
) -> list[Candidate]:
    """Evaluate every shape of ``space``, best first."""
    found = [evaluate(config, graphs, target, clock_mhz) for config in shapes(space)]
    return sorted(found, key=lambda candidate: -candidate.score)


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The fastest shape that fits; of equally fast ones (within 1 %) the one with the fewest block RAMs."""
    fitting = [candidate for candidate in candidates if candidate.fits and candidate.score > 0]
    if not fitting:
        return None
    best = max(candidate.score for candidate in fitting)
    near = [candidate for candidate in fitting if candidate.score >= 0.99 * best]
    return min(near, key=lambda candidate: (candidate.resources.bram36, candidate.resources.dsp, -candidate.score))


def pareto(candidates: Sequence[Candidate], resource: str) -> list[Candidate]:
    """Shapes that no other beats in frame rate without more of ``resource``, from small to large."""
    ordered = sorted(candidates, key=lambda candidate: (getattr(candidate.resources, resource), -candidate.score))
    front: list[Candidate] = []
    for candidate in ordered:
        if candidate.score > (front[-1].score if front else 0.0):
            front.append(candidate)
    return front


def search_report(candidates: list[Candidate], chosen: Candidate | None, target: Target) -> dict[str, Any]:
    """Every shape of the search, best first."""
    return {
        "target": target.chip.name,
        "chosen": chosen.name if chosen else None,
        "shapes": [
            {
                "name": candidate.name,
                "accelerator": candidate.config.to_dict(),
                "clock_mhz": round(candidate.clock.mhz, 3),
                "clock_source": candidate.clock.source,
                "fps": {name: round(fps, 2) for name, fps in candidate.fps.items()},
                "refused": dict(candidate.refused),
                "resources": resources_report(candidate.resources, candidate.resource_source),
                "exceeds": list(candidate.excess),
            }
            for candidate in candidates
        ],
    }


def search_table(search: dict[str, Any]) -> str:
    """A line a shape of :func:`search_report`, best first."""
    names = list(dict.fromkeys(name for shape in search["shapes"] for name in (*shape["fps"], *shape["refused"])))
    lines = [
        f"| shape | {' | '.join(f'{name}, fps' for name in names)} | clock, MHz | LUT | FF | DSP | BRAM36 | resources "
        "| |",
        "|---|" + "---|" * (len(names) + 7),
    ]
    for shape in search["shapes"]:
        r = shape["resources"]
        rates = " | ".join(f"{shape['fps'][name]:.1f}" if name in shape["fps"] else "refused" for name in names)
        note = f"too much {', '.join(shape['exceeds'])}" if shape["exceeds"] else ""
        note = "**chosen**" if shape["name"] == search["chosen"] else note
        lines.append(
            f"| {shape['name']} | {rates} | {shape['clock_mhz']:.1f}, {shape['clock_source']} "
            f"| {r['lut']:,} | {r['ff']:,} | {r['dsp']} | {r['bram36']:g} | {r['source']} | {note} |"
        )
    return "\n".join(lines)
