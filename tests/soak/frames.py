# SPDX-License-Identifier: Apache-2.0
"""Frames of a soak: networks, photos, and what one board computes of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.graph import Graph
from codenet.program import Program
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.verify import run_compared
from codenet.vision.image import load, resize, to_activation
from sim.frame import FRAME_SECONDS
from sim.networks import load_kept
from sim.timing import DramTiming
from sim.verilator.board import RtlDevice
from tests import networks
from tests.campaign import Entry
from tests.paths import ROOT

FRAMES = 5
"""Frames that a board computes before it is switched off."""

SMALL, DEFAULT = AcceleratorConfig.small(), AcceleratorConfig()

NETWORKS: dict[str, tuple[AcceleratorConfig, Callable[[], Graph]]] = {
    "small 32x32": (SMALL, lambda: networks.network(32, seed=1)),
    "small 64x64": (SMALL, lambda: networks.network(64, seed=2)),
    "small 48x80": (SMALL, lambda: networks.network((48, 80), stem="s2max", deform="ii", equal_heads=True, seed=3)),
    "small 96x64": (SMALL, lambda: networks.network((96, 64), skips=True, seed=9)),
    **{name: (DEFAULT, lambda name=name: load_kept(name)) for name in "abcdef"},
}
"""Accelerator and graph by name: random weights on a small array, and the trained detectors."""

PHOTOS = ROOT.parent / "shared" / "data"


@cache
def graph_and_program(name: str) -> tuple[Graph, Program]:
    """A network, compiled once."""
    config, make = NETWORKS[name]
    graph = make()
    return graph, compile(graph, config)


@cache
def photos() -> list[Path]:
    """Photos of the data sets beside the checkout, if there are any."""
    return sorted(PHOTOS.rglob("*.jpg"))


def activation(rng: np.random.Generator, program: Program) -> np.ndarray:
    """A photo as the program takes it: one of the data sets', or smooth noise."""
    layout = program.input
    if not photos():
        return networks.random_image(layout.height, layout.width, int(rng.integers(1 << 31)))
    photo = load(photos()[rng.integers(len(photos()))])
    return to_activation(resize(photo, layout.height, layout.width, layout.fit))


def timing(rng: np.random.Generator) -> DramTiming:
    """Any memory, from faster than the board's to much slower."""
    return DramTiming(
        latency=int(rng.integers(1, 150)),
        outstanding=int(rng.integers(1, 17)),
        bytes_per_cycle=int(rng.integers(4, 25)),
        jitter=int(rng.choice([0, 10, 60])),
        stall=float(rng.choice([0.0, 0.05, 0.3])),
        seed=int(rng.integers(1 << 31)),
    )


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def case(number: str) -> Entry:
    """Compute :data:`FRAMES` frames, ``NETWORK/SEED/INDEX``, on one board."""
    name, seed, index = number.rsplit("/", 2)
    graph, program = graph_and_program(name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), int(seed), int(index)])
    cycles, wrong = 0, []
    drawn = timing(rng)
    with RtlDevice(program.config, drawn) as device, Accelerator(device, program, timeout=FRAME_SECONDS) as accelerator:
        for frame in range(FRAMES):
            outputs, comparison = run_compared(accelerator, graph, activation(rng, program))
            cycles += outputs.cycles
            wrong += [f"frame {frame}: {mismatch}" for mismatch in comparison.mismatches]
    return {
        "case": number,
        "kind": name,
        "outcomes": {"equal": FRAMES},
        "cycles": cycles,
        "resident": resident(),
        "failure": "; ".join([f"{drawn}", *wrong[:3]]) if wrong else None,
    }
