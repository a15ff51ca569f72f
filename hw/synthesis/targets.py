# SPDX-License-Identifier: Apache-2.0
"""What is synthesized, and for which chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codenet.checkout import BUILD
from hw.chips import XC7Z020, ZU3EG, Chip
from hw.synthesis.yosys import XC7, XCUP


@dataclass(frozen=True)
class Target:
    """A board's accelerator and chip.

    Attributes
    ----------
    label:
        Before the names of its netlists.
    command:
        Of Yosys; its figures are held against the budget.
    other:
        Commands by name for which the whole's figures are given, too. Yosys makes bare multipliers of UltraScale+ DSP
        slices: registers, adders and cascades stay outside, in LUTs and flip-flops. For 7-series slices it packs them,
        and LUTs, slices and block RAMs of both families are alike enough.
    chip:
        With the shape that it gets, and the budget.
    report:
        Where ``budget`` writes its figures.
    """

    label: str
    command: str
    chip: Chip
    report: Path
    other: Mapping[str, str] = field(default_factory=dict)


TARGETS = {
    "pynq-z2": Target("", XC7, XC7Z020, BUILD / "synth.json"),
    "ultra96": Target("ultra96-", XC7, ZU3EG, BUILD / "synth-ultra96.json", {"xcup": XCUP}),
}
