# SPDX-License-Identifier: Apache-2.0
"""What accelerators cost: resources of the chips, and of each component, as synthesis found them or estimated by
formula.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codenet.checkout import BUILD
from codenet.config import BEAT_BYTES, CHUNK, LANES, VECTOR_BYTES, AcceleratorConfig
from codenet.devices.installation import REPORT, read_report
from codenet.errors import ConfigError, FormatError
from codenet.isa import DEPTHWISE_BEATS
from codenet.registers import PROFILE_WORDS
from hw.chips import XC7Z020, ZU3EG, Chip, Usage
from hw.flow.shelf import SHELF
from sim.timing import DramTiming

SYNTHESIS = BUILD / "synth.json"

VECTOR_BITS, BEAT_BITS = 8 * VECTOR_BYTES, 8 * BEAT_BYTES
LUT_RAM_WORDS = 64
"""Memories up to this depth are LUTs (:mod:`hw.lib.block_memory`)."""

_LUT_RAM = 130
"""LUTs of 64 words of 64 bits."""


@dataclass(frozen=True)
class Target:
    """A chip with its memory.

    Attributes
    ----------
    clock_mhz:
        Clock that figures are given for.
    memory_bytes_per_second, memory_latency_ns:
        Sustained bandwidth that all ports share, and latency of a read, as the accelerator sees them.
    """

    chip: Chip
    clock_mhz: float
    memory_bytes_per_second: float
    memory_latency_ns: float

    def timing(self, clock_mhz: float | None = None) -> DramTiming:
        """The memory in cycles of ``clock_mhz``: bandwidth a cycle falls (rounded down) and latency rises with the
        clock.

        Raises
        ------
        ConfigError
            A clock of 0 or less, or one at which less than a byte a cycle is left.
        """
        clock = self.clock_mhz if clock_mhz is None else clock_mhz
        if not clock > 0:
            raise ConfigError(f"clock = {clock} MHz: expected more than 0")
        default, scale = DramTiming(), clock / self.clock_mhz
        return dataclasses.replace(
            default,
            latency=round(self.memory_latency_ns * clock / 1e3),
            bytes_per_cycle=int(self.memory_bytes_per_second / (clock * 1e6) + 1e-9),
            refresh_interval=round(default.refresh_interval * scale),
            refresh_cycles=round(default.refresh_cycles * scale),
        )


TARGETS = {
    # DDR3 at 1050 MT/s, 16 bits: 2.1 GB/s peak, of which sim/timing.py takes 1.5 for granted. 22 cascades of 8 slices.
    "xc7z020": Target(XC7Z020, 150.0, 1.5e9, 400.0),
    # LPDDR4 of the Ultra96, far from exhausted: at 250 MHz the same cycles of latency and bytes a cycle as on the other
    # chip.
    "zu3eg": Target(ZU3EG, 250.0, 2.5e9, 240.0),
}


def block_memory(width: int, depth: int) -> float:
    """36 Kbit block RAMs of a :class:`hw.lib.BlockMemory`: a whole one for each of its pieces; of pieces that are
    deeper than a block RAM of 32 bits, what synthesis takes.
    """
    if depth <= LUT_RAM_WORDS:
        return 0.0
    piece = 64 if depth <= 512 else 32
    pieces = [min(piece, width - low) for low in range(0, width, piece)]
    return float(len(pieces)) if depth <= 1024 else sum(block_ram(bits, depth) for bits in pieces)


def block_ram(width: int, depth: int) -> float:
    """36 Kbit block RAMs that synthesis takes for a memory; a half where the rest fits one of 18 Kbit."""
    wide = 72 if depth <= 512 else max(36 * 1024 // depth, 1)
    whole, rest = divmod(width, wide)
    return whole + (0 if not rest else 0.5 if rest <= wide // 2 else 1)


def memories(count: int, words: int) -> Usage:
    """``count`` memories of ``words`` beats."""
    return _times(Usage(lut=_LUT_RAM if words <= LUT_RAM_WORDS else 0, bram36=block_memory(BEAT_BITS, words)), count)


MULTIPLY_LUTS = 520
"""LUTs of an output's 16 products of 4 x 8 bits and their sum (:mod:`hw.arithmetic.lut_sums`)."""

_PAIR_LUTS, _PAIR_FFS = 40, 150
"""LUTs and flip-flops of a pair of outputs in two cascades: unpacking, delays, sum."""

_ACCUMULATOR = Usage(lut=45, ff=90)
"""Of one output: scaling, accumulator, drain register."""

_REQUANTIZER = Usage(lut=250, ff=260, dsp=1)


def estimate(config: AcceleratorConfig, array_slices: int = XC7Z020.array_slices) -> dict[str, Usage]:
    """Resources by component. Block RAM and DSP slices are counted from the structure, LUTs and flip-flops are
    coefficients.
    """
    outputs = config.outputs
    in_slices = min(outputs, 2 * (array_slices // LANES))
    in_luts = outputs - in_slices
    bank = block_memory(VECTOR_BITS, config.window_depth)
    return {
        "array": Usage(
            lut=in_slices // 2 * _PAIR_LUTS + in_luts * MULTIPLY_LUTS,
            ff=in_slices // 2 * _PAIR_FFS + in_luts * 280,
            dsp=in_slices * LANES // 2,
        ),
        "weights": Usage(
            lut=4 * outputs, ff=70 * outputs, bram36=outputs * block_memory(BEAT_BITS, config.weight_depth)
        ),
        "accumulators": Usage(lut=_ACCUMULATOR.lut * outputs, ff=_ACCUMULATOR.ff * outputs),
        "requantizers": _times(_REQUANTIZER, CHUNK) + memories(CHUNK, 2 * config.chunk_depth),
        "window": Usage(lut=3200, ff=5600, bram36=9 * bank + block_memory(3, config.dilation_depth)),
        "depthwise": Usage(lut=9 * LANES * 36 + 2000, ff=9 * LANES * 26 + 3500)
        + _times(_REQUANTIZER, LANES)
        + memories(DEPTHWISE_BEATS, 2 * config.depthwise_depth),
        "row buffer": Usage(lut=190, ff=380, bram36=block_memory(VECTOR_BITS, config.expand_depth)),
        "vector buffer": Usage(lut=120, ff=180, bram36=block_memory(VECTOR_BITS, config.vector_depth)),
        "peaks": Usage(lut=1900, ff=2600),
        "loader": Usage(lut=450, ff=650, bram36=block_ram(BEAT_BITS, 256) + block_ram(32, 2 * config.plane_depth)),
        "storer": Usage(
            lut=800, ff=900, bram36=block_ram(BEAT_BITS, config.store_depth) + block_ram(32, 2 * config.plane_depth)
        ),
        "parameters": Usage(lut=900, ff=1100, bram36=block_ram(BEAT_BITS, 256)),
        "control": Usage(lut=1300, ff=5500, bram36=block_ram(32, PROFILE_WORDS * config.profile_depth)),
    }


def _times(resources: Usage, count: int) -> Usage:
    return Usage(*(count * getattr(resources, field.name) for field in dataclasses.fields(resources)))


def total(config: AcceleratorConfig, array_slices: int = XC7Z020.array_slices) -> Usage:
    """Sum of :func:`estimate`."""
    return sum(estimate(config, array_slices).values(), Usage())


def synthesized(config: AcceleratorConfig, path: Path = SYNTHESIS) -> Usage | None:
    """What synthesis reports for ``config`` in ``path`` (``make synth``); None without the file, or if it is about
    another configuration.

    Raises
    ------
    FormatError
        The file is no report of a configuration with ``lut``, ``ff``, ``dsp`` and ``bram36``.
    """
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text())
        if AcceleratorConfig.from_dict(report["config"]) != config:
            return None
        return Usage(int(report["lut"]), int(report["ff"]), int(report["dsp"]), float(report["bram36"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: expected config, lut, ff, dsp and bram36 ({error!r})") from error


@dataclass(frozen=True)
class Shipped:
    """What synthesis by ``tool`` found for a chip's standard shape, of the RTL of ``commit``."""

    config: AcceleratorConfig
    usage: Usage
    commit: str
    tool: str


SHIPPED = {
    "xc7z020": Shipped(XC7Z020.config, Usage(lut=29_812, ff=40_949, dsp=200, bram36=114.5), "cc2c522", "Yosys 0.70"),
    "zu3eg": Shipped(ZU3EG.config, Usage(lut=40_467, ff=38_869, dsp=312, bram36=187), "972fe74", "Yosys"),
}
"""By chip: the whole design of the PYNQ-Z2 (docs/synthesis.md), the accelerator for the Ultra96 (docs/bitstream.md)."""


def resources_of(config: AcceleratorConfig, target: Target, path: Path = SYNTHESIS) -> tuple[Usage, str]:
    """Resources of ``config`` on ``target``, and where they are from, which begins with ``synthesis`` (of one's own,
    for the xc7z020, or shipped) or ``estimate``.
    """
    found = synthesized(config, path) if target.chip.name == "xc7z020" else None
    if found is not None:
        return found, "synthesis"
    shipped = SHIPPED[target.chip.name]
    if shipped.config == config:
        return shipped.usage, f"synthesis of commit {shipped.commit}, {shipped.tool}"
    return total(config, target.chip.array_slices), "estimate"


@dataclass(frozen=True)
class Clock:
    """A shape's clock. ``source`` begins with ``routed`` (a bitstream of the shape lies in the repository) or
    ``guess``.
    """

    mhz: float
    source: str


def clock_of(config: AcceleratorConfig, target: Target, shelf: Path = SHELF) -> Clock:
    """Clock of ``config`` on ``target``: what its routed bitstream runs at; otherwise a guess, that of the routed shape
    whose outputs are the nearest, or the target's where nothing is routed.

    Raises
    ------
    FormatError
        A report on the shelf is none.
    """
    routed = {}
    for path in sorted(shelf.glob("*/" + REPORT)):
        report = read_report(path)
        try:
            if report["part"].startswith(target.chip.name):
                routed[AcceleratorConfig.from_dict(report["config"])] = float(report["constraint"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{path}: expected part, config and constraint ({error!r})") from error
    if config in routed:
        return Clock(routed[config], "routed")
    if not routed:
        return Clock(target.clock_mhz, "guess")
    nearest = min(routed, key=lambda other: abs(other.outputs - config.outputs))
    return Clock(routed[nearest], f"guess: that of 16x{nearest.outputs}")


def estimate_error(target: Target) -> str:
    """How far :func:`total` is off for the shape of ``target`` whose synthesis is shipped, for people."""
    shipped = SHIPPED[target.chip.name]
    guess, found = total(shipped.config, target.chip.array_slices).to_dict(), shipped.usage.to_dict()
    errors = ", ".join(f"{key} {100 * (guess[key] / found[key] - 1):+.1f} %" for key in found)
    return f"{errors} (16 x {shipped.config.outputs}, against synthesis of commit {shipped.commit}, {shipped.tool})"


def resources_report(resources: Usage, source: str) -> dict[str, Any]:
    """Resources, and whether they are from synthesis or an estimate."""
    return {**dataclasses.asdict(resources), "source": source}
