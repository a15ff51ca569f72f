# SPDX-License-Identifier: Apache-2.0
"""ONNX files of small convolutional networks, and one with YOLOX's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.data import COCO

#: An operation: its name, inputs, output, attributes.
Operation = tuple[str, Sequence[str], str, Mapping[str, Any]]


def write(path: Path, operations: Sequence[Operation], constants: Mapping[str, np.ndarray], outputs: Sequence[str]):
    """Write the network of ``operations`` on the input ``images``; returns the path."""
    graph = helper.make_graph(
        [helper.make_node(kind, list(inputs), [output], **fields) for kind, inputs, output, fields in operations],
        "tiny",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [None, 3, None, None])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def yolox(path: Path, width: int = 4, seed: int = 0, **renamed: str) -> Path:
    """A network with YOLOX's outputs, and little before them: a convolution of stride 8, two of stride 2, and for each
    level features of ``width`` channels. ``renamed``: other names of tensors.
    """
    rng = np.random.default_rng(seed)
    operations: list[Operation] = []
    constants: dict[str, np.ndarray] = {}

    def conv(x: str, output: str, name: str, shape: Sequence[int], stride: int = 1) -> str:
        fan = float(np.prod(shape[1:]))
        constants[f"{name}.weight"] = rng.normal(0, fan**-0.5, shape).astype(np.float32)
        constants[f"{name}.bias"] = rng.normal(0, 0.1, shape[:1]).astype(np.float32)
        fields = {"kernel_shape": list(shape[2:]), "strides": [stride] * 2}
        operations.append(("Conv", [x, f"{name}.weight", f"{name}.bias"], output, fields))
        return output

    x, ends = "images", []
    for level, (kernel, channels) in enumerate(((8, 3), (2, width), (2, width))):
        x = conv(x, f"level{level}", f"trunk.{level}", (width, channels, kernel, kernel), kernel)
        for part, outputs in (("cls", len(COCO)), ("reg", 4), ("obj", 1)):
            feature = x if part == "obj" else conv(x, f"{part}{level}", f"{part}.{level}", (width, width, 1, 1))
            feature = f"reg{level}" if part == "obj" else feature
            name = f"head.{part}_preds.{level}"
            ends.append(conv(feature, f"{part}_pred{level}", renamed.get(name, name), (outputs, width, 1, 1)))
    return write(path, operations, constants, ends)
