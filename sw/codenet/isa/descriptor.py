# SPDX-License-Identifier: Apache-2.0
"""What the accelerator executes: the step descriptor, the parameter block of a step, and the peak record.

One source for the compiler, the golden device and the RTL (which builds its decoder from :data:`FIELDS`). All words are
little-endian. Every address is a byte offset from the base address that the driver writes to the accelerator, so that a
program runs anywhere in memory.

A step
------
::

    load -> expansion -> window -> depthwise -> requantize -> pointwise -> requantize -> store
           (1x1 | off)  (1x1 | 3x3,  (mac | max | off)         (1x1 | off)
                         stride, d)   (peaks ------------------------------> peak records)

A tensor is a list of *planes* of 16 int8 (or 8 int16) channels, each ``[H][W][16]`` bytes, rows contiguous, addresses
multiples of 8 (:data:`PLANE_ALIGNMENT` for planes that steps write). The step reads ``input_planes`` planes, in the
order of its input table, and, if ``dilated``, one more plane whose channel 0 is the dilation of each pixel. Row ``r``
of plane ``p`` starts at ``input_table[p] + r * row_pitch``; its pixels are 16 bytes apart, or, if ``packed`` (the
stem), 8 bytes apart, so that neighbouring vectors overlap by half. With ``upsample`` the stored planes (the dilation
plane too) have half of ``input_height`` and ``input_width``, and stored pixel (r, c) is read at (2r, 2c), (2r, 2c+1),
(2r+1, 2c) and (2r+1, 2c+1). With ``repeat`` as well, every stored row is loaded twice, once for each of its two rows:
more traffic, but the window then needs no room for pairs of rows. The results are the same.

With ``expand`` a 1x1 convolution makes the input planes: the step reads ``expand_planes`` planes instead (their places
are the input table), at the stored resolution; the vectors of each of their pixels are multiplied with 4-bit weights
into ``8 * expand_chunks`` channels and requantized to int8 with ``expand_s``, ``expand_lo`` and ``expand_hi``: the
``input_planes = expand_chunks / 2`` planes that the window takes. They exist in the window only. Everything else holds
as if they had been loaded (with ``repeat``, what is loaded twice is expanded twice). Not with ``full``, ``packed``,
``dilated``, ``wide_weights`` or PEAKS.

For each output pixel in row-major order the window visits the input planes in order. What leaves it, for the output
pixel (y, x) and centre (y * stride, x * stride), stride = 1 or 2:

- ``depthwise_op`` OFF, ``full`` 0: one vector a plane, the centre. ``vectors = input_planes``.
- ``depthwise_op`` OFF, ``full`` 1: nine vectors a plane, taps in row-major order. ``vectors = 9 * input_planes``.
- MAC, MAX: one vector a plane, the filtered window (MAC: requantized by the depthwise entry of that plane).
- PEAKS: no vectors; the planes are int16, and each (plane, lane) whose centre is greater than or equal to its
  neighbours inside the image, and greater than or equal to ``peak_threshold``, yields a peak record. Order: pixel
  (row-major), plane, lane.

Taps outside the image read ``pad`` (16 bits, repeated over the vector: both bytes the zero point; peaks ignore such
taps).

With ``pointwise`` the vectors of a pixel are multiplied with the weights into ``8 * chunks`` output channels,
requantized, and stored as ``output_planes`` planes of int8, or, if ``wide_output``, of int16. Without, the vectors
themselves are the output planes (``output_planes == vectors``).

Pixel ``n = y * output_width + x`` of output plane ``p`` is stored at ``output_table[p] + 16 * n``.

Parameter block
---------------
``parameter_beats`` beats of 64 bits at ``parameter_address``, sections in this order, nothing between:

1. Input table: ``input_planes + dilated`` beats (``expand_planes`` with ``expand``), the offset in the low 32 bits.
2. Output table: ``output_planes`` beats (0 for peaks).
3. Depthwise, if ``depthwise_op`` is MAC: for each input plane 25 beats. Beat t < 9: tap t (row-major), lane l in bits
   ``4l+3..4l``, signed. Beat 9 + l: requantize of lane l, ``m`` in bits 15..0 (signed), ``b`` in bits 63..16 (signed).
4. Chunks: for each of the ``expand_chunks`` chunks of 8 channels of the expansion, then, if ``pointwise``, for each of
   ``chunks`` chunks of 8 output channels, 8 beats, one a channel, ``m`` and ``b`` as above.
5. Weights: first, with ``expand``, the expansion's ``expand_words`` words, in the order of the others: for each of
   ``expand_groups`` groups, for each of ``expand_planes`` vectors, one word. Then, if ``pointwise``: for each group g
   of ``outputs`` output channels (``groups`` of them), for each vector v, one word; or, if ``wide_weights``, two: first
   the high nibbles ``w >> 4`` (signed), then the low ones ``w & 15`` (unsigned): ``w = 16 * high + low``. A word is
   ``outputs`` beats, 16 nibbles each: nibble ``outputs * l + j`` of the word is the weight of output channel
   ``g * outputs + j`` for lane l.

``groups = ceil(8 * chunks / outputs)``; surplus channels of the last group are computed and dropped. int8 output:
``chunks == 2 * output_planes``; int16 output: ``chunks == output_planes``. In the same way
``expand_groups = ceil(8 * expand_chunks / outputs)`` and ``expand_words = expand_groups * expand_planes``.

Window memory
-------------
Input row r lies in slot ``r mod window_rows`` (a multiple of 3, so the slot tells ``r mod 3`` too); bank (r mod 3, c
mod 3), address ``(slot // 3) * window_row_stride + (c // 3) * input_planes + p``, where
``window_row_stride = ceil(input_width / 3) * input_planes``. It must fit:
``(window_rows // 3) * window_row_stride <= window_depth``. Output row y needs rows up to ``y * stride + reach``,
``reach`` = 0 (OFF, not full), 7 (dilated), 1 (otherwise); a step needs
``window_rows >= min(2 * reach + 1, input_height)`` (``2 * reach + 2`` with ``upsample`` and ``reach > 0``, unless
``repeat``: rows come in pairs, and the second needs room while the first is awaited), and more lets loading overlap. A
dilated step also needs ``window_rows * input_width <= dilation_depth``.

What an expansion reads waits in a buffer. It is loaded, and used, in pieces of ``expand_columns`` columns of a row, all
planes of a piece before the next piece; ``expand_columns`` divides the stored width, and
``expand_planes * expand_columns <= expand_depth``. The next piece is loaded while one is used, as far as there is room.

Integrity
---------
The last word of a descriptor is the CRC-32 of the 124 bytes before it, ``parameter_crc`` that of the parameter block
(CRC-32/ISO-HDLC, as of zlib and Ethernet: polynomial 0x04C11DB7, reflected, all ones before and after). The accelerator
computes both while it reads and stops with DAMAGED before a step begins whose descriptor or parameters differ from what
the host made: a bit that changed, a block that was never written, a processor cache that was not flushed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from codenet.errors import DamagedError, FormatError

ISA_VERSION = 5
"""Changes whenever a descriptor, parameter block or record of the older kind would be misread."""

MAGIC = 0xC0DE

DESCRIPTOR_BYTES = 128
DESCRIPTOR_WORDS = DESCRIPTOR_BYTES // 4

CHECKED_BYTES = DESCRIPTOR_BYTES - 4
"""Bytes of a descriptor in front of its CRC."""

PLANE_ALIGNMENT = 128
"""Alignment of planes, parameter blocks and descriptors in memory: one burst of 16 beats."""

ACCUMULATOR_BITS = 24
"""Signed accumulators of the pointwise array."""

PRODUCT_BITS = 48
"""Signed sum ``acc * m + b`` of the requantizers."""

DEPTHWISE_BEATS = 25
"""Beats of one plane's depthwise entry: 9 of weights, 16 of requantize parameters."""

CHUNK_BEATS = 8

PEAK_BYTES = 8
"""A peak record: uint16 x, uint16 y, uint16 channel (``8 * plane + lane``), int16 value."""

PEAK_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("channel", "<u2"), ("value", "<i2")])
"""A peak record."""


class DepthwiseOp(IntEnum):
    """What happens to the 3x3 window of a step."""

    OFF = 0
    MAC = 1
    MAX = 2
    PEAKS = 3


class Section(IntEnum):
    """Sections of the parameter block, in order."""

    INPUT_TABLE = 0
    OUTPUT_TABLE = 1
    DEPTHWISE = 2
    CHUNKS = 3
    WEIGHTS = 4


class ErrorCause(IntEnum):
    """Why the accelerator stopped (STATUS register)."""

    NONE = 0
    BAD_DESCRIPTOR = 1
    """Wrong magic or ISA version, or sections that do not fit the parameter block or their memories."""
    PARAMETER_READ = 2
    """AXI error response to a descriptor or parameter read."""
    INPUT_READ = 3
    """AXI error response to an activation read."""
    OUTPUT_WRITE = 4
    """AXI error response to a write."""
    WATCHDOG = 5
    """No step finished for as many cycles as the WATCHDOG register says."""
    DAMAGED = 6
    """Descriptor or parameters in memory differ from their CRC."""


@dataclass(frozen=True)
class Field:
    """A bit field of the descriptor: ``width`` bits from bit ``shift`` of 32-bit word ``word``."""

    name: str
    word: int
    shift: int
    width: int
    signed: bool = False


def _pack(specification: list[tuple[str, int]]) -> tuple[Field, ...]:
    """Place fields in order, none across a word; a negative width means signed."""
    fields, word, shift = [], 0, 0
    for name, width in specification:
        if shift + abs(width) > 32:
            word, shift = word + 1, 0
        fields.append(Field(name, word, shift, abs(width), width < 0))
        shift += abs(width)
    assert word < CHECKED_BYTES // 4
    return tuple(fields)


FIELDS: tuple[Field, ...] = _pack(
    [
        ("magic", 16),
        ("version", 8),
        ("last", 1),
        ("depthwise_op", 2),
        ("full", 1),
        ("pointwise", 1),
        ("wide_weights", 1),
        ("wide_output", 1),
        ("upsample", 1),
        ("repeat", 1),
        ("dilated", 1),
        ("packed", 1),
        ("stride2", 1),
        ("reach", 3),
        ("window_rows", 12),
        ("input_planes", 9),
        ("input_height", 12),
        ("input_width", 12),
        ("output_height", 12),
        ("output_width", 12),
        ("row_pitch", 20),
        ("window_row_stride", 12),
        ("pad", 16),
        ("vectors", 12),
        ("groups", 9),
        ("chunks", 10),
        ("output_planes", 9),
        ("block_log2", 4),
        ("depthwise_s", 6),
        ("depthwise_lo", -8),
        ("depthwise_hi", -8),
        ("pointwise_s", 6),
        ("pointwise_lo", -16),
        ("pointwise_hi", -16),
        ("output_pixels", 24),
        ("parameter_address", 32),
        ("parameter_beats", 24),
        ("peak_address", 32),
        ("peak_capacity", 16),
        ("peak_threshold", -16),
        ("expand", 1),
        ("expand_planes", 9),
        ("expand_groups", 9),
        ("expand_chunks", 10),
        ("expand_words", 13),
        ("expand_columns", 12),
        ("expand_s", 6),
        ("expand_lo", -8),
        ("expand_hi", -8),
        ("parameter_crc", 32),
    ]
)
"""Fields in order. ``block_log2``: the storer collects ``2**block_log2`` pixels of all output planes before it writes
them (1 to 4, ``2 * output_planes << block_log2 <= store_depth / 2``; 0 allowed when nothing else fits).
``output_pixels = output_height * output_width``."""

BY_NAME = {field.name: field for field in FIELDS}


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """One step. Field meanings: the module's text. Defaults are those of an idle feature."""

    magic: int = MAGIC
    version: int = ISA_VERSION
    last: int = 0
    depthwise_op: int = DepthwiseOp.OFF
    full: int = 0
    pointwise: int = 0
    wide_weights: int = 0
    wide_output: int = 0
    upsample: int = 0
    repeat: int = 0
    dilated: int = 0
    packed: int = 0
    stride2: int = 0
    reach: int = 0
    window_rows: int
    input_planes: int
    input_height: int
    input_width: int
    output_height: int
    output_width: int
    row_pitch: int
    window_row_stride: int
    pad: int = 0
    vectors: int
    groups: int = 0
    chunks: int = 0
    output_planes: int
    block_log2: int = 0
    depthwise_s: int = 0
    depthwise_lo: int = -128
    depthwise_hi: int = 127
    pointwise_s: int = 0
    pointwise_lo: int = -128
    pointwise_hi: int = 127
    output_pixels: int
    parameter_address: int
    parameter_beats: int
    parameter_crc: int
    peak_address: int = 0
    peak_capacity: int = 0
    peak_threshold: int = 0
    expand: int = 0
    expand_planes: int = 0
    expand_groups: int = 0
    expand_chunks: int = 0
    expand_words: int = 0
    expand_columns: int = 0
    expand_s: int = 0
    expand_lo: int = 0
    expand_hi: int = 0

    def __post_init__(self) -> None:
        for field in FIELDS:
            value = getattr(self, field.name)
            low = -(1 << (field.width - 1)) if field.signed else 0
            high = (1 << (field.width - field.signed)) - 1
            if not low <= value <= high:
                raise FormatError(f"descriptor field {field.name} = {value}: expected {low} to {high}")

    def encode(self) -> bytes:
        """The 128 bytes that the accelerator fetches, with their CRC."""
        words = [0] * DESCRIPTOR_WORDS
        for field in FIELDS:
            words[field.word] |= (int(getattr(self, field.name)) & ((1 << field.width) - 1)) << field.shift
        checked = np.array(words[:-1], dtype="<u4").tobytes()
        return checked + zlib.crc32(checked).to_bytes(4, "little")

    @classmethod
    def decode(cls, data: bytes) -> Descriptor:
        """Inverse of :meth:`encode`.

        Raises
        ------
        FormatError
            Not 128 bytes, or magic or version differ.
        DamagedError
            The CRC differs.
        """
        if len(data) != DESCRIPTOR_BYTES:
            raise FormatError(f"descriptor of {len(data)} bytes: expected {DESCRIPTOR_BYTES}")
        check_crc("descriptor", data[:CHECKED_BYTES], int.from_bytes(data[CHECKED_BYTES:], "little"))
        words = np.frombuffer(data, dtype="<u4").tolist()
        values = {}
        for field in FIELDS:
            value = (words[field.word] >> field.shift) & ((1 << field.width) - 1)
            if field.signed and value >> (field.width - 1):
                value -= 1 << field.width
            values[field.name] = value
        if (values["magic"], values["version"]) != (MAGIC, ISA_VERSION):
            raise FormatError(
                f"descriptor magic {values['magic']:#x} version {values['version']}: expected {MAGIC:#x} version "
                f"{ISA_VERSION}"
            )
        return cls(**values)


def check_crc(name: str, data: bytes | np.ndarray, expected: int) -> None:
    """Compare the CRC-32 of ``data``, ``name`` for people, with the one that is kept beside it.

    Raises
    ------
    DamagedError
        They differ.
    """
    found = zlib.crc32(data)
    if found != expected:
        raise DamagedError(f"{name} has CRC {found:#010x}: expected {expected:#010x}")
