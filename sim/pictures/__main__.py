# SPDX-License-Identifier: Apache-2.0
"""``python -m sim.pictures``, also ``make pictures``: write the pictures of docs/."""

from __future__ import annotations

from codenet.checkout import ROOT
from sim.pictures.block_diagram import block_diagram
from sim.pictures.waveform import back_pressure, step_start

PICTURES = {
    "block-diagram.svg": block_diagram,
    "step-start.svg": step_start,
    "back-pressure.svg": back_pressure,
}
"""Files in docs/, and what gives their text."""


def main() -> None:
    for name, text in PICTURES.items():
        (ROOT / "docs" / name).write_text(text())
        print(f"written: docs/{name}")


if __name__ == "__main__":
    main()
