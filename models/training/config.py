# SPDX-License-Identifier: Apache-2.0
"""What a training run depends on besides data and network."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from codenet.errors import CodenetError
from models.data.augment import Augmentation

#: Learning rates of the box outputs, relative to the others: 16 is the factor by which TTFNet scales these outputs.
BOX_RATES = (("heads.size.out", 16.0), ("heads.offset.out", 16.0))


@dataclass(frozen=True)
class TrainConfig:
    """What a training run depends on besides data and network; it travels in the checkpoint.

    ``slope_end``: the part of the run after which the activations are plain ReLU, annealed from ``slope``.
    ``ema``: decay per step of the averaged weights, which are the result. ``mixed``: convolutions compute in ``half``,
    bfloat16 or float16 (whose losses are scaled against underflow). ``rates``: prefixes of parameters' names with what
    multiplies the learning rate for them; the first that fits counts. Sizes and offsets are tens of pixels, which
    Adam's equal steps would take long to reach.
    """

    iterations: int = 2400
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 100
    slope: float = 0.1
    slope_end: float = 0.6
    ema: float = 0.997
    clip: float = 10.0
    seed: int = 1
    cache_size: int = 320
    mixed: bool = False
    rates: tuple[tuple[str, float], ...] = BOX_RATES
    augmentation: Augmentation = Augmentation()
    half: str = "bfloat16"

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "rate", "cache_size"):
            if not getattr(self, name) > 0:
                raise CodenetError(f"training: {name} is {getattr(self, name)}, expected more than 0")
        if self.half not in ("bfloat16", "float16"):
            raise CodenetError(f"training: half is {self.half!r}, expected 'bfloat16' or 'float16'")

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.iterations - self.warmup)
        return self.rate * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    def negative_slope(self, step: int) -> float:
        """Slope of the activations at ``step``."""
        return self.slope * max(0.0, 1 - step / max(1.0, self.slope_end * self.iterations))

    def averaging(self, step: int) -> float:
        """How much of the averaged weights stays at ``step``; a young average follows quickly, so that the early
        weights leave no trace.
        """
        return min(self.ema, (1 + step) / (10 + step))

    def mosaic(self, step: int) -> float:
        """How likely the images of batch ``step`` are mosaics."""
        return self.augmentation.mosaic if step < self.augmentation.mosaic_end * self.iterations else 0.0

    def differences(self, saved: dict[str, Any]) -> list[str]:
        """How the settings ``saved`` in a checkpoint (`dataclasses.asdict`) differ; those that it lacks had their
        defaults.
        """
        defaults = _flat(dataclasses.asdict(TrainConfig()))
        before, now = defaults | _flat(saved), _flat(dataclasses.asdict(self))
        return [f"{key} is {before[key]!r} there, {value!r} here" for key, value in now.items() if before[key] != value]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots; lists as tuples."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _tuple(value)
    return flat


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list | tuple) else value
