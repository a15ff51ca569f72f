# SPDX-License-Identifier: Apache-2.0
"""The trained detectors that come with the project, by name: ``models.zoo.load("a")("street.jpg")``.

Each is a compiled program (``sw/codenet/zoo/codenet-a.cdn``), the graph that it was compiled from
(``models/zoo/codenet-a.cdg``), the floating-point network behind both (``codenet-a.pt``, to fine-tune from:
``python -m models.train --start-from``), a card (``codenet-a.md``) and what the card is made from (``codenet-a.json``).
``python -m models.zoo add`` makes all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codenet import Detector
from codenet.errors import CodenetError
from codenet.graph import Graph
from codenet.zoo import ZOO
from models.network import CoDeNet, load_network


@dataclass(frozen=True)
class Shelf:
    """Where the files of the detectors lie."""

    models: Path = Path(__file__).parent
    programs: Path = ZOO

    def names(self) -> list[str]:
        """Detectors that have a graph, sorted."""
        return sorted(path.stem.removeprefix("codenet-") for path in self.models.glob("codenet-*.cdg"))

    def file(self, name: str, suffix: str) -> Path:
        """The file of a detector (``.cdn``, ``.cdg``, ``.pt``, ``.json``, ``.md``), which need not be there."""
        return (self.programs if suffix == ".cdn" else self.models) / f"codenet-{name}{suffix}"

    def find(self, name: str, suffix: str) -> Path:
        """The same; `CodenetError` if there is none."""
        path = self.file(name, suffix)
        if not path.is_file():
            have = [known for known in self.names() if self.file(known, suffix).is_file()]
            raise CodenetError(f"detector {name!r}: no file {path.name}, there is one of {', '.join(have) or 'none'}")
        return path


SHELF = Shelf()


def names() -> list[str]:
    """Names of the shipped detectors."""
    return SHELF.names()


def program(name: str) -> Path:
    """Path of a compiled program."""
    return SHELF.find(name, ".cdn")


def load(name: str, device: str = "auto", threshold: float = 0.3) -> Detector:
    """A detector, ready for photos; close it, or use it in a ``with`` statement."""
    return Detector(program(name), device, threshold=threshold)


def graph(name: str) -> Graph:
    """The graph of integers."""
    return Graph.load(SHELF.find(name, ".cdg"))


def network(name: str) -> CoDeNet:
    """The floating-point network, in evaluation mode; its convolution weights were kept in float16."""
    return load_network(SHELF.find(name, ".pt"))
