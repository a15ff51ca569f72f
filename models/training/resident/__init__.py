# SPDX-License-Identifier: Apache-2.0
"""Training with all photos on the device, where batches are made too: for a GPU, and the same code on a CPU."""

from models.training.resident.photos import Boxes, Photos, padded_boxes, resident_photos
from models.training.resident.run import Budget, Recipe, train_float, train_quantized, write_float
from models.training.resident.stem import fit_stem, with_stem
from models.training.resident.step import Shape, Step, dense_loss
from models.training.resident.targets import DenseTargets, dense_targets
from models.training.resident.views import Views, square_side

__all__ = [
    "Boxes",
    "Budget",
    "DenseTargets",
    "Photos",
    "Recipe",
    "Shape",
    "Step",
    "Views",
    "dense_loss",
    "dense_targets",
    "fit_stem",
    "padded_boxes",
    "resident_photos",
    "square_side",
    "train_float",
    "train_quantized",
    "with_stem",
    "write_float",
]
