# SPDX-License-Identifier: Apache-2.0
"""Shapes of networks: the space that is searched, and steps in it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codenet.config import CONFLICT_FREE
from models.network.config import ALL_DILATIONS, CONFIGS, CONFLICT_FREE_OR_ZERO, STEMS, NetworkConfig
from models.quantization.precision import W4A8, Exemption, Precision

SIZES = tuple(range(160, 641, 32))

#: Values of each field, in order; of a field that is a tuple, of each place.
SPACE: Mapping[str, tuple[Any, ...]] = {
    "size": SIZES,
    "stem": STEMS,
    "channels.0": (16, 24, 32, 48),
    "channels.1": tuple(range(64, 257, 32)),
    "channels.2": tuple(range(128, 513, 32)),
    "channels.3": tuple(range(256, 1025, 64)),
    "channels.4": (256, 320, 384, 448, 512, 640, 768, 1024),
    "units.0": tuple(range(2, 7)),
    "units.1": tuple(range(3, 13)),
    "units.2": tuple(range(2, 8)),
    "decoder.0": (96, 128, 160, 192, 224, 256, 320),
    "decoder.1": (48, 64, 80, 96, 112, 128, 160),
    "decoder.2": (32, 48, 64, 80, 96),
    "head": (32, 48, 64, 80, 96, 128),
    "skips": (False, True),
    "dilations": (ALL_DILATIONS, CONFLICT_FREE_OR_ZERO, CONFLICT_FREE),
    "precision": (W4A8, Precision(mixed=(Exemption("decoder", 8), Exemption("heads", 8)))),
}


UNNAMED = "shape"
"""Name of a network that is none of `CONFIGS`."""

_LETTERS = {config.replace(name=UNNAMED): name for name, config in CONFIGS.items()}


@dataclass(frozen=True)
class Shape:
    """A network and its precision. ``config.name`` is the letter of `CONFIGS`, `UNNAMED` for others."""

    config: NetworkConfig
    precision: Precision = W4A8

    def __post_init__(self) -> None:
        unnamed = self.config.replace(name=UNNAMED)
        letter = _LETTERS.get(unnamed)
        object.__setattr__(self, "config", unnamed if letter is None else CONFIGS[letter])

    @property
    def key(self) -> str:
        """Text that is the same for equal shapes only."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.config.input_size

    @property
    def pixels(self) -> int:
        """Of the input."""
        return math.prod(self.sides)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: those of `NetworkConfig.to_dict` without the name, and ``precision`` as text."""
        values = self.config.to_dict()
        del values["name"]
        return {**values, "precision": str(self.precision)}

    def __str__(self) -> str:
        config = self.config
        widths = (
            "-".join(map(str, values)) for values in (config.channels, config.units, config.decoder, (config.head,))
        )
        return " ".join(["x".join(map(str, self.sides)), config.stem, *widths, *(["skips"] if config.skips else [])])

    def __getitem__(self, field: str) -> Any:
        """Value of a field of `SPACE`."""
        name, _, place = field.partition(".")
        value: Any = self.precision if name == "precision" else getattr(self.config, name)
        return value[int(place)] if place else value

    def replace(self, changes: Mapping[str, Any]) -> Shape:
        """The same with some fields of `SPACE` changed."""
        values: dict[str, Any] = {}
        for field, value in changes.items():
            name, _, place = field.partition(".")
            if place:
                whole = list(values.get(name, getattr(self.config, name)))
                whole[int(place)] = value
                value = tuple(whole)
            values[name] = value
        precision = values.pop("precision", self.precision)
        return Shape(self.config.replace(**values), precision)

    @property
    def widens(self) -> bool:
        """Whether each stage has as many channels as the one before, or more."""
        return list(self.config.channels[:4]) == sorted(self.config.channels[:4])


def starts(sizes: Iterable[int] = SIZES) -> list[Shape]:
    """Where a search begins: the configurations a to g, and their kinds at every second one of ``sizes``."""
    known = [Shape(config) for config in CONFIGS.values()]
    kinds = [shape.replace({"size": size}) for shape in known for size in list(sizes)[::2]]
    return list(dict.fromkeys([*known, *kinds]))


def neighbours(shape: Shape, generator: random.Random, space: Mapping[str, tuple[Any, ...]]) -> Iterator[Shape]:
    """Without end, shapes that differ from ``shape`` in one to three fields, by one or two values of ``space``."""
    fields = [field for field, values in space.items() if len(values) > 1]
    while True:
        chosen = generator.sample(fields, min(len(fields), generator.randint(1, 3)))
        found = shape.replace({field: step(shape[field], space[field], generator) for field in chosen})
        if found.widens and found != shape:
            yield found


def step(value: Any, values: tuple[Any, ...], generator: random.Random) -> Any:
    """Another of ``values``, one or two places from ``value``; from one that is not among them, the nearest."""
    if value not in values:
        return min(values, key=lambda other: abs(other - value))
    place = values.index(value)
    near = [values[n] for n in range(place - 2, place + 3) if 0 <= n < len(values) and n != place]
    return generator.choice(near)
