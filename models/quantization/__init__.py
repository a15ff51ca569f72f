# SPDX-License-Identifier: Apache-2.0
"""The quantized network: precisions, quantized modules, conversion and checkpoints, and the graph of integers."""

from models.quantization.checkpoints import load_precision, load_quantized, quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.precision import W4A8, Exemption, Precision, add_arguments, from_arguments

__all__ = [
    "Exemption",
    "Precision",
    "W4A8",
    "add_arguments",
    "calibrate",
    "from_arguments",
    "load_precision",
    "load_quantized",
    "quantize",
    "quantized_identity",
    "to_graph",
]
