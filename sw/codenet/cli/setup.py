# SPDX-License-Identifier: Apache-2.0
"""``codenet setup``: on a board, says what is missing, installs the bitstream, and ends with ``codenet doctor``."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from codenet import files
from codenet.cli import doctor
from codenet.command import FAILURE, SUCCESS
from codenet.devices import bitstream, installation
from codenet.devices.boards import BOARDS, Board
from codenet.devices.installation import Bitstream
from codenet.devices.machine import JUPYTER, Machine
from codenet.devices.selftest import Check
from codenet.errors import DeviceError
from codenet.program import Program

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
"""Of a release; a checkout has none here."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], program: Path) -> None:
    """Add the command; ``program`` is what the board is checked for, as long as there is such a file."""
    parser = commands.add_parser("setup", help="make a board ready: say what is missing, install the bitstream")
    parser.add_argument("--board", choices=sorted(BOARDS), help="default: what the device tree says")
    parser.add_argument("--device", help="driver to check with (default: pynq on PYNQ's images, otherwise uio)")
    parser.add_argument(
        "--bitstream", type=Path, metavar="FILE", help="this .bit, its .hwh beside it, not the release's"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    parser.set_defaults(run=_run, default_program=program)


def chosen(board: Board, file: Path | None = None) -> Bitstream | None:
    """The bitstream for a board: of a file, or of this release; ``None``: it has none.

    Raises
    ------
    DeviceError, FormatError, ConfigError, FileNotFoundError
        It is another board's, its files do not belong together, or one is not what it should be.
    """
    if file is not None:
        return installation.of_file(file, board)
    place = installation.PACKED / board.design
    return installation.unpack(place) if place.is_dir() else None


def _run(options: argparse.Namespace) -> int:
    machine = Machine(options.root)
    board = BOARDS[options.board] if options.board else machine.board()
    status = SUCCESS
    for check in (*machine.checks(board), _installed(board, chosen(board, options.bitstream)), *_notebooks(machine)):
        print(check, flush=True)
        if check.passed is False:
            status = FAILURE
    if status:
        print("the board is not ready: get what is missing, then run codenet setup again")
        return status
    program = options.default_program
    return doctor.report(options.device or machine.device, Program.load(program) if program.exists() else None)


def _installed(board: Board, found: Bitstream | None) -> Check:
    """Install what was found; otherwise what has been installed must fit."""
    name, path = "bitstream", bitstream.SHIPPED
    if found is not None:
        return Check(name, True, f"{installation.install(found)}")
    if not path.is_file():
        get = f"make bitstream BOARD={board.name} in a checkout, then codenet setup --bitstream codenet.bit"
        return Check(name, False, f"this release has none for {board.name}; to get it: {get}")
    try:
        installation.of_file(path, board)
    except DeviceError as error:
        return Check(name, False, str(error))
    return Check(name, True, f"{path}, which was installed before")


def _notebooks(machine: Machine) -> Iterator[Check]:
    """Copy the release's notebooks to Jupyter's folder, if there is one."""
    folder = machine.root / JUPYTER
    found = sorted(NOTEBOOKS.iterdir()) if NOTEBOOKS.is_dir() else []
    if found and folder.is_dir():
        target = folder / "codenet"
        target.mkdir(exist_ok=True)
        for path in found:
            files.write(target / path.name, path.read_bytes())
            shutil.copymode(path, target / path.name)
        yield Check("notebook", True, f"{target}")
