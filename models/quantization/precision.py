# SPDX-License-Identifier: Apache-2.0
"""Bits of weights and activations of a quantized network: one setting, with exceptions by module."""

from __future__ import annotations

import argparse
import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from codenet.errors import CodenetError

#: Widths of weights that there is a grid for, and of activations.
WEIGHT_BITS = (4, 8)
ACTIVATION_BITS = (4, 8)

#: The first convolution, which sees pixels and has a setting of its own.
STEM = "backbone.stem"

#: An `Exemption` as text: ``heads=W8A8``, ``decoder=W8``.
_PATTERN = re.compile(r"([\w.]+)=W(\d+)(?:A(\d+))?")


@dataclass(frozen=True)
class Exemption:
    """Bits of the modules whose name is ``prefix`` or begins with it and a dot; None leaves what the others have."""

    prefix: str
    weights: int
    activations: int | None = None

    def covers(self, name: str) -> bool:
        """Whether this is about the module ``name``."""
        return name == self.prefix or name.startswith(f"{self.prefix}.")

    def __str__(self) -> str:
        activations = "" if self.activations is None else f"A{self.activations}"
        return f"{self.prefix}=W{self.weights}{activations}"

    @classmethod
    def parse(cls, text: str) -> Exemption:
        """Inverse of `str`: ``decoder=W8`` or ``heads.heatmap=W8A8``; `CodenetError` for anything else."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise CodenetError(
                f"precision: {text!r}, expected a module and its bits, such as heads=W8 or decoder.0=W8A8"
            )
        prefix, weights, activations = match.groups()
        return cls(prefix, int(weights), None if activations is None else int(activations))


@dataclass(frozen=True)
class Precision:
    """Bits of a quantized network.

    Parameters
    ----------
    weights: of 1x1 convolutions (and full 3x3 ones but the stem).
    activations: of all tensors between image and head outputs; the image has 8 bits, a dilation 3, a head output 16.
    stem: of the first convolution's weights.
    depthwise: of depthwise convolutions' weights. The accelerator's depthwise filter takes 4 bits; a network with 8 is
    for comparison. mixed: exceptions by module, the first that covers a module counts; their weights are those of 1x1
    convolutions.

    Raises `CodenetError` for widths that there is no grid for.
    """

    weights: int = 4
    activations: int = 8
    stem: int = 8
    depthwise: int = 4
    mixed: tuple[Exemption, ...] = ()

    def __post_init__(self) -> None:
        for name in ("weights", "stem", "depthwise"):
            self._check(name, getattr(self, name), WEIGHT_BITS)
        self._check("activations", self.activations, ACTIVATION_BITS)
        for exemption in self.mixed:
            self._check(f"{exemption.prefix} weights", exemption.weights, WEIGHT_BITS)
            if exemption.activations is not None:
                self._check(f"{exemption.prefix} activations", exemption.activations, ACTIVATION_BITS)

    @staticmethod
    def _check(name: str, bits: int, choices: tuple[int, ...]) -> None:
        if bits not in choices:
            raise CodenetError(f"precision: {name} have {bits} bits, expected one of {choices}")

    def weight_bits(self, name: str, depthwise: bool = False) -> int:
        """Bits of the weights of the convolution that is, or is in, the module ``name``."""
        if depthwise:
            return self.depthwise
        exemption = next((e for e in self.mixed if e.covers(name)), None)
        if exemption is not None:
            return exemption.weights
        return self.stem if name == STEM else self.weights

    def activation_bits(self, name: str) -> int:
        """Bits of the output of the module ``name``."""
        for exemption in self.mixed:
            if exemption.covers(name):
                return self.activations if exemption.activations is None else exemption.activations
        return self.activations

    def check_modules(self, names: set[str]) -> None:
        """`CodenetError` if an exception covers none of the modules ``names``, which is a mistake in its prefix."""
        for exemption in self.mixed:
            if not any(exemption.covers(name) for name in names):
                raise CodenetError(
                    f"precision: {exemption} covers no module, expected a prefix of one, such as backbone.stages.2, "
                    "decoder, heads"
                )

    def __str__(self) -> str:
        """For people: ``W4A8``, ``W8A8 depthwise W8``, ``W4A8 heads=W8``."""
        parts = [f"W{self.weights}A{self.activations}"]
        defaults = Precision()
        parts += [f"{n} W{getattr(self, n)}" for n in ("stem", "depthwise") if getattr(self, n) != getattr(defaults, n)]
        return " ".join([*parts, *map(str, self.mixed)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {**dataclasses.asdict(self), "mixed": [str(exemption) for exemption in self.mixed]}

    def to_arguments(self) -> list[str]:
        """Words of a command line that `from_arguments` reads."""
        words = [f"--{name}={getattr(self, name)}" for name in ("weights", "activations", "stem", "depthwise")]
        return [*words, "--exceptions", *map(str, self.mixed)] if self.mixed else words

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Precision:
        """Inverse of `to_dict`."""
        return cls(**{**values, "mixed": tuple(map(Exemption.parse, values["mixed"]))})


#: What the paper and the shipped detectors have.
W4A8 = Precision()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `from_arguments` reads."""
    defaults = W4A8
    parser.add_argument("--weights", type=int, choices=WEIGHT_BITS, default=defaults.weights, help="bits of weights")
    parser.add_argument(
        "--activations", type=int, choices=ACTIVATION_BITS, default=defaults.activations, help="bits of activations"
    )
    parser.add_argument(
        "--stem", type=int, choices=WEIGHT_BITS, default=defaults.stem, help="bits of the stem's weights"
    )
    parser.add_argument(
        "--depthwise",
        type=int,
        choices=WEIGHT_BITS,
        default=defaults.depthwise,
        help="bits of depthwise weights; with 8 the accelerator cannot run the network",
    )
    parser.add_argument(
        "--exceptions",
        dest="mixed",
        nargs="+",
        default=[],
        metavar="MODULE=W8",
        help="exceptions by module, for example decoder=W8 heads=W8A8",
    )


def from_arguments(arguments: argparse.Namespace) -> Precision:
    """The precision that a command line asks for; `CodenetError` for an exception that is none."""
    return Precision(
        arguments.weights,
        arguments.activations,
        arguments.stem,
        arguments.depthwise,
        tuple(map(Exemption.parse, arguments.mixed)),
    )
