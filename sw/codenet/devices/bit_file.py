# SPDX-License-Identifier: Apache-2.0
"""Bitstream files: ``.bit`` with its header, and ``.bin`` as Linux' fpga_manager takes it.

The header of a ``.bit`` is a row of fields, each with its length (2 bytes, the last one 4), all big-endian: a constant,
then "a" design, "b" part, "c" date, "d" time, all of them texts that end with a zero, then "e" the bitstream. A
``.bin`` for a Zynq-7000's fpga_manager is the bitstream alone with the bytes of each word turned around; the driver
looks for the sync word that way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from codenet.errors import FormatError

_START = bytes.fromhex("0009 0ff0 0ff0 0ff0 0ff0 00 0001")
_TEXTS = {b"a": "design", b"b": "part", b"c": "date", b"d": "time"}

SYNC_WORD = bytes.fromhex("aa995566")
"""Begins the configuration of every 7 series and UltraScale device, in the byte order of a .bit (UG470, table 5-12)."""


@dataclass(frozen=True)
class BitFile:
    """A bitstream and what its header says of it.

    Attributes
    ----------
    design:
        Name, with the tool's remarks behind semicolons.
    part:
        As ``7z020clg400``.
    date, time:
        As ``2026/11/25`` and ``09:30:00``.
    data:
        The bitstream, in the order of its bytes on the configuration port; a multiple of 4 bytes.
    """

    design: str
    part: str
    date: str
    time: str
    data: bytes

    @classmethod
    def parse(cls, raw: bytes, name: str = "bitstream") -> BitFile:
        """Read a ``.bit``.

        Raises
        ------
        FormatError
            Not a ``.bit``, or cut off.
        """
        if not raw.startswith(_START):
            raise FormatError(f"{name}: begins with {raw[:8].hex()}: expected {_START[:8].hex()}, as a .bit file does")
        texts: dict[str, str] = {}
        position = len(_START)
        while (key := raw[position : position + 1]) in _TEXTS:
            (length,) = _unpack(">H", raw, position + 1, name)
            text = raw[position + 3 : position + 3 + length]
            texts[_TEXTS[key]] = text.rstrip(b"\0").decode("ascii", "replace")
            position += 3 + length
        if key != b"e" or len(texts) != len(_TEXTS):
            raise FormatError(
                f"{name}: fields {sorted(texts)} before {key!r}: expected {list(_TEXTS.values())} before b'e'"
            )
        (length,) = _unpack(">I", raw, position + 1, name)
        data = raw[position + 5 :]
        if len(data) != length:
            raise FormatError(f"{name}: {len(data)} bytes of bitstream: expected {length}, as its header says")
        return cls(data=checked(data, name), **texts)

    def encode(self) -> bytes:
        """The ``.bit``."""
        parts = [_START]
        for key, field in _TEXTS.items():
            text = getattr(self, field).encode("ascii") + b"\0"
            parts.append(key + struct.pack(">H", len(text)) + text)
        return b"".join([*parts, b"e", struct.pack(">I", len(self.data)), self.data])

    def to_bin(self) -> bytes:
        """The ``.bin`` for fpga_manager."""
        return turned(self.data)

    def renamed(self, design: str) -> BitFile:
        """With another name of the design, the tool's remarks kept."""
        _, semicolon, remarks = self.design.partition(";")
        return replace(self, design=design + semicolon + remarks)


def parse_raw(raw: bytes, name: str, *, design: str, part: str, date: str, time: str) -> BitFile:
    """A bitstream without header, as some tools write it.

    Raises
    ------
    FormatError
        No sync word in the first 256 bytes.
    """
    return BitFile(design, part, date, time, checked(raw, name))


def checked(data: bytes, name: str) -> bytes:
    """``data``, if it is a bitstream in the order of the configuration port.

    Raises
    ------
    FormatError
        Not whole words of 4 bytes, or no sync word in the first 256.
    """
    if len(data) % 4:
        raise FormatError(f"{name}: {len(data)} bytes of bitstream: expected whole words of 4 bytes")
    if not has_sync_word(data):
        raise FormatError(f"{name}: no sync word {SYNC_WORD.hex()} in the first 256 bytes: not a bitstream")
    return data


def has_sync_word(data: bytes) -> bool:
    """Whether the sync word stands near the beginning."""
    return SYNC_WORD in data[:256]


def turned(data: bytes) -> bytes:
    """With the bytes of each word of 4 in reverse; what is left over of a last word is dropped."""
    return np.frombuffer(data[: len(data) & ~3], ">u4").astype("<u4").tobytes()


def _unpack(layout: str, raw: bytes, position: int, name: str) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, raw, position)
    except struct.error as error:
        raise FormatError(f"{name}: ends within its header, at byte {len(raw)}") from error
