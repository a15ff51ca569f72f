# SPDX-License-Identifier: Apache-2.0
"""A network as a small graph of quantized operations: what the exporter writes and the compiler reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codenet.errors import GraphError
from codenet.graph import file
from codenet.graph.operations import Input, Operation, Tensor
from codenet.graph.shapes import infer, macs


@dataclass(frozen=True)
class Graph:
    """A checked network.

    Parameters
    ----------
    name:
        For people, for example ``"codenet-a voc6"``.
    operations:
        In an order in which every input comes before its use. Exactly one :class:`Input`, the first.
    outputs:
        Role to tensor name. A detector has ``heatmap`` (int16, one channel a class), ``size`` (2: width, height) and
        ``offset`` (2: x, y), all of the same height and width, in units of output pixels.
    classes:
        Class names, one for each heatmap channel.
    metadata:
        JSON-compatible remarks (data set, accuracy, "untrained", ...).

    Raises
    ------
    GraphError
        Names the operation, the value and what was expected.
    """

    name: str
    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]
    classes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise GraphError(f"graph name {self.name!r}: expected a text")
        if not isinstance(self.metadata, Mapping):
            raise GraphError(f"graph {self.name!r}: metadata is {self.metadata!r}, expected an object")
        object.__setattr__(self, "_tensors", infer(self.operations, self.outputs, self.classes))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, in order of computation."""
        return self._tensors  # type: ignore[attr-defined, no-any-return]

    @property
    def input(self) -> Tensor:
        """What the first operation gives."""
        return self.tensors[self.operations[0].name]

    @property
    def fit(self) -> str:
        """How a photo is fitted into the input, one of :data:`codenet.fit.FITS`."""
        first = self.operations[0]
        assert isinstance(first, Input)
        return first.fit

    def __getitem__(self, name: str) -> Operation:
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise GraphError(f"graph {self.name!r} has no operation {name!r}")

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of each convolution (padding included), by operation name."""
        return {op.name: count for op in self.operations if (count := macs(op, self.tensors))}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ``.cdg`` file; complete or not at all. OSError as the operating system says."""
        file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Graph:
        """Read a ``.cdg`` file.

        Raises
        ------
        FormatError
            Not a graph file, truncated, corrupted, of another version, or of a graph that breaks a rule.
        FileNotFoundError
            There is no such file.
        """
        values = file.read(path)
        with file.usable(path):
            return cls(**values)


def consumers(graph: Graph) -> dict[str, list[Operation]]:
    """Operations that read each tensor, by tensor name."""
    readers: dict[str, list[Operation]] = {name: [] for name in graph.tensors}
    for operation in graph.operations:
        for name in operation.inputs:
            readers[name].append(operation)
    return readers


def walk(graph: Graph) -> Iterator[tuple[Operation, Tensor]]:
    """Operations with their output tensors, in order of computation."""
    for operation in graph.operations:
        yield operation, graph.tensors[operation.name]
