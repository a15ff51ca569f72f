# SPDX-License-Identifier: Apache-2.0
"""Dilations: the part of a step's cycles that depends on data."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from codenet.config import CONFLICT_FREE, MAX_DILATION
from codenet.errors import ConfigError
from codenet.isa import Descriptor
from codenet.program import PlacedTensor, Program

TAPS = 9

WINDOW_BEATS = np.array([1 if d in CONFLICT_FREE else TAPS for d in range(MAX_DILATION + 1)])
"""Cycles a plane by dilation: nine when the taps fall into the same banks."""

ASSUMED_DILATIONS = np.full(MAX_DILATION + 1, 1 / (MAX_DILATION + 1))
"""Frequency of each dilation where none is known: all alike."""


def dilation_sources(program: Program) -> dict[int, PlacedTensor]:
    """The tensor that each deformable step, by its index, has its dilations from: in channel 0 of that tensor's only
    plane, which the step reads, or a copy of it at full size.
    """
    tables = [_tables(program, step) for step in program.descriptors]
    return {
        number: _origin(program, tables, number, tables[number][0][-1])
        for number, step in enumerate(program.descriptors)
        if step.dilated
    }


def equally_frequent(program: Program, dilations: Collection[int]) -> dict[int, np.ndarray]:
    """Eight frequencies for each deformable step of a network that keeps to ``dilations``: those of the set alike."""
    alike = np.isin(range(MAX_DILATION + 1), list(dilations)).astype(np.float64)
    return dict.fromkeys(dilation_sources(program), alike)


def _tables(program: Program, step: Descriptor) -> tuple[list[int], list[int]]:
    """Offsets of the planes that a step reads, and of those that it writes."""
    read = step.expand_planes if step.expand else step.input_planes + step.dilated
    table = np.frombuffer(program.image, "<u8", read + step.output_planes, step.parameter_address)
    offsets = (table & np.uint64(0xFFFFFFFF)).tolist()
    return offsets[:read], offsets[read:]


def _origin(program: Program, tables: list[tuple[list[int], list[int]]], reader: int, offset: int) -> PlacedTensor:
    """The tensor in the plane at ``offset`` that step ``reader`` reads: what was written there last, as memory is used
    again.
    """
    writer = max(number for number in range(reader) if offset in tables[number][1])
    for placed in program.tensors:
        if placed.planes[0] == offset and placed.step == writer:
            return placed
    inputs, outputs = tables[writer]
    return _origin(program, tables, writer, inputs[outputs.index(offset)])


def dilation_maps(program: Program, tensors: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The dilations that each deformable step reads.

    Parameters
    ----------
    tensors:
        Tensors of the graph by name, int8 ``[H, W, C]`` (:func:`codenet.golden.interpreter.run`).

    Returns
    -------
    By index of the step: int8 ``[H, W]`` as stored, which is half the step's input size if it upsamples.
    """
    maps = {}
    for number, source in dilation_sources(program).items():
        scale = 1 << program.descriptors[number].upsample
        maps[number] = tensors[source.name][::scale, ::scale, int(source.index[0])]
    return maps


def window_beats(dilations: np.ndarray | None) -> np.ndarray:
    """Cycles of each stored pixel, a plane: float ``[H, W]`` of a map; their mean ``[1, 1]`` of frequencies (``[8]``;
    None: the assumed ones).

    Raises
    ------
    ConfigError
        Neither a map of dilations nor eight frequencies.
    """
    if dilations is None:
        dilations = ASSUMED_DILATIONS
    if dilations.ndim == 2 and dilations.size and 0 <= dilations.min() <= dilations.max() <= MAX_DILATION:
        return WINDOW_BEATS[dilations].astype(np.float64)
    if dilations.shape == ASSUMED_DILATIONS.shape and dilations.min() >= 0 and dilations.sum() > 0:
        return np.array([[dilations @ WINDOW_BEATS / dilations.sum()]])
    raise ConfigError(
        f"dilations of shape {list(dilations.shape)}: expected a map [H, W] of values 0 to {MAX_DILATION} or "
        f"{MAX_DILATION + 1} frequencies"
    )
