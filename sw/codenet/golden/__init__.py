# SPDX-License-Identifier: Apache-2.0
"""The golden model: the operators in NumPy, and the two evaluations on them, of graphs and of programs."""

from codenet.golden.executor import execute
from codenet.golden.interpreter import run
from codenet.golden.operators import (
    convolution,
    depthwise,
    maximum,
    peaks,
    pointwise,
    requantize,
    upsample,
    window,
)

__all__ = [
    "convolution",
    "depthwise",
    "execute",
    "maximum",
    "peaks",
    "pointwise",
    "requantize",
    "run",
    "upsample",
    "window",
]
