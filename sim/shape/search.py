# SPDX-License-Identifier: Apache-2.0
"""Search for the shapes of networks that reach a frame rate and are accurate by the proxy: an evolution of those that
are there, with the cycle model in the loop.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from codenet.errors import CodenetError
from sim.shape.cost import Costs
from sim.shape.proxy import Proxy, macs
from sim.shape.shapes import SPACE, Shape, neighbours, starts

PARENTS, CHILDREN = 24, 12
"""Shapes that others are made from, and how many at a time."""

TOO_SLOW = 30.0
"""Points of AP50 that a shape loses for half the wanted frame rate: more than twice the time gains, so that the search
ends above the rate; slightly slower ones are still worth a step from them.
"""

_TRIES = 60
"""Steps from a shape until it counts as surrounded by known ones."""


@dataclass(frozen=True)
class Candidate:
    """A shape that the compiler takes: cycles a frame, frames a second, multiply-accumulates carried out, and the
    proxy's AP50 in percent.
    """

    shape: Shape
    cycles: int
    fps: float
    macs: int
    ap50: float

    def fitness(self, fps: float) -> float:
        """AP50, less what is lost for frames a second below ``fps``."""
        return self.ap50 - TOO_SLOW * max(0.0, math.log2(fps / self.fps))


@dataclass
class Search:
    """Shapes at ``clock_mhz``. The same runs one after another find the same shapes.

    Attributes
    ----------
    found:
        Every shape that was looked at and compiles, by shape.
    refused:
        Reasons of the compiler, by shape.
    """

    costs: Costs
    proxy: Proxy
    clock_mhz: float
    space: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: SPACE)
    seed: int = 0
    found: dict[Shape, Candidate] = field(default_factory=dict)
    refused: dict[Shape, str] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """Shapes that were looked at."""
        return len(self.found) + len(self.refused)

    def look(self, shape: Shape) -> None:
        """Measure ``shape``, unless it is known."""
        if self._known(shape):
            return
        cost = self.costs[shape]
        if cost.cycles is None:
            self.refused[shape] = str(cost.refused)
            return
        counts = macs(shape)
        self.found[shape] = Candidate(
            shape, cost.cycles, self.clock_mhz * 1e6 / cost.cycles, sum(counts.values()), self.proxy(shape, counts)
        )

    def ranked(self, fps: float) -> list[Candidate]:
        """The fittest for ``fps`` frames a second first."""
        return sorted(self.found.values(), key=lambda candidate: -candidate.fitness(fps))

    def run(self, fps: float, shapes: int, progress: Callable[[], None] = lambda: None) -> None:
        """Look at ``shapes`` more shapes for ``fps`` frames a second; fewer where the fittest are surrounded by known
        ones. ``progress`` is called after each.
        """
        generator = random.Random(self.seed)
        enough = self.seen + shapes
        waiting = [shape for shape in starts(self.space["size"]) if not self._known(shape)]
        while self.seen < enough and (waiting := waiting or list(self._children(fps, generator))):
            self.look(waiting.pop(0))
            progress()

    def _known(self, shape: Shape) -> bool:
        return shape in self.found or shape in self.refused

    def _children(self, fps: float, generator: random.Random) -> Iterator[Shape]:
        """Shapes that nobody has looked at, each a step from one of the fittest."""
        parents, new = self.ranked(fps)[:PARENTS], set()
        for _ in range(CHILDREN if parents else 0):
            # The fitter of two.
            parent = parents[min(generator.randrange(len(parents)) for _ in range(2))]
            for shape in islice(neighbours(parent.shape, generator, self.space), _TRIES):
                if shape not in new and not self._known(shape):
                    new.add(shape)
                    yield shape
                    break

    def best(self, fps: float, count: int) -> list[Candidate]:
        """The most accurate that reach ``fps`` frames a second.

        Raises
        ------
        CodenetError
            None does; names the fastest.
        """
        fast = [candidate for candidate in self.ranked(fps) if candidate.fps >= fps]
        if fast:
            return fast[:count]
        if not self.found:
            raise CodenetError(f"{self.seen} shapes, all refused by the compiler: {next(iter(self.refused.values()))}")
        fastest = max(self.found.values(), key=lambda candidate: candidate.fps)
        raise CodenetError(
            f"{fps:g} frames a second: none of {self.seen} networks reaches them at {self.clock_mhz:g} MHz, expected "
            f"at most {math.floor(10 * fastest.fps) / 10}, the fastest found ({fastest.shape})"
        )


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in frame rate and accuracy, from fast to slow."""
    ordered = sorted(candidates, key=lambda candidate: (-candidate.fps, -candidate.ap50))
    result: list[Candidate] = []
    for candidate in ordered:
        if not result or candidate.ap50 > result[-1].ap50:
            result.append(candidate)
    return result
