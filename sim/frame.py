# SPDX-License-Identifier: Apache-2.0
"""A simulated frame: the runtime on a device, with every tensor compared with the golden model as soon as it is
complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codenet.devices.base import Device
from codenet.fit import place
from codenet.graph import Graph
from codenet.program import Program
from codenet.runtime.accelerator import Accelerator, StepProfile
from codenet.runtime.detector import to_units
from codenet.runtime.verify import Mismatch, run_compared
from codenet.vision.boxes import Detection, decode
from codenet.vision.image import load, resize, to_activation
from sim.timing import CLOCK_HZ

FRAME_SECONDS = 0.5
"""Simulated time that a frame may take: 75 million cycles."""


@dataclass(frozen=True)
class Result:
    """What a simulated frame gave."""

    name: str
    tensors: int
    mismatches: list[Mismatch]
    cycles: int
    detections: list[Detection]
    profile: list[StepProfile]

    def __str__(self) -> str:
        rate = CLOCK_HZ / self.cycles
        return (
            f"sim {self.name}: {self.tensors} tensors, {len(self.mismatches)} mismatches, {self.cycles} cycles, "
            f"{rate:.1f} fps at {CLOCK_HZ / 1e6:.0f} MHz, {len(self.detections)} detections"
        )


def run_frame(device: Device, program: Program, graph: Graph, photo: Path, *, name: str, threshold: float) -> Result:
    """Run ``photo`` and compare every tensor at the end of the step that completes it, outputs and peaks.

    Raises
    ------
    DeviceError
        The accelerator stopped, broke a bus rule, or left its memory.
    """
    image, layout = load(photo), program.input
    activation = to_activation(resize(image, layout.height, layout.width, layout.fit))
    score = program.threshold_for(threshold)
    with Accelerator(device, program, timeout=FRAME_SECONDS) as accelerator:
        outputs, comparison = run_compared(accelerator, graph, activation, score)
        placement = place((image.height, image.width), (layout.height, layout.width), layout.fit)
        detections = decode(to_units(outputs), program.classes, placement)
        profile = accelerator.profile()
    return Result(name, comparison.tensors, comparison.mismatches, outputs.cycles, detections, profile)
