# SPDX-License-Identifier: Apache-2.0
"""Running programs on devices: the driver, frames, streams, and the detector that people call."""

from codenet.runtime.accelerator import Accelerator
from codenet.runtime.detector import Detector, to_units
from codenet.runtime.frame import Outputs
from codenet.runtime.profile import StepProfile, profile_table
from codenet.runtime.verify import Comparison, Mismatch, peak_records, run_compared

__all__ = [
    "Accelerator",
    "Comparison",
    "Detector",
    "Mismatch",
    "Outputs",
    "StepProfile",
    "peak_records",
    "profile_table",
    "run_compared",
    "to_units",
]
