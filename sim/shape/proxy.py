# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a shape that nobody has trained: a line through the few that have been.

AP50 is taken to be linear in the logarithms of the input's pixels and of the multiplications a pixel, plus a constant
for the stem. Multiplications are those that are carried out (a 1x1 convolution runs before the upsampling that it
follows). Backbone, decoder and heads enter by their logarithms, weighted with their parts in configuration a: so a part
that grows alone gains less and less. The line is fitted by least squares to the shipped detectors (their golden
model's AP50) and to the paper's five (VOC 2007), each set with a constant of its own. Bits have what was measured once
(docs/results.md, Precisions); skips and sets of dilations count for nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from codenet.errors import CodenetError, FormatError
from codenet.graph import Convolution, Graph, Upsample
from models.network.config import CONFIGS, NetworkConfig
from models.quantization.outline import outline
from sim.networks import ZOO
from sim.shape.shapes import Shape

#: The paper's networks: AP50 in percent at W4A8, trained on VOC 2007 and 2012, tested on VOC 2007, and frames a second
#: on a ZU3EG (CoDeNet, table 4).
PAPER: Mapping[str, tuple[float, float]] = {
    "a": (51.1, 32.2),
    "b": (55.1, 26.9),
    "c": (61.7, 9.3),
    "d": (67.1, 5.2),
    "e": (69.7, 4.6),
}

#: AP50 against W4A8, in percent, one seed each: two that differ by less than one may be equal.
PRECISIONS = {"W4A8": 0.0, "W4A8 decoder=W8 heads=W8": 0.4, "W8A8": 1.0, "W4A4": -6.7}

TERMS = ("paper", "shipped", "pixels", "multiplications", "stem")


@dataclass(frozen=True)
class Detector:
    """A trained network: AP50 in percent, where from (``"paper"`` or ``"shipped"``), and cycles or frames a second."""

    name: str
    source: str
    shape: Shape
    ap50: float
    cycles: int | None = None
    fps: float | None = None


def paper() -> list[Detector]:
    """The paper's five, with the frames a second that it measured."""
    return [Detector(name, "paper", Shape(CONFIGS[name]), ap50, fps=fps) for name, (ap50, fps) in PAPER.items()]


def shipped(folder: Path = ZOO) -> list[Detector]:
    """Detectors of the records in ``folder``: AP50 of the golden model, cycles of the simulated frame.

    `FormatError` for a file that is no record.
    """
    found = []
    for path in sorted(folder.glob("codenet-*.json")):
        try:
            record = json.loads(path.read_text())
            config = NetworkConfig.from_dict(record["config"])
            ap50 = 100 * float(record["scores"]["golden"]["ap50"])
            found.append(Detector(config.name, "shipped", Shape(config), ap50, record["cycles"]))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: expected a record of models.zoo ({error!r})") from error
    return found


def carried_out(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of a frame of backbone, decoder and heads."""
    counts: dict[str, int] = {}
    upsampled = {operation.name for operation in graph.operations if isinstance(operation, Upsample)}
    for name, count in graph.macs().items():
        operation = graph[name]
        point = isinstance(operation, Convolution) and operation.weights.shape[1] == 1
        if point and operation.inputs[0] in upsampled:
            count //= 4
        part = name.split(".")[0]
        counts[part] = counts.get(part, 0) + count
    return counts


@cache
def macs(shape: Shape) -> dict[str, int]:
    """`carried_out` of ``shape``."""
    return carried_out(outline(shape.config))


class Proxy:
    """AP50 in percent, fitted to ``detectors``; on the scale of the shipped ones.

    `CodenetError` unless some of them are shipped.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        if not any(detector.source == "shipped" for detector in detectors):
            raise CodenetError(f"{ZOO}: no record of a shipped detector, expected one to learn accuracies from")
        self.detectors = list(detectors)
        self.rows = np.array([self._row(detector) for detector in detectors])
        self.scores = np.array([detector.ap50 for detector in detectors])
        self.coefficients = np.linalg.lstsq(self.rows, self.scores, rcond=None)[0]

    @cached_property
    def _reference(self) -> dict[str, int]:
        return macs(Shape(CONFIGS["a"]))

    def _features(self, shape: Shape, counts: Mapping[str, int]) -> list[float]:
        total, pixels = sum(self._reference.values()), math.log2(shape.pixels / math.prod(CONFIGS["a"].input_size))
        work = sum(part / total * math.log2(counts[name] / part) for name, part in self._reference.items())
        return [pixels, work - pixels, float(shape.config.stem == "s2max")]

    def _row(self, detector: Detector) -> list[float]:
        features = self._features(detector.shape, macs(detector.shape))
        return [float(detector.source == source) for source in TERMS[:2]] + features

    def __call__(self, shape: Shape, counts: Mapping[str, int]) -> float:
        """AP50 in percent of ``shape`` with ``counts`` of :func:`macs`."""
        line = float(self.coefficients[1:] @ [1.0, *self._features(shape, counts)])
        return line + PRECISIONS[str(shape.precision)]

    @property
    def errors(self) -> dict[str, float]:
        """Left out of the fit, what it says of each detector, less what is true: by source and name, in percent."""
        found = {}
        for number, detector in enumerate(self.detectors):
            others = np.arange(len(self.detectors)) != number
            line = np.linalg.lstsq(self.rows[others], self.scores[others], rcond=None)[0]
            found[f"{detector.source} {detector.name}"] = float(self.rows[number] @ line - detector.ap50)
        return found

    def __str__(self) -> str:
        _, _, pixels, work, stem = self.coefficients
        errors = np.abs(list(self.errors.values()))
        return (
            f"estimated AP50: {pixels:+.1f} points for twice the pixels, {work:+.1f} for twice the multiplications a "
            f"pixel, {stem:+.1f} for the stem s2max; fitted to {len(self.detectors)} detectors, each of them missed by "
            f"{errors.mean():.1f} points on the average and {errors.max():.1f} at most when it is left out"
        )


def fitted(folder: Path = ZOO, others: Iterable[Detector] | None = None) -> Proxy:
    """The proxy of the detectors in ``folder`` and of the paper's, or of ``others``."""
    return Proxy([*shipped(folder), *(paper() if others is None else others)])
