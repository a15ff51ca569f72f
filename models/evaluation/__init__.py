# SPDX-License-Identifier: Apache-2.0
"""How good a detector is: average precision of programs, graphs, checkpoints and networks."""

from models.evaluation.evaluator import evaluate, evaluate_file
from models.evaluation.metrics import Score, average_precision
from models.evaluation.sources import Source, graph_outputs, graph_source, network_source, open_source, read_classes
from models.evaluation.voc_metric import voc_average_precision

__all__ = [
    "Score",
    "Source",
    "average_precision",
    "evaluate",
    "evaluate_file",
    "graph_outputs",
    "graph_source",
    "network_source",
    "open_source",
    "read_classes",
    "voc_average_precision",
]
