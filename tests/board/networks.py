# SPDX-License-Identifier: Apache-2.0
"""A small detector, compiled for the small accelerator, and what the golden model makes of a photo with it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from codenet import Detection, Detector
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from codenet.program import Program
from tests.networks import network

SMALL = AcceleratorConfig.small()
THRESHOLD = 0.05

PHOTO = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


@lru_cache
def program(config: AcceleratorConfig = SMALL) -> Program:
    return compile_graph(network(64, equal_heads=True, name="tiny"), config)


@lru_cache
def expected() -> list[Detection]:
    """Of the golden model; some, or a test would test nothing."""
    with GoldenDevice(SMALL) as device, Detector(program(), device, threshold=THRESHOLD) as detector:
        found = detector(PHOTO)
    assert found
    return found
