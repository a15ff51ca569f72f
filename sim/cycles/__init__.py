# SPDX-License-Identifier: Apache-2.0
"""Cycle model: what a program costs, step by step, in milliseconds of plain Python instead of minutes of RTL simulation
(docs/performance.md).

Modules: ``latency`` (fixed delays of the RTL), ``bandwidth`` (how the ports share the memory), ``work`` (what a step
has to do), ``fetch`` (parameters of the next step), ``flow`` (one step in time), ``dilation`` (data-dependent windows),
``model`` (a frame).
"""

from sim.cycles.dilation import ASSUMED_DILATIONS, dilation_maps, equally_frequent
from sim.cycles.model import FramePrediction, StepPrediction, predict

__all__ = ["ASSUMED_DILATIONS", "FramePrediction", "StepPrediction", "dilation_maps", "equally_frequent", "predict"]
