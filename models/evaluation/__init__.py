"""How good a detector is: average precision of programs, graphs and checkpoints."""

from models.evaluation.voc_metric import voc_average_precision

__all__ = ["voc_average_precision"]
