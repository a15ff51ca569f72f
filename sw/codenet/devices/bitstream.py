# SPDX-License-Identifier: Apache-2.0
"""Bitstreams and what lies beside them: where the file is, what it holds, and what the tools wrote down about it
(.hwh).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from codenet.devices.bit_file import BitFile, checked, has_sync_word, turned
from codenet.devices.boards import Board
from codenet.errors import DeviceError
from codenet.zoo import ZOO

ENVIRONMENT = "CODENET_BITSTREAM"
"""Names the bitstream; without it the one that is installed is taken."""

SHIPPED = ZOO / "bitstream" / "codenet.bit"
"""The one that is installed (:func:`codenet.devices.installation.install`)."""

VLNV = "codenet.org:user:codenet:1.0"
"""Vendor, library, name and version of the accelerator in a .hwh: what drivers bind to."""

CLOCK_PARAMETER = "C_CLOCK_HZ"
"""Of the accelerator in a .hwh that we made: the clock that timing was held against, where the processing system's
parameters have what PYNQ can set.
"""

BOARDS_PARAMETER, DIGEST_PARAMETER = "C_BOARDS", "C_BITSTREAM"
"""The boards that it is for, by name, and the digest of the bitstream that it is of."""

_CLOCK_PARAMETERS = (
    "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ",
    "PCW_FPGA0_PERIPHERAL_FREQMHZ",
    "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ",
    "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
)
"""Of the processing system, for designs that other tools made; the first that is there counts: what they could reach,
before what was asked for.
"""


def find_bitstream() -> Path | None:
    """File that ``CODENET_BITSTREAM`` names, or the one that is installed; ``None`` if there is neither.

    Raises
    ------
    DeviceError
        The variable names a file that does not exist.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise DeviceError(f"bitstream {path}, which {ENVIRONMENT} names: no such file")
        return path.resolve()
    return SHIPPED if SHIPPED.is_file() else None


@dataclass(frozen=True)
class Handoff:
    """What a driver wants to know of a design.

    Attributes
    ----------
    clock_hz:
        Of the first clock from processor to logic, as the design was made for; ``None`` if it isn't told.
    base:
        Address of the accelerator's registers, and their size in bytes; ``None`` if there is no accelerator.
    ports:
        Numbers of the high performance ports (S_AXI_HP) that are used.
    boards, bitstream:
        Names of boards and digest of the bitstream that it is for, as far as it is told.
    """

    clock_hz: float | None
    base: tuple[int, int] | None
    ports: tuple[int, ...]
    boards: tuple[str, ...] = ()
    bitstream: str | None = None

    @classmethod
    def read(cls, bitstream: Path) -> Handoff:
        """From the ``.hwh`` beside a bitstream.

        Raises
        ------
        DeviceError
            There is none, or it is no hardware description.
        """
        path = bitstream.with_suffix(".hwh")
        if not path.is_file():
            raise DeviceError(f"bitstream {bitstream}: its hardware description {path.name} is not beside it")
        try:
            root = ElementTree.parse(path).getroot()
            accelerators = _accelerators(root)
            parameters = _parameters(root)
            own = _parameters(accelerators[0]) if accelerators else {}
            return cls(
                _clock_hz(parameters, accelerators),
                _base(root, accelerators),
                tuple(n for n in range(4) if parameters.get(f"PCW_USE_S_AXI_HP{n}") == "1"),
                tuple(own.get(BOARDS_PARAMETER, "").split()),
                own.get(DIGEST_PARAMETER),
            )
        except (ElementTree.ParseError, ValueError) as error:
            raise DeviceError(f"hardware description {path}: cannot be read ({error})") from error

    def check(self, bitstream: Path, board: Board | None = None) -> None:
        """Whether the bitstream is the one that this describes, and for ``board`` (``None``: it is not known).

        Raises
        ------
        DeviceError
            It is not: the clock could be too fast, or pins be driven that the board drives, too.
        FormatError
            Not a bitstream.
        """
        if self.bitstream is not None and (found := digest(bitstream)) != self.bitstream:
            raise DeviceError(
                f"bitstream {bitstream}: its digest is {found}, but {bitstream.with_suffix('.hwh').name} beside it "
                f"describes {self.bitstream}; take both of one release (codenet setup)"
            )
        if board is not None and self.boards and board.name not in self.boards:
            raise DeviceError(
                f"bitstream {bitstream}: is for {', '.join(self.boards)}, but this board is {board.name}; "
                f"codenet setup installs the right one"
            )
        if board is not None and bitstream.suffix == ".bit":
            part = BitFile.parse(bitstream.read_bytes(), f"bitstream {bitstream}").part
            if part and part != board.chip:
                raise DeviceError(f"bitstream {bitstream}: is for the chip {part}, but this board has {board.chip}")


def _accelerators(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Modules that are our accelerator, of any version."""
    kind = VLNV.rpartition(":")[0] + ":"
    return [item for item in root.iter("MODULE") if item.get("VLNV", "").startswith(kind)]


def _parameters(element: ElementTree.Element) -> dict[str, str]:
    return {item.get("NAME", ""): item.get("VALUE", "") for item in element.iter("PARAMETER")}


def _clock_hz(parameters: dict[str, str], accelerators: list[ElementTree.Element]) -> float | None:
    for accelerator in accelerators:
        if value := _parameters(accelerator).get(CLOCK_PARAMETER):
            return float(value)
    megahertz = next((float(parameters[name]) for name in _CLOCK_PARAMETERS if parameters.get(name)), None)
    return None if megahertz is None else 1e6 * megahertz


def _base(root: ElementTree.Element, accelerators: list[ElementTree.Element]) -> tuple[int, int] | None:
    names = {item.get("INSTANCE") for item in accelerators}
    for item in root.iter("MEMRANGE"):
        if item.get("INSTANCE") in names:
            first, last = (int(item.get(name, ""), 16) for name in ("BASEVALUE", "HIGHVALUE"))
            return first, last + 1 - first
    return None


def digest(bitstream: Path | BitFile) -> str:
    """Sixteen hexadecimal digits that tell one bitstream from another, whatever the kind of its file.

    Raises
    ------
    FormatError
        Not a bitstream, or truncated.
    """
    data = configuration(bitstream) if isinstance(bitstream, Path) else bitstream.to_bin()
    return hashlib.sha256(data).hexdigest()[:16]


def configuration(path: Path) -> bytes:
    """What the kernel's FPGA manager wants of a bitstream file: no header, and the bytes of each 32-bit word reversed.

    A ``.bit`` has a header of tagged fields and its bytes in the order of the configuration port
    (:mod:`codenet.devices.bit_file`); a ``.bin`` is taken in either order.

    Raises
    ------
    FormatError
        Not a bitstream, or truncated.
    """
    data, name = path.read_bytes(), f"bitstream {path}"
    if path.suffix == ".bit":
        return BitFile.parse(data, name).to_bin()
    if has_sync_word(turned(data)):
        return data
    return turned(checked(data, name))
