# SPDX-License-Identifier: Apache-2.0
"""One run of a study with quantization: fine-tuning and evaluation of a floating-point checkpoint at some precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from brevitas.nn import QuantConv2d

from models.evaluation import evaluate, graph_source, network_source
from models.network import CoDeNet
from models.quantization import Precision, load_quantized, to_graph
from models.studies.study import Schedule
from models.training import Run
from models.training.fine_tune import DEFAULTS, fine_tune


def weight_bytes(network: CoDeNet) -> int:
    """Bytes of all weights of a quantized network, biases and scales not among them."""
    convolutions = [module for module in network.modules() if isinstance(module, QuantConv2d)]
    return sum(conv.weight.numel() * int(conv.weight_quant.bit_width()) for conv in convolutions) // 8


def quantized_result(
    checkpoint: Path, schedule: Schedule, precision: Precision, iterations: int, seed: int, folder: Path
) -> dict[str, Any]:
    """Fine-tune a floating-point checkpoint, or go on where a stopped run left off, and evaluate: scores and sizes.

    ``device`` is ``golden`` where the accelerator runs the network: the graph of integers, in ``folder`` too; otherwise
    ``pytorch``.
    """
    config = dataclasses.replace(DEFAULTS, iterations=iterations, batch=schedule.batch, seed=seed)
    run = Run(schedule.data, folder, resume=True)
    fine_tune(checkpoint, run, config, precision)
    network = load_quantized(run.checkpoint)
    runs = precision.depthwise == 4
    if runs:
        to_graph(network, f"codenet-{network.config.name}")[0].save(folder / "graph.cdg")
    source = graph_source(folder / "graph.cdg") if runs else network_source(network)
    score = evaluate(source, schedule.validation())
    device = "golden" if runs else "pytorch"
    sizes = {"precision": str(precision), "device": device, "weight_bytes": weight_bytes(network)}
    return {**score.to_dict(), **sizes, "seed": seed, "iterations": iterations}
