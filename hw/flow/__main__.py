# SPDX-License-Identifier: Apache-2.0
"""Bitstreams and Verilog of boards: ``python -m hw.flow pynq-z2 [--flow vivado|open] [--clock 150]``
(``make bitstream``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codenet import command, files
from codenet.checkout import BUILD
from codenet.command import FAILURE, SUCCESS
from codenet.config import AcceleratorConfig
from hw.boards.board import BOARDS
from hw.flow import hwh
from hw.flow.bitstream import FLOWS, REPORT, build
from hw.flow.implementation import Job
from hw.flow.tools import TimingError
from hw.verilog import NAME

DEFAULT_MHZ = 150.0


def _run(options: argparse.Namespace) -> int:
    board = BOARDS[BOARDS[options.board].design]
    config = AcceleratorConfig.small() if options.small else board.config
    job = Job(board, config, options.clock, (options.output or BUILD / board.name).absolute())
    if options.verilog:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.verilog.write_text(board.verilog(config))
        print(job.verilog)
        return SUCCESS
    if options.handoff:
        job.folder.mkdir(parents=True, exist_ok=True)
        files.write(job.folder / f"{NAME}.hwh", hwh.generate(board, config, options.clock))
        print(job.folder / f"{NAME}.hwh")
        return SUCCESS
    try:
        bit = build(job, options.flow, slower=options.slower)
    except TimingError as error:
        print(f"hw.flow: error: {error}; see {job.folder / REPORT}", file=sys.stderr)
        return FAILURE
    print(f"{bit} (and .bin, .hwh), {job.folder / REPORT}; for {', '.join(board.sharing)}")
    return SUCCESS


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if the design is too slow."""
    parser = command.Parser(prog="python -m hw.flow", description="Make the bitstream of a board.")
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--flow", choices=sorted(FLOWS), default="vivado", help="tools (default %(default)s)")
    parser.add_argument(
        "--clock", type=float, default=DEFAULT_MHZ, help="MHz that timing must allow (default %(default)g)"
    )
    parser.add_argument(
        "--slower", action="store_true", help="if timing misses that, take the fastest clock that it allows"
    )
    parser.add_argument("--small", action="store_true", help="the small array that tests use")
    parser.add_argument(
        "-o", "--output", type=Path, help="folder (default: build/ and the board whose bitstream this one takes)"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--verilog", action="store_true", help="write the Verilog and stop")
    only.add_argument("--handoff", action="store_true", help="write the handoff file (.hwh) and stop")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
