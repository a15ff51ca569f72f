# SPDX-License-Identifier: Apache-2.0
"""Bitstreams that lie in the repository, for boards that nobody has to run place and route for.

``python -m hw.flow.shelf BOARD`` puts what ``make bitstream`` made in ``build/BOARD`` there; ``make flash`` takes it
where nothing was built.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import sys
from pathlib import Path
from typing import Any

from codenet import command
from codenet.checkout import BUILD, ROOT
from codenet.config import AcceleratorConfig
from codenet.devices.bit_file import BitFile
from codenet.devices.installation import BIT, COMPRESSED, HWH, REPORT, read_report, unpack
from codenet.errors import ConfigError
from codenet.isa import ISA_VERSION
from hw.boards.board import BOARDS, Board
from hw.flow import hwh
from hw.flow.tools import git

SHELF = Path(__file__).parent / "bitstreams"

LABEL = "No board has loaded it yet; its timing is that of the tools in this report."


def put(board: Board, built: Path, shelf: Path | None = None) -> Path:
    """Put a board's design from the folder ``built`` on the shelf; returns its place.

    Raises
    ------
    ConfigError
        It does not keep its timing, or is not made of this checkout's Verilog, or the checkout has no commit.
    FormatError, FileNotFoundError
        A file is missing or not what it should be.
    """
    report = read_report(built / REPORT)
    if not report.get("timing_met"):
        raise ConfigError(f"{built / REPORT}: timing_met is {report.get('timing_met')}: expected true")
    bit = (built / BIT).read_bytes()
    config = AcceleratorConfig.from_dict(report["config"])
    handoff = hwh.generate(board, config, report["constraint"], BitFile.parse(bit, str(built / BIT)))
    report["of"] = _of(board, config)
    verilog = hashlib.sha256((built / f"{board.module}.v").read_bytes()).hexdigest()
    if report["of"]["verilog"] != verilog:
        raise ConfigError(f"{built / BIT}: made of Verilog {verilog[:12]}: expected {report['of']['verilog'][:12]}")
    report["of"]["commit"] = git(ROOT, "rev-parse", "HEAD").strip()
    report |= {"boards": board.sharing, "label": LABEL, "bit_sha256": hashlib.sha256(bit).hexdigest()}
    place = (shelf or SHELF) / board.design
    place.mkdir(parents=True, exist_ok=True)
    (place / COMPRESSED).write_bytes(lzma.compress(bit, preset=9 | lzma.PRESET_EXTREME))
    (place / HWH).write_text(handoff)
    (place / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    return place


def take(name: str, folder: Path, shelf: Path | None = None) -> Path | None:
    """Unpack the bitstream that a board takes, its ``.hwh`` beside it, into ``folder``; ``None`` if the shelf has none.

    Raises
    ------
    FormatError
        It is damaged.
    ConfigError
        It is for programs of another ISA.
    """
    place = (shelf or SHELF) / BOARDS[name].design
    return unpack(place).write(folder) if place.is_dir() else None


def moved_on(board: Board, shelf: Path | None = None) -> list[str]:
    """A line for each thing in which this checkout's design is not the one on the shelf."""
    report = read_report((shelf or SHELF) / board.design / REPORT)
    now = _of(board, board.config) | {"config": board.config.to_dict()}
    then = report["of"] | {"config": report["config"]}
    return [f"{name}: {then[name]} on the shelf, {now[name]} here" for name in now if then[name] != now[name]]


def _of(board: Board, config: AcceleratorConfig) -> dict[str, Any]:
    """What a bitstream is made of and for."""
    verilog = board.verilog(config).encode()
    return {"isa": ISA_VERSION, "verilog": hashlib.sha256(verilog).hexdigest()}


def _run(options: argparse.Namespace) -> None:
    board = BOARDS[BOARDS[options.board].design]
    print(put(board, options.built or BUILD / board.name))


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = command.Parser(prog="python -m hw.flow.shelf", description="Put a built bitstream on the shelf.")
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--built", type=Path, metavar="FOLDER", help="default: build/BOARD")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
