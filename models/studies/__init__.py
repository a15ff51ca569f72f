# SPDX-License-Identifier: Apache-2.0
"""Studies that compare networks: many trainings with one result each, and their figures."""

from models.studies.figures import Samples, histogram_picture, sampling_picture
from models.studies.quantized import quantized_result
from models.studies.study import (
    Job,
    Schedule,
    Store,
    float_result,
    read_json,
    run_jobs,
    seconds_per_step,
    spread,
)

__all__ = [
    "Job",
    "Samples",
    "Schedule",
    "Store",
    "float_result",
    "histogram_picture",
    "quantized_result",
    "read_json",
    "run_jobs",
    "sampling_picture",
    "seconds_per_step",
    "spread",
]
