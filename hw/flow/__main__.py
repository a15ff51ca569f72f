# SPDX-License-Identifier: Apache-2.0
"""Bitstreams and Verilog of boards: ``python -m hw.flow pynq-z2 [--flow vivado|open] [--clock 150]``
(``make bitstream``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codenet.checkout import BUILD
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from hw.boards.board import BOARDS
from hw.flow.bitstream import FLOWS, REPORT, build
from hw.flow.implementation import Job
from hw.flow.tools import TimingError

DEFAULT_MHZ = 150.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hw.flow", description="Make the bitstream of a board.")
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--flow", choices=sorted(FLOWS), default="vivado", help="tools (default %(default)s)")
    parser.add_argument(
        "--clock", type=float, default=DEFAULT_MHZ, help="MHz that timing must allow (default %(default)g)"
    )
    parser.add_argument("--small", action="store_true", help="the small array that tests use")
    parser.add_argument("-o", "--output", type=Path, help="folder (default build/BOARD)")
    parser.add_argument("--verilog", action="store_true", help="write the Verilog and stop")
    options = parser.parse_args(arguments)
    board = BOARDS[options.board]
    config = AcceleratorConfig.small() if options.small else board.config
    job = Job(board, config, options.clock, (options.output or BUILD / board.name).absolute())
    try:
        if options.verilog:
            job.folder.mkdir(parents=True, exist_ok=True)
            job.verilog.write_text(board.verilog(config))
            print(job.verilog)
            return 0
        bit = build(job, options.flow)
    except TimingError as error:
        print(f"error: {error}; see {job.folder / REPORT}", file=sys.stderr)
        return 1
    except CodenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{bit} (and .bin, .hwh), {job.folder / REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
