# SPDX-License-Identifier: Apache-2.0
"""Bits of a parameter block (:mod:`codenet.isa`): packing for the compiler, unpacking for executor and tests.

Beats are ``uint64``; a block is their little-endian bytes. Every ``unpack`` is the exact inverse of its ``pack``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from codenet.config import BEAT_BYTES, CHUNK, LANES
from codenet.errors import FormatError
from codenet.isa.descriptor import CHUNK_BEATS, DEPTHWISE_BEATS, DepthwiseOp, Descriptor, Section, check_crc

_NIBBLE_SHIFTS = np.arange(0, 4 * LANES, 4, dtype=np.uint64)


def _check_range(name: str, values: np.ndarray, low: int, high: int) -> None:
    if values.size and not (low <= int(values.min()) and int(values.max()) <= high):
        raise FormatError(f"{name} in [{values.min()}, {values.max()}]: expected [{low}, {high}]")


def pack_nibbles(values: np.ndarray) -> np.ndarray:
    """``[..., 16]`` integers, of each the low 4 bits, to uint64 ``[...]``: lane l in bits ``4l+3..4l``."""
    shifted: np.ndarray = (values.astype(np.uint64) & np.uint64(15)) << _NIBBLE_SHIFTS
    return np.asarray(shifted.sum(axis=-1, dtype=np.uint64))


def unpack_nibbles(beats: np.ndarray, signed: bool = True) -> np.ndarray:
    """Inverse of :func:`pack_nibbles`: uint64 ``[...]`` to int8 ``[..., 16]``, in [-8, 7] or [0, 15]."""
    values = ((beats[..., None] >> _NIBBLE_SHIFTS) & np.uint64(15)).astype(np.int8)
    return np.where(values >= 8, values - 16, values).astype(np.int8) if signed else values


def pack_requantize(m: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``m`` (16 bit signed) in bits 15..0 and ``b`` (48 bit signed) in bits 63..16 of uint64, of the arguments' shape.

    Raises
    ------
    FormatError
        A value outside its field.
    """
    m, b = np.asarray(m, dtype=np.int64), np.asarray(b, dtype=np.int64)
    _check_range("requantize m", m, -(2**15), 2**15 - 1)
    _check_range("requantize b", b, -(2**47), 2**47 - 1)
    return (b.astype(np.uint64) << np.uint64(16)) | (m.astype(np.uint64) & np.uint64(0xFFFF))


def unpack_requantize(beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`pack_requantize`: ``m`` int16 and ``b`` int64."""
    m = (beats & np.uint64(0xFFFF)).astype(np.uint16).view(np.int16)
    return m, beats.view(np.int64) >> 16


def pack_weights(weights: np.ndarray, outputs: int, wide: bool = False) -> np.ndarray:
    """Pointwise weights as the array reads them.

    Parameters
    ----------
    weights:
        int8 ``[O, 16 * vectors]``: output channel, lane ``l`` of vector ``v`` at ``16 * v + l``. Padded with zeros to
        whole groups of ``outputs`` channels. A word has the nibbles of one vector by lane, then output, 16 a beat.
    outputs:
        Output channels of the array.
    wide:
        8-bit weights: a word of high nibbles, then one of low nibbles, for each vector.

    Returns
    -------
    np.ndarray
        uint64 ``[groups * vectors * (1 + wide) * outputs]``.
    """
    count, lanes = weights.shape
    if lanes % LANES:
        raise FormatError(f"weights of {lanes} input lanes: expected a multiple of {LANES}")
    _check_range("weights", weights, *((-128, 127) if wide else (-8, 7)))
    groups, vectors = -(-count // outputs), lanes // LANES
    padded = np.zeros((groups * outputs, lanes), dtype=np.int64)
    padded[:count] = weights
    beats = padded.reshape(groups, outputs, vectors, LANES).transpose(0, 2, 1, 3)
    words = np.stack([beats >> 4, beats] if wide else [beats], axis=2).swapaxes(-1, -2)
    return pack_nibbles(words.reshape(-1, LANES))


def unpack_weights(beats: np.ndarray, outputs: int, vectors: int, wide: bool = False) -> np.ndarray:
    """Inverse of :func:`pack_weights`: int8 ``[groups * outputs, 16 * vectors]``."""
    words = unpack_nibbles(beats, signed=False).reshape(-1, vectors, 1 + wide, LANES, outputs).astype(np.int16)
    values = words[:, :, 0] - 16 * (words[:, :, 0] >= 8)
    if wide:
        values = 16 * values + words[:, :, 1]
    return values.astype(np.int8).transpose(0, 3, 1, 2).reshape(-1, LANES * vectors)


def pack_depthwise(weights: np.ndarray, m: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Depthwise section: int8 ``[16 * planes, 3, 3]`` and requantize ``[16 * planes]`` to uint64 ``[planes * 25]``."""
    if len(weights) % LANES:
        raise FormatError(f"depthwise weights of {len(weights)} lanes: expected a multiple of {LANES}")
    _check_range("depthwise weights", weights, -8, 7)
    planes = len(weights) // LANES
    beats = np.empty((planes, DEPTHWISE_BEATS), dtype=np.uint64)
    beats[:, :9] = pack_nibbles(weights.reshape(planes, LANES, 9).transpose(0, 2, 1))
    beats[:, 9:] = pack_requantize(m, b).reshape(planes, LANES)
    return beats.reshape(-1)


def unpack_depthwise(beats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse of :func:`pack_depthwise`: weights int8 ``[16 * planes, 3, 3]``, ``m`` int16, ``b`` int64
    ``[16 * planes]``.
    """
    entries = beats.reshape(-1, DEPTHWISE_BEATS)
    weights = unpack_nibbles(entries[:, :9]).transpose(0, 2, 1).reshape(-1, 3, 3)
    m, b = unpack_requantize(np.ascontiguousarray(entries[:, 9:]).reshape(-1))
    return weights, m, b


def section_beats(step: Descriptor, outputs: int) -> dict[Section, int]:
    """Beats of each section of the parameter block that belongs to ``step``, on an array of ``outputs`` channels."""
    mac = step.depthwise_op == DepthwiseOp.MAC
    return {
        Section.INPUT_TABLE: step.expand_planes if step.expand else step.input_planes + step.dilated,
        Section.OUTPUT_TABLE: step.output_planes,
        Section.DEPTHWISE: DEPTHWISE_BEATS * step.input_planes if mac else 0,
        Section.CHUNKS: CHUNK_BEATS * (step.expand_chunks + (step.chunks if step.pointwise else 0)),
        Section.WEIGHTS: (step.expand_words + (main_words(step) if step.pointwise else 0)) * outputs,
    }


def main_words(step: Descriptor) -> int:
    """Words of weights of the pointwise convolution proper, without those of an expansion."""
    return step.groups * step.vectors * (1 + step.wide_weights)


@dataclass(frozen=True)
class Parameters:
    """An unpacked parameter block. Arrays of sections that the step does not have are empty.

    ``input_table`` (dilation plane last) and ``output_table``: int64 offsets. ``depthwise_weights`` int8
    ``[16 * P, 3, 3]``, ``depthwise_m``, ``depthwise_b`` ``[16 * P]``. ``m``, ``b``: ``[8 * chunks]``. ``weights`` int8
    ``[groups * outputs, 16 * vectors]``. ``expand_m``, ``expand_b``, ``expand_weights``: the same of the expansion,
    ``[8 * expand_chunks]`` and ``[expand_groups * outputs, 16 * expand_planes]``.
    """

    input_table: np.ndarray
    output_table: np.ndarray
    depthwise_weights: np.ndarray
    depthwise_m: np.ndarray
    depthwise_b: np.ndarray
    m: np.ndarray
    b: np.ndarray
    weights: np.ndarray
    expand_m: np.ndarray
    expand_b: np.ndarray
    expand_weights: np.ndarray


def unpack_parameters(block: bytes | np.ndarray, step: Descriptor, outputs: int) -> Parameters:
    """Parameter block of ``step``, whose bytes start at the start of ``block``.

    Raises
    ------
    FormatError
        ``block`` is too short, or ``step.parameter_beats`` disagrees with the section sizes.
    DamagedError
        The block differs from ``step.parameter_crc``.
    """
    sizes = section_beats(step, outputs)
    total = sum(sizes.values())
    if step.parameter_beats != total:
        raise FormatError(f"parameter block of {step.parameter_beats} beats: its sections have {total}")
    data = np.frombuffer(block, dtype=np.uint8, count=-1)[: 8 * total]
    if data.size < 8 * total:
        raise FormatError(f"parameter block: {data.size} bytes are there, expected {8 * total}")
    check_crc("parameter block", data, step.parameter_crc)
    beats = np.frombuffer(data.tobytes(), dtype="<u8").astype(np.uint64)
    sections, start = {}, 0
    for section, size in sizes.items():
        sections[section] = beats[start : start + size]
        start += size
    weights, depthwise_m, depthwise_b = unpack_depthwise(sections[Section.DEPTHWISE])
    m, b = unpack_requantize(sections[Section.CHUNKS])
    expanded = CHUNK * step.expand_chunks
    words, expand_words = np.split(sections[Section.WEIGHTS], [step.expand_words * outputs])[::-1]
    return Parameters(
        input_table=(sections[Section.INPUT_TABLE] & np.uint64(0xFFFFFFFF)).astype(np.int64),
        output_table=(sections[Section.OUTPUT_TABLE] & np.uint64(0xFFFFFFFF)).astype(np.int64),
        depthwise_weights=weights,
        depthwise_m=depthwise_m,
        depthwise_b=depthwise_b,
        m=m[expanded:],
        b=b[expanded:],
        weights=_unpack_words(words, outputs, step.vectors, bool(step.wide_weights)),
        expand_m=m[:expanded],
        expand_b=b[:expanded],
        expand_weights=_unpack_words(expand_words, outputs, step.expand_planes),
    )


def _unpack_words(words: np.ndarray, outputs: int, vectors: int, wide: bool = False) -> np.ndarray:
    return unpack_weights(words, outputs, vectors, wide) if words.size else np.zeros((0, LANES * vectors), np.int8)


def pack_parameters(
    input_table: np.ndarray, output_table: np.ndarray, depthwise: np.ndarray, chunks: np.ndarray, weights: np.ndarray
) -> bytes:
    """Sections (uint64 beats, as the other ``pack`` functions give them) as the bytes of a parameter block."""
    if len(chunks) % CHUNK:
        raise FormatError(f"{len(chunks)} output channels: expected a multiple of {CHUNK}")
    sections = (
        np.asarray(section, dtype=np.uint64) for section in (input_table, output_table, depthwise, chunks, weights)
    )
    return np.concatenate(list(sections)).astype("<u8").tobytes()


def block_fields(address: int, block: bytes | np.ndarray) -> dict[str, int]:
    """What a descriptor says of its parameter block (bytes or uint8 ``[N]``, N a multiple of 8) at ``address``."""
    return {
        "parameter_address": address,
        "parameter_beats": len(block) // BEAT_BYTES,
        "parameter_crc": zlib.crc32(block),
    }
