# SPDX-License-Identifier: Apache-2.0
"""The machine-readable report, ``build/bench.json``: its parts as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codenet.config import BEAT_BYTES, LANES, AcceleratorConfig
from codenet.registers import ProfileCounter
from sim.benchmark.frames import Frame
from sim.performance.plan import STALLS
from sim.performance.targets import Target, resources_of, resources_report
from sim.timing import CLOCK_HZ

VERSION = 1


def configuration_report(frame: Frame, target: Target) -> dict[str, Any]:
    """Figures of one measured frame. ``active_cycles`` and ``stall_cycles`` sum to ``cycles``.

    ``useful_macs`` are the network's, as its graph has them; ``computed_macs`` those that were carried out: fewer,
    because 1x1 convolutions run before the upsampling that they follow in the graph.
    """
    config = AcceleratorConfig.from_dict(frame.config)
    array_macs = frame.cycles * LANES * config.outputs
    resources, source = resources_of(config, target)
    worst = max(frame.steps, key=lambda step: abs(step.error))
    return {
        "weights": "untrained" if frame.untrained else "trained",
        "accelerator": frame.config,
        "tensors": frame.tensors,
        "mismatches": frame.mismatches,
        "cycles": frame.cycles,
        "fps_at_150mhz": round(CLOCK_HZ / frame.cycles, 2),
        "useful_macs": frame.graph_macs,
        "array_macs": array_macs,
        "utilization": round(frame.graph_macs / array_macs, 4),
        "computed_macs": frame.computed_macs,
        "computed_utilization": round(frame.computed_macs / array_macs, 4),
        "dram_read_bytes": BEAT_BYTES * frame.beats(ProfileCounter.READ_BEATS),
        "dram_write_bytes": BEAT_BYTES * frame.beats(ProfileCounter.WRITE_BEATS),
        "active_cycles": frame.beats(ProfileCounter.ACTIVE),
        "stall_cycles": {cause.name.lower(): frame.beats(cause) for cause in STALLS},
        "resources": resources_report(resources, source),
        "model": {
            "cycles": frame.predicted,
            "frame_error": round(frame.predicted / frame.cycles - 1, 5),
            "worst_step_error": round(worst.error, 5),
            "worst_step": worst.name,
        },
    }


def report(
    configurations: Mapping[str, dict[str, Any]], search: dict[str, Any] | None, one_layer: Any, timing: dict[str, Any]
) -> dict[str, Any]:
    """The whole report; ``search`` and ``one_layer`` are null where they were not made."""
    return {
        "version": VERSION,
        "clock_hz": CLOCK_HZ,
        "dram_timing": timing,
        "configurations": dict(configurations),
        "search": search,
        "one_layer": one_layer,
    }
