# SPDX-License-Identifier: Apache-2.0
"""Search for the shape of the accelerator (:mod:`sim.performance.search`).

``python -m sim.search [--configs ac] [--target xc7z020]`` lists every shape, and which is chosen.
"""

from __future__ import annotations

import argparse
import sys

from codenet.errors import CodenetError
from sim.networks import CONFIGURATIONS, load_kept
from sim.performance.search import choose, search, search_report, search_table
from sim.performance.targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sim.search", description="Search for the shape of the accelerator."
    )
    parser.add_argument("--configs", default="ac", help="configurations of the network (default ac)")
    parser.add_argument("--target", choices=sorted(TARGETS), default="xc7z020", help="chip (default xc7z020)")
    options = parser.parse_args(arguments)
    if not options.configs or set(options.configs) - set(CONFIGURATIONS):
        parser.error(f"--configs {options.configs!r}: expected letters of {CONFIGURATIONS}")
    try:
        graphs = {name: load_kept(name) for name in options.configs}
        candidates = search(graphs, TARGETS[options.target])
    except (CodenetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(search_table(search_report(candidates, choose(candidates), TARGETS[options.target])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
