# SPDX-License-Identifier: Apache-2.0
"""Single steps with random data: a memory and a descriptor that keep all rules, for tests of whatever executes
steps.
"""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass

import numpy as np

from codenet.config import CHUNK, LANES, MAX_DILATION, VECTOR_BYTES, AcceleratorConfig
from codenet.isa import DESCRIPTOR_BYTES, PEAK_BYTES, PLANE_ALIGNMENT, DepthwiseOp, Descriptor
from codenet.isa import parameters as packing


@dataclass(frozen=True)
class Step:
    """``memory`` (uint8, from the base address) before the step; its descriptor, marked last, lies at offset 0.

    Whatever is not descriptor, parameters or input is random, so that a byte written too much is seen.
    """

    memory: np.ndarray
    descriptor: Descriptor
    outputs: tuple[int, ...]

    def replace(self, **fields: int) -> Step:
        """The same memory with other fields in the descriptor, CRCs of what the memory has."""
        descriptor = dataclasses.replace(self.descriptor, **fields)
        if "parameter_crc" not in fields:
            start, size = descriptor.parameter_address, 8 * descriptor.parameter_beats
            descriptor = dataclasses.replace(
                descriptor, parameter_crc=zlib.crc32(self.memory[start : start + size].tobytes())
            )
        memory = self.memory.copy()
        memory[:DESCRIPTOR_BYTES] = np.frombuffer(descriptor.encode(), np.uint8)
        return Step(memory, descriptor, self.outputs)


class _Memory:
    """Places blocks at aligned offsets, with something random between them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.end = rng, DESCRIPTOR_BYTES
        self.blocks: list[tuple[int, np.ndarray]] = []

    def reserve(self, size: int) -> int:
        offset = -(-(self.end + int(self.rng.integers(0, 300))) // PLANE_ALIGNMENT) * PLANE_ALIGNMENT
        self.end = offset + size
        return offset

    def place(self, data: np.ndarray) -> int:
        data = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        offset = self.reserve(data.size)
        self.blocks.append((offset, data))
        return offset

    def finish(self) -> np.ndarray:
        memory = self.rng.integers(0, 256, self.reserve(0), dtype=np.uint8)
        for offset, data in self.blocks:
            memory[offset : offset + data.size] = data
        return memory


class _Planes:
    """Planes of the input as they lie in memory: ``height`` rows, ``pitch`` bytes apart, random between them."""

    def __init__(self, memory: _Memory, height: int, width: int, packed: bool, extra: int) -> None:
        self.memory, self.rng, self.height, self.width = memory, memory.rng, height, width
        self.row = 8 * (width + 1) if packed else VECTOR_BYTES * width
        self.pitch = self.row + extra

    def _place(self, values: np.ndarray) -> int:
        rows = self.rng.integers(0, 256, (self.height, self.pitch), dtype=np.uint8)
        rows[:, : self.row] = values
        return self.memory.place(rows)

    def place_random(self, fill: int | None) -> int:
        """A plane of random bytes, or all ``fill``."""
        if fill is not None:
            return self._place(np.full((self.height, self.row), fill & 255, np.uint8))
        return self._place(self.rng.integers(0, 256, (self.height, self.row), dtype=np.uint8))

    def place_dilations(self, dilations: tuple[int, ...] | np.ndarray) -> int:
        """A plane whose first lane is drawn from ``dilations``, or is this map."""
        values = self.rng.integers(0, 256, (self.height, self.width, VECTOR_BYTES), dtype=np.uint8)
        given = isinstance(dilations, np.ndarray)
        values[:, :, 0] = dilations if given else self.rng.choice(dilations, (self.height, self.width))
        return self._place(values.reshape(self.height, -1))


@dataclass(frozen=True)
class _Pointwise:
    """A 1x1 convolution of ``vectors`` planes to ``chunks`` of 8 channels: weights, and how sums are requantized."""

    vectors: int
    chunks: int
    weights: np.ndarray
    m: np.ndarray
    b: np.ndarray
    s: int

    @classmethod
    def random(cls, rng: np.random.Generator, vectors: int, chunks: int, limit: int, target: int) -> _Pointwise:
        """Weights up to ``limit``, and results of about ``target``."""
        channels, inputs = CHUNK * chunks, LANES * vectors
        weights = rng.integers(-limit, limit + 1, (channels, inputs), dtype=np.int8)
        spread = np.sqrt(max(inputs, 1)) * 74 * limit / np.sqrt(3)
        return cls(vectors, chunks, weights, *_requantize(rng, channels, spread, target))

    def groups(self, config: AcceleratorConfig) -> int:
        return -(-CHUNK * self.chunks // config.outputs)

    def words(self, config: AcceleratorConfig, wide: bool = False) -> np.ndarray:
        return packing.pack_weights(self.weights, config.outputs, wide) if self.chunks else np.zeros(0)


def random_step(
    config: AcceleratorConfig,
    height: int,
    width: int,
    planes: int = 1,
    *,
    op: DepthwiseOp = DepthwiseOp.OFF,
    full: bool = False,
    chunks: int = 0,
    wide_weights: bool = False,
    wide_output: bool = False,
    upsample: bool = False,
    repeat: bool = False,
    dilated: bool = False,
    packed: bool = False,
    stride2: bool = False,
    expand: int = 0,
    expand_columns: int | None = None,
    window_rows: int | None = None,
    block_log2: int | None = None,
    pitch_extra: int = 0,
    peak_capacity: int = 64,
    peak_threshold: int = 0,
    dilations: tuple[int, ...] | np.ndarray = tuple(range(MAX_DILATION + 1)),
    fill: int | None = None,
    seed: int = 0,
) -> Step:
    """A step on an input of ``height x width`` (after ``upsample``) and ``planes`` planes.

    ``chunks`` of 8 output channels; 0: pointwise off. ``expand``: planes from which an expansion makes the ``planes``;
    0: no expansion. ``expand_columns``: of its pieces, by default as many as fit. ``dilations``: those that the
    dilation plane draws from, or the map that it has. ``fill``: value of all input bytes, for corner cases.
    ``window_rows``: by default as many as are useful and fit. ``pitch_extra``: bytes between stored rows.
    """
    rng = np.random.default_rng(seed)
    memory = _Memory(rng)
    stored = _Planes(memory, height >> upsample, width >> upsample, packed, pitch_extra)
    inputs = [stored.place_random(fill) for _ in range(expand or planes)]
    if dilated:
        inputs.append(stored.place_dilations(dilations))

    stride = 1 + stride2
    output_height, output_width = -(-height // stride), -(-width // stride)
    peaks = op == DepthwiseOp.PEAKS
    vectors = 0 if peaks else (9 if full else 1) * planes
    output_planes = chunks // (1 if wide_output else 2) if chunks else vectors
    outputs = tuple(memory.reserve(VECTOR_BYTES * output_height * output_width) for _ in range(output_planes))
    peak_address = memory.reserve(PEAK_BYTES * peak_capacity) if peaks else 0

    depthwise_weights = rng.integers(-7, 8, (LANES * planes, 3, 3), dtype=np.int8)
    depthwise_m, depthwise_b, depthwise_s = _requantize(rng, LANES * planes, 950, 60)
    main = _Pointwise.random(rng, vectors, chunks, 127 if wide_weights else 7, 9000 if wide_output else 60)
    expansion = _Pointwise.random(rng, expand, 2 * planes if expand else 0, 7, 60)
    expand_words = expansion.words(config)
    block = packing.pack_parameters(
        np.array(inputs),
        np.array(outputs, dtype=np.int64),
        packing.pack_depthwise(depthwise_weights, depthwise_m, depthwise_b) if op == DepthwiseOp.MAC else np.zeros(0),
        packing.pack_requantize(np.append(expansion.m, main.m), np.append(expansion.b, main.b)),
        np.append(expand_words, main.words(config, wide_weights)),
    )
    parameters = packing.block_fields(memory.place(np.frombuffer(block, np.uint8)), block)

    window_row_stride = -(-width // 3) * planes
    if window_rows is None:
        window_rows = _window_rows(config, height, width, window_row_stride, dilated)
    if block_log2 is None:
        block_log2 = max([n for n in range(5) if 2 * output_planes << n <= config.store_depth // 2], default=0)
    descriptor = Descriptor(
        last=1,
        depthwise_op=op,
        full=int(full),
        pointwise=int(chunks > 0),
        wide_weights=int(wide_weights),
        wide_output=int(wide_output),
        upsample=int(upsample),
        repeat=int(repeat),
        dilated=int(dilated),
        packed=int(packed),
        stride2=int(stride2),
        reach=7 if dilated else (0 if op == DepthwiseOp.OFF and not full else 1),
        window_rows=window_rows,
        input_planes=planes,
        input_height=height,
        input_width=width,
        output_height=output_height,
        output_width=output_width,
        row_pitch=stored.pitch,
        window_row_stride=window_row_stride,
        pad=0x0101 * int(rng.integers(0, 256)),
        vectors=vectors,
        groups=main.groups(config),
        chunks=chunks,
        output_planes=output_planes,
        block_log2=0 if peaks else block_log2,
        **_clamps("depthwise", depthwise_s, (-120, 125) if op == DepthwiseOp.MAC else None),
        **_clamps("pointwise", main.s, ((-30000, 31000) if wide_output else (-100, 126)) if chunks else None),
        output_pixels=output_height * output_width,
        **parameters,
        peak_address=peak_address,
        peak_capacity=peak_capacity if peaks else 0,
        peak_threshold=peak_threshold,
        **(_expansion_fields(config, expansion, expand_words, stored.width, expand_columns) if expand else {}),
    )
    return Step(memory.finish(), descriptor, outputs).replace()


def _clamps(unit: str, s: int, limits: tuple[int, int] | None) -> dict[str, int]:
    """Fields of a requantizer; those of one that is off without ``limits``."""
    low, high = limits or (-128, 127)
    return {f"{unit}_s": s if limits else 0, f"{unit}_lo": low, f"{unit}_hi": high}


def _expansion_fields(
    config: AcceleratorConfig, expansion: _Pointwise, words: np.ndarray, width: int, columns: int | None
) -> dict[str, int]:
    """Fields of an expansion, its weights packed into ``words``, in pieces of ``columns``, by default as many as divide
    ``width`` and fit.
    """
    planes = expansion.vectors
    fitting = [n for n in range(1, width + 1) if width % n == 0 and planes * n <= config.expand_depth]
    return {
        "expand": 1,
        "expand_planes": planes,
        "expand_groups": expansion.groups(config),
        "expand_chunks": expansion.chunks,
        "expand_words": len(words) // config.outputs,
        "expand_columns": columns or max(fitting, default=1),
        "expand_s": expansion.s,
        "expand_lo": -110,
        "expand_hi": 120,
    }


def _requantize(
    rng: np.random.Generator, channels: int, spread: float, target: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """``m``, ``b``, ``s`` that turn accumulators of ``spread`` into values of about ``target``, of both signs."""
    gain = 1.5 * target / spread
    s = int(np.clip(np.floor(np.log2((2**15 - 1) / gain)), 0, 30))
    largest = int(gain * 2**s)
    bound = round(target * 2**s)
    return rng.integers(-largest, largest + 1, channels), rng.integers(-bound, bound + 1, channels), s


def _window_rows(config: AcceleratorConfig, height: int, width: int, row_stride: int, dilated: bool) -> int:
    rows = 3 * -(-height // 3)
    rows = min(rows, 3 * (config.window_depth // row_stride))
    return min(rows, config.dilation_depth // width // 3 * 3) if dilated else rows


def various_steps(config: AcceleratorConfig) -> list[Step]:
    """A step of each operation, small enough for slow simulators."""
    return [
        random_step(config, 6, 7, 2, chunks=4, seed=1),
        random_step(config, 9, 8, 2, op=DepthwiseOp.MAC, dilated=True, chunks=2, seed=2),
        random_step(config, 8, 8, 2, op=DepthwiseOp.PEAKS, peak_threshold=8000, seed=3),
        random_step(config, 8, 6, 2, op=DepthwiseOp.MAX, stride2=True, seed=4),
        random_step(config, 5, 6, 2, full=True, chunks=2, seed=5),
    ]
