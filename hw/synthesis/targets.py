"""What is synthesized, and for which chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codenet.config import AcceleratorConfig
from hw.array import SLICES
from hw.boards import ultra96
from hw.synthesis.usage import BUDGET, XC7Z020, ZU3EG, Usage, same_share
from hw.synthesis.yosys import BUILD, XC7, XCUP


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
        Commands by name for which the whole's figures are given, too. Yosys makes bare multipliers of UltraScale+ DSP slices: registers, adders and
        cascades stay outside, in LUTs and flip-flops. For 7-series slices it packs them, and LUTs, slices and block RAMs of both families are alike enough.
    chip, budget:
        What the chip has, and what the accelerator may take of it.
    report:
        Where ``budget`` writes its figures.
    """

    label: str
    command: str
    config: AcceleratorConfig
    array_slices: int
    chip: Usage
    budget: Usage
    report: Path
    other: Mapping[str, str] = field(default_factory=dict)


TARGETS = {
    "pynq-z2": Target("", XC7, AcceleratorConfig(), SLICES, XC7Z020, BUDGET, BUILD.parent / "synth.json"),
    "ultra96": Target(
        "ultra96-",
        XC7,
        ultra96.CONFIG,
        ultra96.ARRAY_SLICES,
        ZU3EG,
        same_share(ZU3EG),
        BUILD.parent / "synth-ultra96.json",
        {"xcup": XCUP},
    ),
}
