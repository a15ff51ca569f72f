# SPDX-License-Identifier: Apache-2.0
"""Bitstreams that come with a release, packed, and the one of them that is installed."""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codenet import files
from codenet.devices import bitstream as installed
from codenet.devices.bitstream import Handoff
from codenet.devices.boards import Board
from codenet.errors import ConfigError, FormatError
from codenet.isa import ISA_VERSION

PACKED = Path(__file__).parents[1] / "bitstreams"
"""Of a release: a folder for each design. A checkout has none."""

BIT, HWH, REPORT = "codenet.bit", "codenet.hwh", "report.json"
COMPRESSED = f"{BIT}.xz"


@dataclass(frozen=True)
class Bitstream:
    """A ``.bit``, its ``.hwh``, and what the tools reported of it."""

    bit: bytes
    handoff: bytes
    report: dict[str, Any]

    def write(self, folder: Path) -> Path:
        """Write both files into ``folder``, made if it is not there; returns the path of the ``.bit``.

        Raises
        ------
        OSError
            As the operating system says.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / HWH, self.handoff)
        files.write(folder / BIT, self.bit)
        return folder / BIT


def unpack(place: Path) -> Bitstream:
    """What lies in the folder of a design.

    Raises
    ------
    FormatError, FileNotFoundError
        It is damaged, or a file is missing.
    ConfigError
        It is for programs of another ISA.
    """
    report = read_report(place / REPORT)
    if report["of"]["isa"] != ISA_VERSION:
        raise ConfigError(f"{place}: for ISA version {report['of']['isa']}: expected {ISA_VERSION}")
    try:
        bit = lzma.decompress((place / COMPRESSED).read_bytes())
    except lzma.LZMAError as error:
        raise FormatError(f"{place / COMPRESSED}: damaged ({error})") from error
    if (found := hashlib.sha256(bit).hexdigest()) != report["bit_sha256"]:
        raise FormatError(f"{place / COMPRESSED}: SHA-256 {found[:12]}: expected {report['bit_sha256'][:12]}")
    return Bitstream(bit, (place / HWH).read_bytes(), report)


def read_report(path: Path) -> dict[str, Any]:
    """The report of a build.

    Raises
    ------
    FormatError
        No JSON object.
    """
    try:
        report = json.loads(path.read_text())
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(report, dict):
        raise FormatError(f"{path}: expected an object")
    return report


def of_file(path: Path, board: Board | None = None) -> Bitstream:
    """A ``.bit`` with its ``.hwh`` beside it, if they belong together and on ``board``.

    Raises
    ------
    DeviceError, FormatError, FileNotFoundError
        They do not, or one is not what it should be.
    """
    Handoff.read(path).check(path, board)
    return Bitstream(path.read_bytes(), path.with_suffix(".hwh").read_bytes(), {})


def install(bitstream: Bitstream) -> Path:
    """Make a bitstream the one that is loaded from now on; returns its path, :data:`codenet.devices.bitstream.SHIPPED`.

    That path goes through a link to a folder. Both files are written into a new folder, and one renaming makes the link
    point there: whatever ends this before, power lost included, leaves the pair that was there.

    Raises
    ------
    OSError
        With the file; nothing has changed.
    """
    link = installed.SHIPPED.parent
    digest = hashlib.sha256(bitstream.bit + bitstream.handoff).hexdigest()[:16]
    folder = link.with_name(f"{link.name}-{digest}")
    new = link.with_name(f".{link.name}-new")
    is_linked = link.exists() and folder.exists() and link.samefile(folder)
    try:
        if not is_linked:
            _remove(folder, new)  # Of an attempt that did not come to its end.
        bitstream.write(folder)
        _to_disk(folder)
        if not is_linked:
            os.symlink(folder.name, new)
            os.replace(new, link)
    except OSError as error:
        if not is_linked:
            _remove(folder, new)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "no space left; what was installed before stays"
            raise OSError(error.errno, text, str(error.filename or folder)) from error
        raise
    _to_disk(link.parent)
    for other in link.parent.glob(f"{link.name}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return installed.SHIPPED


def _remove(folder: Path, link: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        link.unlink()


def _to_disk(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
