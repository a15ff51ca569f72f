"""The quantized network: precisions, quantized modules, and the graph of integers that they make."""

from models.quantization.precision import W4A8, Exemption, Precision, add_arguments, from_arguments
from models.quantization.quantize import calibrate, to_graph

__all__ = [
    "Exemption",
    "Precision",
    "W4A8",
    "add_arguments",
    "calibrate",
    "from_arguments",
    "to_graph",
]
