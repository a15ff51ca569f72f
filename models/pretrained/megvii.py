# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the original ShuffleNetV2 code (megvii-model/ShuffleNet-Series) in torchvision's layout.

The two networks do the same with their channels in another order. There a unit takes the even channels as they are and
the odd ones through its branch, and puts the results one after the other; in torchvision's, which ours is, it takes the
first and the second half and interleaves the results. A channel thus passes through as many units in either, but from
other places. `to_torchvision` gives each channel a place from which it passes through as many units, and reorders the
convolutions accordingly: the function stays the same.

One unit differs in more: the first of the first stage has branches of 24 and C - 24 channels there, C / 2 each here.
Channels of its main branch beyond C / 2, those that vary least, have no place: they become their expected value, in the
other branch, and training has to find something better for them (34 of 116 at width 1.0x, 98 of 244 at 2.0x). All else
is exact.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from codenet.errors import CodenetError

logger = logging.getLogger(__name__)

_NORM = ("weight", "bias", "running_mean", "running_var")

#: A channel: the unit that made it, its branch, and its number there.
Channel = tuple[int, str, int]


def _passes_there(place: int, left: int) -> int:
    """Units, of ``left``, that the channel at ``place`` passes before one takes it through its branch: even places go
    on, at half.
    """
    count = 0
    while count < left and place % 2 == 0:
        place, count = place // 2, count + 1
    return count


def _passes_here(place: int, left: int, half: int) -> int:
    """The same in our order: places in the first half go on, at twice."""
    count = 0
    while count < left and place < half:
        place, count = place * 2, count + 1
    return count


def _match(there: list[int], here: list[int]) -> list[int]:
    """For each channel of ``here`` one of ``there`` with as many passes, as indices; both are lists of passes."""
    order = np.empty(len(here), int)
    order[np.argsort(here, kind="stable")] = np.argsort(there, kind="stable")
    assert [there[n] for n in order] == here
    return order.tolist()


class _Stage:
    """Conversion of one stage; ``inputs`` is the order of its input channels here, as numbers there."""

    def __init__(self, source: dict[str, np.ndarray], first: int, units: int, half: int, inputs: np.ndarray) -> None:
        self.source, self.first, self.units, self.half, self.inputs = source, first, units, half, inputs
        #: Channels by their place, there and here.
        self.there: list[Channel] = []
        self.here: list[Channel] = []
        self.lost = 0

    def take(self, key: str) -> np.ndarray:
        if key not in self.source:
            raise CodenetError(f"weights: {key} is missing")
        return self.source[key]

    def layer(
        self, unit: int, branch: str, conv: int, outputs: np.ndarray | None = None, inputs: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays of a convolution and its norm with their channels reordered, by their positions in the branch."""
        prefix = f"features.{self.first + unit}.branch_{branch}"
        weight = self.take(f"{prefix}.{conv}.weight")
        outputs = np.arange(len(weight)) if outputs is None else outputs
        weight = weight[outputs] if inputs is None else weight[outputs][:, inputs]
        norms = {f"{conv + 1}.{name}": self.take(f"{prefix}.{conv + 1}.{name}")[outputs] for name in _NORM}
        return {f"{conv}.weight": weight, **norms}

    def down(self) -> dict[str, np.ndarray]:
        """Arrays of the first unit, ``branch1`` and ``branch2``."""
        left, half = self.units - 1, self.half
        projected = len(self.take(f"features.{self.first}.branch_proj.2.weight"))
        names = [(0, "proj", n) for n in range(projected)] + [(0, "main", n) for n in range(2 * half - projected)]
        passes = {name: _passes_there(place, left) for place, name in enumerate(names)}
        here = [_passes_here(place, left, half) for place in range(2 * half)]
        if projected == half:
            first, second = names[:half], names[half:]
        else:
            first, second = self._deal(names, passes, here)
        self.there, self.here = names, [("", "", 0)] * (2 * half)  # type: ignore[list-item]
        for start, group in enumerate((first, second)):
            order = _match([passes[name] for name in group], here[start::2])
            self.here[start::2] = [group[n] for n in order]
        main = np.array([number for _, _, number in self.here[1::2]])
        branches = {"branch1": self._first_branch(), "branch2": self.layer(0, "main", 0, inputs=self.inputs)}
        branches["branch2"] |= self.layer(0, "main", 3) | self.layer(0, "main", 5, outputs=main)
        return {f"{branch}.{key}": value for branch, arrays in branches.items() for key, value in arrays.items()}

    def _deal(
        self, names: list[Channel], passes: dict[Channel, int], here: list[int]
    ) -> tuple[list[Channel], list[Channel]]:
        """Channels for either branch where the main one has too many: those that vary least go to the first."""
        spread = dict(zip((name for name in names if name[1] == "main"), self._moments()[1], strict=True))
        first = [name for name in names if name[1] == "proj"]
        second: list[Channel] = []
        for count in sorted(set(here)):
            main = sorted((name for name in spread if passes[name] == count), key=lambda name: -spread[name])
            room = here[1::2].count(count)
            second += main[:room]
            first += main[room:]
        self.lost = len(first) - sum(name[1] == "proj" for name in first)
        return first, second

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Expected value and variance of the main branch's outputs: ReLU of a normal distribution that the norm
        makes.
        """
        gamma, mean = (self.take(f"features.{self.first}.branch_main.6.{name}") for name in ("weight", "bias"))
        deviation = np.maximum(np.abs(gamma), 1e-6)
        z = mean / deviation
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        below = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in z])
        first = mean * below + deviation * density
        second = (mean**2 + deviation**2) * below + mean * deviation * density
        return first, second - first**2

    def _first_branch(self) -> dict[str, np.ndarray]:
        """The projection; channels of the main branch that have no place get weights to learn, and their expected
        value.
        """
        arrays = self.layer(0, "proj", 0, outputs=self.inputs)
        chosen = self.here[0::2]
        known = np.array([branch == "proj" for _, branch, _ in chosen])
        numbers = np.array([number for _, _, number in chosen])
        for key, source in self.layer(0, "proj", 2, inputs=self.inputs).items():
            fill = {"3.weight": 0.0, "3.bias": 0.0, "3.running_mean": 0.0, "3.running_var": 1.0}.get(key, 0.0)
            value = np.full((self.half, *source.shape[1:]), fill, source.dtype)
            value[known] = source[numbers[known]]
            if not known.all() and key == "3.bias":
                value[~known] = self._moments()[0][numbers[~known]]
            elif not known.all() and key == "2.weight":
                rng = np.random.default_rng(0)
                value[~known] = rng.normal(0, math.sqrt(2 / source.shape[1]), value[~known].shape)
            arrays[key] = value
        return arrays

    def ordinary(self, unit: int) -> dict[str, np.ndarray]:
        """Arrays of a unit of stride 1, ``branch2``."""
        left, half = self.units - 1 - unit, self.half
        odd = {name: n for n, name in enumerate(self.there[1::2])}
        inputs = np.array([odd[name] for name in self.here[half:]])
        made: list[Channel] = [(unit, "main", n) for n in range(half)]
        passes = [_passes_there(half + n, left) for n in range(half)]
        here = [_passes_here(2 * n + 1, left, half) for n in range(half)]
        outputs = np.array(_match(passes, here))
        kept = self.here[:half]
        self.there = self.there[0::2] + made
        self.here[0::2], self.here[1::2] = kept, [made[n] for n in outputs]
        layers = self.layer(unit, "main", 0, inputs=inputs) | self.layer(unit, "main", 3)
        layers |= self.layer(unit, "main", 5, outputs=outputs)
        return {f"branch2.{key}": value for key, value in layers.items()}

    def outputs(self) -> np.ndarray:
        """The order of the stage's outputs here, as numbers there."""
        place = {name: n for n, name in enumerate(self.there)}
        return np.array([place[name] for name in self.here])


def to_torchvision(
    source: dict[str, np.ndarray], widths: tuple[int, ...], units: tuple[int, ...], path: Path
) -> dict[str, np.ndarray]:
    """Stem and stages of an original checkpoint by torchvision's names, for RGB input in 0 to 255.

    ``widths``: channels of each stage; ``units``: units of each. `CodenetError` naming the key if an array is missing
    or the widths differ.
    """
    arrays = {"conv1.0.weight": source["first_conv.0.weight"][:, ::-1]}  # trained on BGR
    for name in _NORM:
        if f"first_conv.1.{name}" not in source:
            raise CodenetError(f"weights: first_conv.1.{name} is missing")
        arrays[f"conv1.1.{name}"] = source[f"first_conv.1.{name}"]
    order, first = np.arange(len(source["first_conv.0.weight"])), 0
    for number, (width, count) in enumerate(zip(widths, units, strict=True), start=2):
        key = f"features.{first}.branch_main.0.weight"
        if key not in source or len(source[key]) != width // 2:
            shape = source[key].shape if key in source else "missing"
            raise CodenetError(
                f"weights {path}: {key} is {shape}, expected {width // 2} outputs for a stage of {width} channels: "
                "weights of a 1.0x "
                f"network fit configurations a, b and c, those of a 2.0x network d and e"
            )
        stage = _Stage(source, first, count, width // 2, order)
        arrays |= {f"stage{number}.0.{key}": value for key, value in stage.down().items()}
        for unit in range(1, count):
            arrays |= {f"stage{number}.{unit}.{key}": value for key, value in stage.ordinary(unit).items()}
        if stage.lost:
            logger.warning(
                "weights %s: stage %d: %d of %d channels have no place in this network and start as constants",
                *(path, number, stage.lost, width),
            )
        order, first = stage.outputs(), first + count
    return arrays
