# SPDX-License-Identifier: Apache-2.0
"""One layer as a program: random data in memory, the steps that compute it, and the result that NumPy expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import lcm
from typing import TypeAlias

import numpy as np

from codenet.config import CHUNK, LANES, VECTOR_BYTES, AcceleratorConfig
from codenet.errors import ConfigError
from codenet.golden import operators as golden
from codenet.isa import DESCRIPTOR_BYTES, PLANE_ALIGNMENT, DepthwiseOp, Descriptor
from codenet.isa import parameters as packing
from sim.one_layer.offset_reader import OFFSET_BEATS
from sim.one_layer.offsets import Distribution, Range, dilations, random_offsets, sample
from sim.one_layer.sample_buffer import MAX_PLANES

ZERO_POINT = -128
"""Of the input, as behind a ReLU."""

SPREAD = 50
"""Standard deviation of results, about: most of them inside int8."""


class Kind(Enum):
    """What is computed from the nine samples of a pixel."""

    FULL = "full"
    """3x3 convolution."""
    DEPTHWISE = "depthwise"
    """Depthwise 3x3 convolution."""
    SEPARABLE = "depthwise, 1x1"
    """Depthwise 3x3 convolution, then a 1x1 convolution."""


class Memory(Enum):
    """How the input lies in memory, and what reads it."""

    WINDOW = "window"
    """Planes; every row once, into the window."""
    PLANES = "planes"
    """Planes; sample by sample."""
    PIXELS = "pixels"
    """All channels of a pixel together; sample by sample."""


@dataclass(frozen=True)
class Layer:
    """One 3x3 layer of stride 1 with random data.

    ``channels`` and ``outputs`` are multiples of 16 (``outputs`` means nothing for ``DEPTHWISE``).

    Raises
    ------
    ConfigError
        Names a value and what was expected.
    """

    kind: Kind
    range: Range = Range.ORDINARY
    memory: Memory = Memory.WINDOW
    distribution: Distribution = Distribution.UNIFORM
    height: int = 64
    width: int = 64
    channels: int = 256
    outputs: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "outputs"):
            value = getattr(self, name)
            if value <= 0 or value % LANES:
                raise ConfigError(f"{name} = {value}: expected a multiple of {LANES}")
        if self.range in (Range.ORDINARY, Range.SQUARE) and self.memory != Memory.WINDOW:
            raise ConfigError(f"{self.range.value} samples from {self.memory.value}: expected from the window")
        if self.range == Range.UNBOUNDED and self.memory == Memory.WINDOW:
            raise ConfigError("unbounded samples from the window: expected from planes or pixels")
        if self.memory != Memory.WINDOW and self.planes > MAX_PLANES:
            raise ConfigError(
                f"channels = {self.channels}: expected at most {LANES * MAX_PLANES} for the sample buffer"
            )

    @property
    def planes(self) -> int:
        """Planes of its input."""
        return self.channels // LANES

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        depthwise, pointwise = 9 * self.channels, self.channels * self.outputs
        each = {Kind.FULL: 9 * pointwise, Kind.DEPTHWISE: depthwise, Kind.SEPARABLE: depthwise + pointwise}
        return self.height * self.width * each[self.kind]


@dataclass(frozen=True)
class LayerProgram:
    """``memory``: uint8, from the base address on, descriptors first. ``outputs``: offsets of the output planes.

    ``writable``: (offset, size) of all that the steps write. ``expected``: int8 ``[H, W, C]``.
    """

    memory: np.ndarray
    steps: int
    outputs: tuple[int, ...]
    writable: tuple[tuple[int, int], ...]
    expected: np.ndarray


Planes: TypeAlias = Sequence[int]
"""Offsets of planes in memory."""


@dataclass(frozen=True)
class Requantize:
    """``m`` and ``b`` of each channel, ``s``; the result is clamped to int8."""

    m: np.ndarray
    b: np.ndarray
    s: int

    @classmethod
    def random(cls, acc: np.ndarray, rng: np.random.Generator) -> Requantize:
        """Bring accumulators ``[..., C]`` to about :data:`SPREAD`."""
        gain = SPREAD / max(float(acc.std()), 1.0)
        s = int(np.clip(np.floor(np.log2((2**15 - 1) / gain)), 0, 40))
        m = np.rint(gain * 2**s * rng.uniform(0.5, 1, acc.shape[-1])).astype(np.int64)
        b = -m * int(acc.mean()) + rng.integers(-10 << s, 10 << s, acc.shape[-1])
        return cls(m, b, s)

    def __call__(self, acc: np.ndarray) -> np.ndarray:
        return golden.requantize(acc, self.m, self.b, self.s, -128, 127)


class _Memory:
    """Blocks at aligned offsets, behind the descriptors."""

    def __init__(self, steps: int) -> None:
        self.end = DESCRIPTOR_BYTES * steps
        self._blocks: list[tuple[int, np.ndarray]] = []

    def reserve(self, size: int) -> int:
        offset = self.end + -self.end % PLANE_ALIGNMENT
        self.end = offset + size
        return offset

    def place(self, array: np.ndarray) -> int:
        data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        offset = self.reserve(data.size)
        self._blocks.append((offset, data))
        return offset

    def finish(self, descriptors: list[Descriptor]) -> np.ndarray:
        self.reserve(0)
        memory = np.zeros(self.end + -self.end % PLANE_ALIGNMENT, np.uint8)
        for offset, data in self._blocks:
            memory[offset : offset + data.size] = data
        encoded = b"".join(descriptor.encode() for descriptor in descriptors)
        memory[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        return memory


class _Builder:
    """Makes the steps of one layer for one accelerator."""

    def __init__(self, layer: Layer, config: AcceleratorConfig) -> None:
        self.layer, self.config = layer, config
        # Before any arithmetic, as they refuse what does not fit.
        self.plane_cuts = self._plane_cuts()
        self.group_cuts = self._group_cuts() if layer.kind != Kind.DEPTHWISE else []
        rng = np.random.default_rng(layer.seed)
        size = (layer.height, layer.width)
        self.x = rng.integers(-128, 128, (*size, layer.channels), dtype=np.int8)
        self.offsets = random_offsets(layer.range, layer.distribution, *size, rng)
        samples = sample(self.x, self.offsets, ZERO_POINT)
        if layer.kind == Kind.FULL:
            # A plane's nine taps follow each other.
            vectors = samples.reshape(*size, 9, layer.planes, LANES).swapaxes(2, 3).reshape(*size, -1)
        else:
            self.taps = rng.integers(-7, 8, (layer.channels, 3, 3), dtype=np.int8)
            acc = np.einsum("yxtc,ct->yxc", samples, self.taps.reshape(-1, 9), dtype=np.int32)
            self.depthwise = Requantize.random(acc, rng)
            vectors = self.depthwise(acc)
        self.expected = vectors
        if layer.kind != Kind.DEPTHWISE:
            self.weights = rng.integers(-7, 8, (layer.outputs, vectors.shape[-1]), dtype=np.int8)
            acc = golden.pointwise(vectors, self.weights)
            self.pointwise = Requantize.random(acc, rng)
            self.expected = self.pointwise(acc)

    def build(self) -> LayerProgram:
        """Cut what does not fit: by input planes what filters, by groups of output channels what convolves."""
        layer, cuts, groups = self.layer, self.plane_cuts, self.group_cuts
        apart = layer.kind == Kind.SEPARABLE and len(cuts) > 1
        count = len(cuts) + len(groups) if apart else len(groups) or len(cuts)
        self.memory = _Memory(count)
        self.pixels = layer.height * layer.width
        inputs, pitch = self._place_input()
        self.last_input = self._place_offsets()
        steps: list[dict[str, int]] = []
        filtered: tuple[int, ...] = ()
        outputs: tuple[int, ...] = ()
        if layer.kind == Kind.DEPTHWISE or apart:
            filtered = outputs = self._reserve(layer.planes)
            steps = [self._filter(inputs[low:high], pitch, filtered[low:high], slice(low, high)) for low, high in cuts]
        if groups:
            outputs = self._reserve(layer.outputs // LANES)
            source = (filtered, VECTOR_BYTES * layer.width) if apart else (inputs, pitch)
            steps += [self._convolve(*source, outputs, low, high, apart) for low, high in groups]
        descriptors = [Descriptor(**step, last=int(n == count - 1)) for n, step in enumerate(steps)]
        writable = tuple((offset, VECTOR_BYTES * self.pixels) for offset in sorted({*filtered, *outputs}))
        return LayerProgram(self.memory.finish(descriptors), count, outputs, writable, self.expected)

    # What fits

    @property
    def _reach(self) -> int:
        return 1 if self.layer.range == Range.ORDINARY else 7

    def _rows(self, planes: int) -> int:
        """Rows of ``planes`` that the window holds, a multiple of three, at most those of the image."""
        layer, config = self.layer, self.config
        rows = 3 * min(-(-layer.height // 3), config.window_depth // (-(-layer.width // 3) * planes))
        return min(rows, config.dilation_depth // layer.width // 3 * 3) if layer.range == Range.SQUARE else rows

    @property
    def _vectors(self) -> int:
        """Vectors of a pixel at the pointwise array."""
        return self.layer.planes * (9 if self.layer.kind == Kind.FULL else 1)

    def _plane_cuts(self) -> list[tuple[int, int]]:
        """Input planes of each step, evenly."""
        layer = self.layer
        if layer.memory != Memory.WINDOW:
            return [(0, layer.planes)]
        needed = min(2 * self._reach + 1, layer.height)
        for parts in range(1, layer.planes + 1):
            size = -(-layer.planes // parts)
            if self._rows(size) >= needed and (parts == 1 or layer.kind != Kind.FULL):
                return [(low, min(low + size, layer.planes)) for low in range(0, layer.planes, size)]
        raise ConfigError(
            f"{layer.kind.value} convolution of {layer.range.value} samples, {needed} rows of {layer.width} x "
            f"{layer.channels}: "
            f"expected to fit window_depth = {self.config.window_depth}"
        )

    def _group_cuts(self) -> list[tuple[int, int]]:
        """Output channels of each step, evenly, in whole groups and whole planes."""
        outputs, unit = self.layer.outputs, lcm(LANES, self.config.outputs)
        vectors = self._vectors
        most = self.config.weight_depth // 2 // (vectors * unit // self.config.outputs)
        if not most or vectors > self.config.vector_depth // 2:
            raise ConfigError(f"{vectors} vectors a pixel: expected to fit half of weight_depth and of vector_depth")
        units = -(-outputs // unit)
        each = -(-units // -(-units // most)) * unit
        return [(low, min(low + each, outputs)) for low in range(0, outputs, each)]

    # Memory

    def _place_input(self) -> tuple[tuple[int, ...], int]:
        """Offsets of the planes, and bytes of a row."""
        layer = self.layer
        if layer.memory == Memory.PIXELS:
            first = self.memory.place(self.x)
            return tuple(first + VECTOR_BYTES * n for n in range(layer.planes)), layer.channels * layer.width
        planes = (self.x[:, :, LANES * n : LANES * (n + 1)] for n in range(layer.planes))
        return tuple(self.memory.place(plane) for plane in planes), VECTOR_BYTES * layer.width

    def _place_offsets(self) -> int:
        """Offset of the dilation plane, or of the offsets; 0 if there are none."""
        if self.layer.range == Range.ORDINARY:
            return 0
        if self.layer.range == Range.SQUARE:
            plane = np.zeros((*self.x.shape[:2], LANES), np.int8)
            plane[:, :, 0] = dilations(self.offsets)
            return self.memory.place(plane)
        records = np.zeros((self.pixels, 8 * OFFSET_BEATS), np.int8)
        records[:, : 2 * 9] = self.offsets.reshape(self.pixels, -1)
        return self.memory.place(records)

    def _reserve(self, planes: int) -> tuple[int, ...]:
        return tuple(self.memory.reserve(VECTOR_BYTES * self.pixels) for _ in range(planes))

    # Steps

    def _filter(self, inputs: Planes, pitch: int, outputs: Planes, planes: slice) -> dict[str, int]:
        """A step that filters some planes."""
        block = self._parameters(inputs, True, outputs, self._depthwise_section(planes), np.zeros(0), np.zeros(0))
        return {
            **self._load(inputs, pitch, True),
            **self._mac(),
            **self._store(outputs),
            **block,
            "vectors": len(inputs),
        }

    def _convolve(
        self, inputs: Planes, pitch: int, outputs: Planes, low: int, high: int, apart: bool
    ) -> dict[str, int]:
        """A step that computes the output channels ``low`` to ``high``; ``apart``: from vectors that are already
        filtered.
        """
        full, width = self.layer.kind == Kind.FULL, self.config.outputs
        filters = not full and not apart
        written = outputs[low // LANES : -(-high // LANES)]
        block = self._parameters(
            inputs,
            not apart,
            written,
            self._depthwise_section(slice(None)) if filters else np.zeros(0),
            packing.pack_requantize(self.pointwise.m[low:high], self.pointwise.b[low:high]),
            packing.pack_weights(self.weights[low:high], width),
        )
        return {
            **self._load(inputs, pitch, not apart),
            **(self._mac() if filters else {"full": int(full)}),
            **self._store(written),
            **block,
            "vectors": self._vectors,
            "pointwise": 1,
            "groups": -(-(high - low) // width),
            "chunks": (high - low) // CHUNK,
            "pointwise_s": self.pointwise.s,
        }

    def _depthwise_section(self, planes: slice) -> np.ndarray:
        lanes = slice(None) if planes.stop is None else slice(LANES * planes.start, LANES * planes.stop)
        return packing.pack_depthwise(self.taps[lanes], self.depthwise.m[lanes], self.depthwise.b[lanes])

    def _mac(self) -> dict[str, int]:
        return {"depthwise_op": DepthwiseOp.MAC, "depthwise_s": self.depthwise.s}

    def _load(self, inputs: Planes, pitch: int, samples: bool) -> dict[str, int]:
        layer = self.layer
        planes = len(inputs)
        fields = {
            "input_planes": planes,
            "input_height": layer.height,
            "input_width": layer.width,
            "output_height": layer.height,
            "output_width": layer.width,
            "output_pixels": self.pixels,
            "row_pitch": pitch,
            "pad": 0x0101 * (ZERO_POINT & 255),
            "reach": self._reach if samples else 0,
            "window_rows": self._rows(planes),
            "window_row_stride": -(-layer.width // 3) * planes,
        }
        if layer.memory != Memory.WINDOW:
            fields |= {"window_rows": 0, "window_row_stride": 0, "packed": int(layer.memory == Memory.PIXELS)}
        if samples and layer.range == Range.SQUARE:
            fields["dilated"] = 1
        elif samples and layer.range != Range.ORDINARY:
            fields["peak_address"] = self.last_input
        return fields

    def _store(self, outputs: Planes) -> dict[str, int]:
        limit = self.config.store_depth // 2
        block_log2 = max([n for n in range(5) if 2 * len(outputs) << n <= limit], default=0)
        return {"output_planes": len(outputs), "block_log2": block_log2}

    def _parameters(self, inputs: Planes, samples: bool, outputs: Planes, *sections: np.ndarray) -> dict[str, int]:
        """Place a parameter block."""
        if samples and self.layer.range == Range.SQUARE:
            inputs = (*inputs, self.last_input)
        block = packing.pack_parameters(np.array(inputs), np.array(outputs), *sections)
        address = self.memory.place(np.frombuffer(block, np.uint8))
        return packing.block_fields(address, block)


def build(layer: Layer, config: AcceleratorConfig) -> LayerProgram:
    """The program that computes ``layer`` on an accelerator of ``config`` (or its simulation-only variant).

    Raises
    ------
    ConfigError
        The layer does not fit; names the limit.
    """
    return _Builder(layer, config).build()
