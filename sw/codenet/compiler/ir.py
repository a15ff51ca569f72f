# SPDX-License-Identifier: Apache-2.0
"""Intermediate representation: from views and nodes (what is computed) to planes and steps (where and in what
pieces).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from codenet.config import CHUNK, LANES
from codenet.graph import Convolution, Depthwise, MaxPool, Requantize, Tensor
from codenet.isa import DepthwiseOp

IMAGE = -1
"""Producer of the image's channels in a :class:`View`."""


class Kind(Enum):
    """What a node does; decides how it becomes steps."""

    STEM = "stem"
    """3x3 convolution of the image as a 1x1 convolution of overlapping vectors."""
    POINTWISE = "pointwise"
    """1x1 convolution, with a depthwise convolution before it in each branch or in none."""
    FULL = "full"
    """3x3 convolution of planes."""
    DEPTHWISE = "depthwise"
    MAX = "max"
    COPY = "copy"
    """Materializes an upsampled view."""
    PEAKS = "peaks"


@dataclass(frozen=True)
class View:
    """The channels of a tensor of the graph: channel ``c`` is channel ``channel[c]`` of the output of node
    ``producer[c]``.

    With ``level`` 1 the nodes' outputs have half the tensor's height and width, and nearest upsampling gives the
    tensor.
    """

    producer: np.ndarray
    channel: np.ndarray
    level: int = 0

    @classmethod
    def of_node(cls, node: int, channels: int, first: int = 0, level: int = 0) -> View:
        """``channels`` channels of a node, from ``first`` on."""
        return cls(np.full(channels, node, dtype=np.int32), np.arange(first, first + channels, dtype=np.int32), level)

    def __getitem__(self, channels: slice | np.ndarray) -> View:
        return View(self.producer[channels], self.channel[channels], self.level)

    def __len__(self) -> int:
        return len(self.producer)

    def same_as(self, other: View) -> bool:
        """Whether both show the same channels in the same order."""
        return (
            self.level == other.level
            and np.array_equal(self.producer, other.producer)
            and np.array_equal(self.channel, other.channel)
        )


@dataclass(frozen=True)
class Branch:
    """One chain of operations of a node on its own input channels: depthwise, convolution, or both, or neither."""

    view: View
    depthwise: Depthwise | None = None
    convolution: Convolution | None = None
    pool: MaxPool | None = None

    @property
    def channels(self) -> int:
        """Output channels."""
        return len(self.view) if self.convolution is None else self.convolution.weights.shape[0]

    @property
    def names(self) -> list[str]:
        """Names of the graph's operations that it carries out."""
        return [op.name for op in (self.depthwise, self.pool, self.convolution) if op is not None]


@dataclass(frozen=True)
class Node:
    """Operations that one step (or, after tiling, a few) computes; all branches share every setting but the weights.

    ``source`` and ``output`` are ``(height, width)`` of what the window sees (after upsampling) and of the result.
    ``expansion``: 1x1 convolutions that the same step computes on the way to the window; the branches' views are
    channels of that node, whose result is not in memory then.
    """

    id: int
    kind: Kind
    branches: tuple[Branch, ...]
    source: tuple[int, int]
    output: tuple[int, int]
    stride: int = 1
    upsample: int = 0
    dilation: View | None = None
    wide: bool = False
    pad: int = 0
    expansion: Node | None = None

    @property
    def name(self) -> str:
        """Names of its operations, for people."""
        groups = [branch.names for branch in self.branches]
        if not any(groups):
            return self.kind.value
        return " + ".join(",".join(dict.fromkeys(names)) for names in zip(*groups, strict=True))

    @property
    def channels(self) -> int:
        """Output channels of all branches."""
        return sum(branch.channels for branch in self.branches)

    @property
    def lanes(self) -> int:
        """Channels in one plane of the output."""
        return CHUNK if self.wide else LANES

    @property
    def has_depthwise(self) -> bool:
        """Whether its branches begin with a depthwise convolution."""
        return self.branches[0].depthwise is not None

    def views(self) -> Iterator[View]:
        """Every view that the node reads."""
        for branch in self.branches:
            yield branch.view
        if self.dilation is not None:
            yield self.dilation


@dataclass(frozen=True)
class Lowered:
    """A graph as nodes in order of execution, and every tensor that survives as a view of their outputs."""

    nodes: tuple[Node, ...]
    views: dict[str, View]
    tensors: dict[str, Tensor]


@dataclass(eq=False)
class Plane:
    """One plane in memory: ``[height][width][16]`` bytes. Written by one step; ``last`` is the last step that reads
    it.
    """

    size: int
    written: int = -1
    last: int = -1
    offset: int = -1
    image_row: int = -1
    """For the stem: row of the image buffer that this plane starts with; such planes take no memory of their own."""


@dataclass
class Placement:
    """Where the output channels of a node lie: channel ``c`` in lane ``lane[c]`` of ``planes[plane[c]]``."""

    planes: list[Plane]
    plane: np.ndarray
    lane: np.ndarray


@dataclass(frozen=True)
class Lanes:
    """Requantize parameters of lanes (unused ones have ``m`` 0), and the settings that they share."""

    m: np.ndarray
    b: np.ndarray
    s: int
    lo: int
    hi: int

    @classmethod
    def unused(cls, count: int, like: Requantize) -> Lanes:
        """``count`` lanes that all yield ``lo`` whatever their accumulator, to be filled in."""
        fill = max(like.lo * 2**like.s, -(2**47))
        b = np.full(count, fill, dtype=np.int64)
        return cls(np.zeros(count, dtype=np.int64), b, like.s, like.lo, like.hi)

    def fill(self, where: np.ndarray, r: Requantize) -> None:
        """Set ``m`` and ``b`` of the lanes at ``where``."""
        self.m[where] = r.m
        self.b[where] = r.b

    def __getitem__(self, chosen: slice | np.ndarray) -> Lanes:
        return Lanes(self.m[chosen], self.b[chosen], self.s, self.lo, self.hi)


@dataclass(frozen=True)
class Expansion:
    """The 1x1 convolution of a step before its window: weights int8 ``[16 * planes of the window, 16 * planes read]``,
    and their lanes.

    ``columns`` of a row are loaded and expanded at a time.
    """

    weights: np.ndarray
    requantize: Lanes
    columns: int

    @property
    def planes(self) -> int:
        """Planes that the window takes."""
        return len(self.weights) // LANES


@dataclass(kw_only=True)
class Step:
    """One step with everything known but addresses; fields mean what they mean in :mod:`codenet.isa`."""

    name: str
    inputs: list[Plane]
    outputs: list[Plane]
    source: tuple[int, int]
    output: tuple[int, int]
    window_rows: int
    dilation: Plane | None
    depthwise_op: DepthwiseOp
    full: bool
    packed: bool
    upsample: int
    repeat: bool
    stride2: bool
    reach: int
    pad: int
    depthwise_weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 3), np.int8))
    depthwise: Lanes | None = None
    weights: np.ndarray | None = None
    """int8 ``[8 * chunks, 16 * vectors]``, or None: pointwise off."""
    wide_weights: bool = False
    wide_output: bool = False
    requantize: Lanes | None = None
    expansion: Expansion | None
    macs: int
    """Multiplications of the graph that it does."""

    @property
    def input_planes(self) -> int:
        """Planes that the window takes: ``inputs``, or what the expansion makes of them."""
        return len(self.inputs) if self.expansion is None else self.expansion.planes

    @property
    def vectors(self) -> int:
        """Vectors of 16 channels that the pointwise array is given for each pixel."""
        return self.input_planes * (9 if self.full else 1)
