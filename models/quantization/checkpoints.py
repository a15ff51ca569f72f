# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of quantized networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from codenet.errors import CodenetError
from models.network.checkpoints import described_network, load_checkpoint, restore
from models.network.detector import CoDeNet
from models.quantization.convert import calibrate, quantize
from models.quantization.precision import W4A8, Precision


def quantized_identity(network: CoDeNet, precision: Precision = W4A8) -> dict[str, Any]:
    """What a checkpoint must have in common with the network that resumes from it, and its precision.

    The default precision is left out, as in checkpoints from before there was a choice: `load_precision`.
    """
    identity = {"kind": "quantized", "config": network.config.to_dict(), "classes": list(network.classes)}
    return identity if precision == W4A8 else {**identity, "precision": precision.to_dict()}


def load_precision(path: Path) -> Precision:
    """Precision of a quantized checkpoint; `CodenetError` if it is none."""
    state = load_checkpoint(path)
    if state["kind"] != "quantized":
        raise CodenetError(f"checkpoint {path}: kind is {state['kind']!r}, expected 'quantized'")
    return Precision.from_dict(state["precision"]) if "precision" in state else W4A8


def load_quantized(path: Path) -> CoDeNet:
    """The averaged quantized network of a checkpoint, in evaluation mode."""
    precision, state = load_precision(path), load_checkpoint(path)
    network = described_network(path, state)
    # Any ranges will do: the state has the learned ones.
    empty = torch.zeros(1, 3, *network.config.input_size)
    network = quantize(network, calibrate(network, [empty]), precision)
    return restore(path, network, state)
