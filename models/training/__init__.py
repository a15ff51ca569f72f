# SPDX-License-Identifier: Apache-2.0
"""Training in floating point and fine-tuning: losses, targets, batches, the loop, and what is noted of a run."""

from models.training.batches import Batches
from models.training.config import BOX_RATES, TrainConfig
from models.training.distill import Distillation, FloatDistillation
from models.training.distributed import (
    first_of_machine,
    from_first,
    has_fast_bfloat16,
    pick_device,
    rank,
    run_processes,
    start_workers,
)
from models.training.losses import WEIGHTS
from models.training.progress import Progress
from models.training.run import FloatRun, Run, Start, check_output, train, training_data
from models.training.trainer import Trainer, parameter_groups
from models.training.validation import Validation, subset

__all__ = [
    "BOX_RATES",
    "Batches",
    "Distillation",
    "FloatRun",
    "FloatDistillation",
    "Progress",
    "Run",
    "Start",
    "TrainConfig",
    "Trainer",
    "Validation",
    "WEIGHTS",
    "check_output",
    "first_of_machine",
    "from_first",
    "has_fast_bfloat16",
    "parameter_groups",
    "pick_device",
    "rank",
    "run_processes",
    "start_workers",
    "subset",
    "train",
    "training_data",
]
