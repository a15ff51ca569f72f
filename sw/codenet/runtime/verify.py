# SPDX-License-Identifier: Apache-2.0
"""Is a device bit for bit the golden model? Runs a photo on both and compares every integer that can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from codenet.devices import Device, open_device
from codenet.errors import DeviceError, GraphError
from codenet.golden import interpreter
from codenet.graph import Graph
from codenet.program import Program
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.frame import Outputs
from codenet.vision.image import Source, load, resize, to_activation


@dataclass(frozen=True)
class Mismatch:
    """A tensor that differs: ``count`` values, the first (in row-major order) at ``coordinate`` (y, x, channel; or a
    peak's index).
    """

    step: int
    step_name: str
    tensor: str
    coordinate: tuple[int, ...]
    expected: object
    found: object
    count: int

    def __str__(self) -> str:
        at = ", ".join(map(str, self.coordinate))
        return (
            f"step {self.step} {self.step_name!r}, tensor {self.tensor!r}: {self.count} values differ, the first at "
            f"({at}): expected {self.expected}, found {self.found}"
        )


@dataclass
class Comparison:
    """Collects what was compared and what differs."""

    program: Program
    tensors: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    def add(self, step: int, name: str, expected: np.ndarray, found: np.ndarray) -> None:
        """Compare one tensor."""
        self.tensors += 1
        if expected.shape != found.shape:
            self._note(step, name, (), f"shape {list(expected.shape)}", f"shape {list(found.shape)}", 1)
            return
        different = np.argwhere(expected != found)
        if len(different):
            first = tuple(different[0].tolist())
            self._note(step, name, first, expected[first], found[first], len(different))

    def _note(
        self, step: int, name: str, coordinate: tuple[int, ...], expected: object, found: object, count: int
    ) -> None:
        step_name = self.program.step_names[step]
        self.mismatches.append(Mismatch(step, step_name, name, coordinate, expected, found, count))


@dataclass(frozen=True)
class Verification:
    """Result of :func:`verify`."""

    device: str
    comparison: Comparison
    cycles: int
    peaks: int
    step_by_step: bool

    @property
    def passed(self) -> bool:
        """Whether all values agree."""
        return not self.comparison.mismatches

    def __str__(self) -> str:
        kind = "tensors" if self.step_by_step else "outputs"
        return (
            f"{self.device}: {self.comparison.tensors} {kind}, {len(self.comparison.mismatches)} mismatches, "
            f"{self.cycles} cycles, {self.peaks} peaks"
        )


def verify(program: Program, photo: Source, device: str | Device, graph: Graph | None = None) -> Verification:
    """Run a photo through ``device`` and compare.

    Without ``graph``: all outputs and the peaks with those of the golden device, which runs the same program. With the
    graph that the program was compiled from: all its tensors, step by step, with the graph's own evaluation (which
    knows nothing of compiler and program), if the device can stop after a step; outputs and peaks only, if it can't.

    Raises
    ------
    GraphError
        The program wasn't compiled from this graph.
    """
    layout = program.input
    image = to_activation(resize(load(photo), layout.height, layout.width, layout.fit))
    target = open_device(device, program.config) if isinstance(device, str) else device
    try:
        if graph is None:
            return _against_golden(program, image, target)
        return _against_graph(program, image, target, graph)
    finally:
        if isinstance(device, str):
            target.close()


def _against_golden(program: Program, image: np.ndarray, device: Device) -> Verification:
    comparison = Comparison(program)
    with open_device("golden", program.config) as golden, Accelerator(golden, program) as reference:
        expected = reference.run(image)
        with Accelerator(device, program) as accelerator:
            found = accelerator.run(image)
            for role, tensor in program.outputs.items():
                comparison.add(tensor.step, role, expected.read(role), found.read(role))
            _compare_peaks(comparison, expected.peaks, found)
    return Verification(device.name, comparison, found.cycles, len(found.peaks), step_by_step=False)


def _against_graph(program: Program, image: np.ndarray, device: Device, graph: Graph) -> Verification:
    with Accelerator(device, program) as accelerator:
        found, comparison = run_compared(accelerator, graph, image)
    return Verification(device.name, comparison, found.cycles, len(found.peaks), device.reports_steps)


def run_compared(
    accelerator: Accelerator, graph: Graph, image: np.ndarray, threshold: int | None = None
) -> tuple[Outputs, Comparison]:
    """Run a frame, and compare its tensors and peaks with the graph's own evaluation.

    Every tensor is compared at the end of the step that completes it if the device reports steps, otherwise the outputs
    at the end of the frame.

    Parameters
    ----------
    graph:
        What the accelerator's program was compiled from.
    image:
        int8 ``[H, W, 3]``.
    threshold:
        Of the peaks, a heatmap's integer; by default the program's own.

    Raises
    ------
    GraphError
        The program wasn't compiled from this graph.
    DeviceError, DeviceTimeout
        As of :meth:`Accelerator.run`; or a step did not report its end.
    """
    program, device = accelerator.program, accelerator.device
    for tensor in program.tensors:
        shape = (tensor.height, tensor.width, tensor.channels)
        if tensor.name not in graph.tensors or graph.tensors[tensor.name].shape != shape:
            raise GraphError(
                f"graph {graph.name!r} has no tensor {tensor.name!r} of {list(shape)}: "
                f"program {program.name!r} is of another graph"
            )
    expected = interpreter.run(graph, image)
    comparison = Comparison(program)
    completed: dict[int, list[str]] = {}
    if device.reports_steps:
        for tensor in program.tensors:
            completed.setdefault(tensor.step, []).append(tensor.name)

    def compare_step(step: int) -> None:
        for name in completed.pop(step, ()):
            comparison.add(step, name, expected[name], accelerator.tensor(name))

    outputs = accelerator.run(image, threshold, on_step=compare_step if device.reports_steps else None)
    if completed:
        raise DeviceError(f"device {device.name}: steps {sorted(completed)} did not report their end")
    if not device.reports_steps:
        for tensor in program.outputs.values():
            comparison.add(tensor.step, tensor.name, expected[tensor.name], accelerator.tensor(tensor.name))
    if program.peak_step is not None:
        smallest = program.peak_step.peak_threshold if threshold is None else threshold
        _compare_peaks(comparison, peak_records(interpreter.peaks(graph, expected, smallest), program), outputs)
    return outputs, comparison


def peak_records(peaks: np.ndarray, program: Program) -> np.ndarray:
    """Peaks of a graph's heatmap as the accelerator numbers and orders them: by pixel, then by place of the channel."""
    assert program.peak_step is not None
    records = peaks.copy()
    records["channel"] = program.outputs["heatmap"].index[peaks["channel"]]
    order = np.lexsort((records["channel"], records["x"], records["y"]))
    return records[order][: program.peak_step.peak_capacity]


def _compare_peaks(comparison: Comparison, expected: np.ndarray, found: Outputs) -> None:
    if comparison.program.peak_step is not None:
        comparison.add(len(comparison.program.descriptors) - 1, "peaks", expected, found.peaks)
