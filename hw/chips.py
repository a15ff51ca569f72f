# SPDX-License-Identifier: Apache-2.0
"""The chips: what they have, what the accelerator may take of it, and the shape that each gets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from codenet.config import AcceleratorConfig


@dataclass(frozen=True)
class Usage:
    """LUTs (logic, distributed memory, shift registers), flip-flops, DSP48E1 or E2, and RAMB36E1 or E2 (a RAMB18 is
    half of one).
    """

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram36: float = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, round(self.bram36 + other.bram36, 1)
        )

    def within(self, limit: Usage) -> bool:
        """Whether none of the four exceeds that of ``limit``."""
        return not self.exceeding(limit)

    def exceeding(self, limit: Usage) -> list[str]:
        """Names of those that exceed ``limit``."""
        return [field.name for field in fields(self) if getattr(self, field.name) > getattr(limit, field.name)]

    def to_dict(self) -> dict[str, float]:
        """Plain dictionary, for ``build/synth.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Chip:
    """A chip and its accelerator.

    Attributes
    ----------
    resources, budget:
        What there is, and what an accelerator may take of it, so that routing and the glue to the processor find room.
    config:
        The default shape.
    array_slices:
        DSP slices that the array may use: whole cascades that a placer finds room for; other outputs are computed in
        LUTs.
    """

    name: str
    resources: Usage
    budget: Usage
    config: AcceleratorConfig
    array_slices: int


def same_share(chip: Usage, of: Usage, budget: Usage) -> Usage:
    """Of ``chip``, the part that ``budget`` is ``of`` another."""
    whole, part, own = of.to_dict(), budget.to_dict(), chip.to_dict()
    return Usage(**{name: int(own[name] * part[name] / whole[name]) for name in own})


XC7Z020 = Chip(
    name="xc7z020",
    resources=Usage(lut=53_200, ff=106_400, dsp=220, bram36=140),
    budget=Usage(lut=40_000, ff=60_000, dsp=200, bram36=125),
    config=AcceleratorConfig(),
    # 22 cascades of 8 find room in the columns of 20, 20, 60, 60 and 60 slices; the requantizers get the others.
    array_slices=176,
)

_ZU3EG = Usage(lut=70_560, ff=141_120, dsp=360, bram36=216)

ZU3EG = Chip(
    name="zu3eg",
    resources=_ZU3EG,
    budget=same_share(_ZU3EG, XC7Z020.resources, XC7Z020.budget),
    # The fastest shape for configurations a, c and d that keeps to the budget (docs/bitstream.md).
    config=AcceleratorConfig(outputs=48, window_depth=2048, weight_depth=1024),
    # 36 cascades of 8: 36 of the 48 outputs; the requantizers take 24 of the 360 slices.
    array_slices=288,
)
