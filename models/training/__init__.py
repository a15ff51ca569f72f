"""Training: losses, targets, batches, schedule, the loop, and its progress."""

from models.training.batches import Batches
from models.training.distill import Distillation, FloatDistillation
from models.training.distributed import first_of_machine, from_first, pick_device, rank, start_workers
from models.training.losses import WEIGHTS
from models.training.progress import Progress
from models.training.schedule import BOX_RATES, TrainConfig
from models.training.trainer import Trainer, parameter_groups
from models.training.validation import Validation, subset

__all__ = [
    "BOX_RATES",
    "Batches",
    "Distillation",
    "FloatDistillation",
    "Progress",
    "TrainConfig",
    "Trainer",
    "Validation",
    "WEIGHTS",
    "first_of_machine",
    "from_first",
    "parameter_groups",
    "pick_device",
    "rank",
    "start_workers",
    "subset",
]
