# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.netlist``, also ``make netlist``: the synthesized netlist, at the default array size, in place of
the RTL. Every kind of step and a small detector, byte for byte against golden; then faults, each an inverted LUT, which
must be noticed. Status 1 if a byte differs or a fault that changes a step is not. Figures go to part ``netlist`` of
``build/trust.json``.

With ``--design build/pynq-z2`` it is the netlist that ``make bitstream FLOW=open`` placed and routed there, driven at
the pins of its processor.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from hw.boards.board import BOARDS
from sim import netlist
from sim.frame import run_frame
from sim.netlist.library import build_design, to_rtlil
from sim.verilator.board import RtlDevice
from tests import networks
from tests.rtl import run_step
from tests.sim.test_steps import STEPS
from tests.steps import random_step
from tests.trust import record

PROBES = ("pointwise, stride 2", "depthwise and pointwise", "deformable", "full 3x3", "maximum", "peaks", "expanded")
"""Steps that a fault has to survive to count as not noticed."""


@dataclasses.dataclass
class Campaign:
    """A netlist's library and what it was tried with."""

    library: Path
    config: AcceleratorConfig
    cycles: int = 0

    def device(self) -> RtlDevice:
        """A simulated board of its own."""
        return RtlDevice(self.config, library=self.library)

    def step(self, device: RtlDevice, name: str) -> None:
        """Run a step of :data:`tests.sim.test_steps.STEPS`; AssertionError if a byte differs."""
        before = device.board.cycles
        run_step(device, random_step(self.config, seed=3, **STEPS[name]), self.config)
        self.cycles += device.board.cycles - before

    def steps(self) -> int:
        """All of them."""
        with self.device() as device:
            for name in STEPS:
                self.step(device, name)
                print(f"equal: {name}", flush=True)
        return len(STEPS)

    def detector(self) -> int:
        """A small detector, every tensor compared; returns their number."""
        graph = networks.network(size=64, seed=1)
        program = compiler.compile(graph, self.config)
        with tempfile.TemporaryDirectory() as folder, self.device() as device:
            photo = Path(folder) / "photo.png"
            Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(photo)
            result = run_frame(device, program, graph, photo, name=graph.name, threshold=0.2)
        assert not result.mismatches, "\n".join(map(str, result.mismatches[:5]))
        self.cycles += result.cycles
        return result.tensors

    def noticed(self, lut: int) -> str | None:
        """The first of :data:`PROBES` that an inverted LUT breaks; ``None`` if none is."""
        with self.device() as device:
            assert device.board._library.netlist_invert(lut, (1 << 64) - 1)
            for name in PROBES:
                try:
                    self.step(device, name)
                except (AssertionError, CodenetError):
                    return name
        return None


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.netlist", description="Simulate the synthesized netlist.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--small", action="store_true", help="of the small array that tests use")
    source.add_argument("--design", type=Path, metavar="FOLDER", help="of a board, where make bitstream worked")
    parser.add_argument("--board", choices=sorted(BOARDS), default="pynq-z2", help="of --design (default pynq-z2)")
    parser.add_argument("--faults", type=int, default=20, help="inverted LUTs to try (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of LUTs (default 1)")
    options = parser.parse_args(arguments)
    config = AcceleratorConfig.small() if options.small else AcceleratorConfig()
    begin = time.monotonic()
    try:
        if options.design:
            board = BOARDS[options.board]
            library = build_design(options.design / f"{board.module}.json", board.module, board)
        else:
            library = netlist.build(to_rtlil(config), "small" if options.small else "default")
        cells = (library.parent / "cells").read_text().splitlines()
        campaign = Campaign(library, config)
        steps, tensors = campaign.steps(), campaign.detector()
    except (CodenetError, AssertionError) as error:
        print(f"python -m tests.netlist: {error}", file=sys.stderr)
        return 1
    print(f"{steps} kinds of steps and {tensors} tensors of a detector are equal; {len(cells)} LUTs", flush=True)
    missed = []
    lasting = [n for n, cell in enumerate(cells) if not cell.startswith("RAM")]  # What a write would mend is no fault.
    for lut in random.Random(options.seed).sample(lasting, options.faults):
        by = campaign.noticed(lut)
        print(f"LUT {lut} ({cells[lut]}) inverted: {f'noticed by {by!r}' if by else 'not noticed'}", flush=True)
        missed += [] if by else [cells[lut]]
    figures = {
        "netlist": str(options.design) if options.design else "small" if options.small else "default",
        "luts": len(cells),
        "steps": steps,
        "tensors": tensors,
        "cycles": campaign.cycles,
        "faults": options.faults,
        "not_noticed": missed,
        "seconds": round(time.monotonic() - begin),
    }
    record("netlist", figures)
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
