# SPDX-License-Identifier: Apache-2.0
"""What a flow is given and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codenet.config import AcceleratorConfig
from codenet.devices.bit_file import BitFile
from hw.boards.board import Board
from hw.boards.constraints import period_ns
from hw.chips import Usage


@dataclass(frozen=True)
class Job:
    """A design to be implemented.

    Attributes
    ----------
    folder:
        Where everything is written.
    clock_mhz:
        Clock that timing must allow.
    """

    board: Board
    config: AcceleratorConfig
    clock_mhz: float
    folder: Path

    @property
    def verilog(self) -> Path:
        """The design's Verilog file."""
        return self.folder / f"{self.board.module}.v"


@dataclass(frozen=True)
class Timing:
    """Worst slacks in ns: of setup, hold and pulse width; ``None`` where the flow does not tell.

    Attributes
    ----------
    period:
        Of the clock that it was constrained to, ns.
    """

    period: float
    wns: float
    whs: float | None = None
    wpws: float | None = None

    @classmethod
    def of(cls, job: Job, wns: float, whs: float | None = None, wpws: float | None = None) -> Timing:
        """Slacks, in nanoseconds, at a job's clock."""
        return cls(period_ns(job.clock_mhz), wns, whs, wpws)

    def at(self, mhz: float) -> Timing:
        """The same design held against another clock; what hold and pulse width have left stays."""
        return replace(self, period=1e3 / mhz, wns=self.wns + 1e3 / mhz - self.period)

    @property
    def failures(self) -> list[str]:
        """A text for each slack below 0."""
        kinds = {"setup": self.wns, "hold": self.whs, "pulse width": self.wpws}
        return [f"{kind} slack {slack:.3f} ns" for kind, slack in kinds.items() if slack is not None and slack < 0]

    @property
    def fastest_mhz(self) -> float:
        """Clock that setup would allow."""
        return 1e3 / (self.period - self.wns)


@dataclass(frozen=True)
class Implementation:
    """A design placed and routed.

    Attributes
    ----------
    bit:
        Gives its bitstream, with whatever work that takes.
    details:
        What else the report says: slices, control sets, slowest paths, tools and what their timing leaves out.
    """

    usage: Usage
    timing: Timing
    bit: Callable[[], BitFile]
    details: Mapping[str, Any] = field(default_factory=dict)
