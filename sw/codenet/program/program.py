# SPDX-License-Identifier: Apache-2.0
"""A compiled network: what the driver writes to memory, and where each tensor lies."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.errors import GraphError
from codenet.isa import DESCRIPTOR_BYTES, DepthwiseOp, Descriptor
from codenet.program import file
from codenet.program.memory import InputLayout, PlacedTensor
from codenet.program.table import table


@dataclass(frozen=True)
class Program:
    """A network compiled for accelerators of ``config``.

    Attributes
    ----------
    name:
        The graph's.
    config:
        The accelerator that it was compiled for; it runs on no other.
    descriptors, step_names:
        One a step, in order. The last has ``depthwise_op`` PEAKS if the network has a heatmap.
    image:
        What memory holds from offset 0 before the first frame: descriptors and parameter blocks.
    memory_bytes:
        All memory that the program needs, the image included.
    program_offset:
        Of the first descriptor.
    input:
        Where to write the photo.
    tensors:
        Every tensor of the graph that exists in memory, in order of completion. Concatenations and the like are views:
        they are listed if all that they show is still there at that moment.
    outputs:
        By role.
    classes, metadata:
        The graph's.
    graph_macs:
        Multiply-accumulates of the graph.
    step_macs:
        Multiply-accumulates that each step does for the graph (fewer in sum: what lies behind an upsampling is done
        once).
    """

    name: str
    config: AcceleratorConfig
    descriptors: tuple[Descriptor, ...]
    step_names: tuple[str, ...]
    image: bytes
    memory_bytes: int
    program_offset: int
    input: InputLayout
    tensors: tuple[PlacedTensor, ...]
    outputs: Mapping[str, PlacedTensor]
    classes: tuple[str, ...]
    graph_macs: int
    step_macs: tuple[int, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def peak_step(self) -> Descriptor | None:
        """The descriptor of the step that emits peak records, if there is one."""
        last = self.descriptors[-1]
        return last if last.depthwise_op == DepthwiseOp.PEAKS else None

    def threshold_for(self, score: float) -> int:
        """Smallest heatmap integer whose sigmoid is at least ``score``; never so low that clamped or unused lanes pass.

        Raises
        ------
        GraphError
            ``score`` is not within (0, 1), or the network has no heatmap.
        """
        heatmap = self._heatmap()
        low = self.descriptors[heatmap.step].pointwise_lo + 1
        return peak_threshold(score, heatmap.scale, heatmap.zero_point, low)

    def patch_threshold(self, memory: np.ndarray, threshold: int) -> None:
        """Change the threshold of the peak step in ``memory`` (uint8, from the base address), between frames."""
        self._heatmap()
        if not -32768 <= threshold <= 32767:
            raise GraphError(f"peak threshold {threshold}: expected an int16")
        start = self.program_offset + (len(self.descriptors) - 1) * DESCRIPTOR_BYTES
        patched = replace(self.descriptors[-1], peak_threshold=threshold).encode()
        memory[start : start + DESCRIPTOR_BYTES] = np.frombuffer(patched, np.uint8)

    def _heatmap(self) -> PlacedTensor:
        if "heatmap" not in self.outputs:
            raise GraphError(f"program {self.name!r} has no output 'heatmap': it has {sorted(self.outputs)}")
        return self.outputs["heatmap"]

    def info(self) -> str:
        """A table of steps for people: shapes, planes, multiply-accumulates, cycles of the array, memory."""
        return table(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ``.cdn`` file; complete or not at all. OSError as the operating system says."""
        file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a ``.cdn`` file.

        Raises
        ------
        FormatError
            Not a program file, truncated, corrupted, or of another version.
        FileNotFoundError
            There is no such file.
        """
        return cls(**file.read(path))


def peak_threshold(score: float, scale: float, zero_point: int, low: int = -32767) -> int:
    """Smallest integer ``q >= low`` with ``sigmoid(scale * (q - zero_point)) >= score``, at most 32767.

    Raises
    ------
    GraphError
        ``score`` is not within (0, 1).
    """
    if not 0.0 < score < 1.0:
        raise GraphError(f"score threshold {score}: expected more than 0 and less than 1")
    logit = math.log(score / (1.0 - score))
    return min(max(math.ceil(logit / scale + zero_point), low), 32767)
