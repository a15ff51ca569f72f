# SPDX-License-Identifier: Apache-2.0
"""How fast a network runs on a shape: plans, resources, roofline, and the search for the shape."""

from sim.performance.plan import STALLS, compile_for, read_dilations
from sim.performance.roofline import Roof, roof
from sim.performance.search import Candidate, choose
from sim.performance.targets import TARGETS, Target, resources_of

__all__ = [
    "Candidate",
    "Roof",
    "STALLS",
    "TARGETS",
    "Target",
    "choose",
    "compile_for",
    "read_dilations",
    "resources_of",
    "roof",
]
