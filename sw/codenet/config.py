# SPDX-License-Identifier: Apache-2.0
"""Accelerator configuration: the one source for sizes that hardware, compiler, program file and driver share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from codenet.errors import ConfigError

LANES = 16
"""Channels of a plane: a tensor is a list of planes, each ``[H][W][16]`` bytes (docs/architecture.md)."""

VECTOR_BYTES = 16
"""Bytes of one pixel of one plane: 16 int8 or 8 int16 channels."""

BEAT_BYTES = 8
"""Bytes of one beat on the 64-bit AXI ports."""

CHUNK = 8
"""Output channels that leave the pointwise requantizer together."""

MAX_DILATION = 7
"""Largest dilation of the deformable convolution."""

CONFLICT_FREE = tuple(d for d in range(MAX_DILATION + 1) if d % 3)
"""Dilations whose nine samples lie in nine banks of the window, so that it reads them in one cycle; 0, 3 and 6 take
nine.
"""


@dataclass(frozen=True)
class AcceleratorConfig:
    """Sizes of one accelerator. Immutable; checked once, here.

    Parameters
    ----------
    outputs:
        Output channels of the pointwise array; it multiplies ``16 * outputs`` pairs a cycle. Multiple of 8.
    window_depth:
        Vectors in each of the nine window banks.
    weight_depth:
        Words of the pointwise weight memory (``16 * outputs`` 4-bit weights each); half of it serves one step.
    vector_depth:
        Vectors of the buffer between depthwise and pointwise; a pixel may use at most half.
    store_depth:
        Beats of the storer's block memory; half of it holds one block.
    plane_depth:
        Input planes (with the dilation plane), and output planes, that one step can address.
    depthwise_depth:
        Planes that one step can filter (a depthwise weight and requantize entry each).
    chunk_depth:
        Chunks of 8 output channels that one step can produce.
    dilation_depth:
        Pixels of the dilation ring (``window_rows * width`` of a deformable step).
    expand_depth:
        Vectors of the buffer before the expansion: ``planes * columns`` of a piece of a row, twice that for loading to
        go on meanwhile.
    profile_depth:
        Steps whose counters are kept.
    """

    outputs: int = 32
    window_depth: int = 1024
    weight_depth: int = 512
    vector_depth: int = 512
    store_depth: int = 2048
    plane_depth: int = 256
    depthwise_depth: int = 64
    chunk_depth: int = 64
    dilation_depth: int = 4096
    expand_depth: int = 256
    profile_depth: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value <= 0:
                raise ConfigError(f"{field.name} = {value!r}: expected a positive integer")
            if field.name != "outputs" and value & (value - 1):
                raise ConfigError(f"{field.name} = {value}: expected a power of two")
        if self.outputs % CHUNK or self.outputs > 128:
            raise ConfigError(f"outputs = {self.outputs}: expected a multiple of {CHUNK}, at most 128")
        for name, low, high in (
            ("window_depth", 16, 4096),
            ("weight_depth", 16, 8192),
            ("vector_depth", 16, 4096),
            ("store_depth", 64, 16384),
            ("plane_depth", 8, 256),
            ("depthwise_depth", 8, 256),
            ("chunk_depth", 4, 512),
            ("dilation_depth", 64, 65536),
            ("expand_depth", 16, 4096),
            ("profile_depth", 16, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} = {getattr(self, name)}: expected {low} to {high}")

    @classmethod
    def small(cls) -> AcceleratorConfig:
        """A small array for tests: 16 x 8 multipliers and short memories, so that limits are reached early."""
        return cls(
            outputs=8,
            window_depth=128,
            weight_depth=256,
            vector_depth=64,
            store_depth=256,
            plane_depth=32,
            depthwise_depth=32,
            chunk_depth=32,
            dilation_depth=512,
            expand_depth=64,
            profile_depth=64,
        )

    @property
    def macs_per_cycle(self) -> int:
        """4-bit multiply-accumulates of the pointwise array in one cycle."""
        return LANES * self.outputs

    @property
    def chunks_per_group(self) -> int:
        """Chunks of 8 channels in one group of ``outputs`` channels."""
        return self.outputs // CHUNK

    def to_dict(self) -> dict[str, int]:
        """Plain dictionary, for file headers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AcceleratorConfig:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        ConfigError
            Unknown or missing name, or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ConfigError(
                f"configuration has fields {sorted(values)}: expected {sorted(known)} (another version of CoDeNet?)"
            )
        return cls(**values)
