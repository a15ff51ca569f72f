# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.instructions``, also ``make instructions``: counts what a Cortex-A9, emulated by qemu-user,
executes for the host's part of a frame, and writes the tables of ``docs/host.md``.

Needs qemu-arm, gcc and apt, and the network once: Debian's armhf packages are kept in build/instructions. Minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from codenet.checkout import ROOT
from sim.benchmark.results_page import replace_section
from tests.board.arm import Missing, install
from tests.instructions import estimate, userland

PAGE = ROOT / "docs" / "host.md"
PHOTO = ROOT / "docs" / "photos" / "astronaut.jpg"


def main() -> int:
    try:
        userland.check_machine()
        userland.make_userland()
    except Missing as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 2
    userland.build_plugin()
    install(userland.USERLAND, Path(__file__).with_name("frames.py"), PHOTO)
    counts = estimate.parse(*userland.counted(str(userland.OPT / "frames.py"), str(userland.OPT / PHOTO.name)))
    parts = estimate.parts_table(counts)
    sections = {
        "parts": parts,
        "rates": estimate.rates_table(estimate.read_parts(parts)),
        "published": estimate.published_table(counts),
    }
    text = PAGE.read_text()
    for name, table in sections.items():
        print(table, end="\n\n")
        text = replace_section(text, name, table)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
