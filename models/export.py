# SPDX-License-Identifier: Apache-2.0
"""From a quantized checkpoint to a graph or a program: ``python -m models.export CHECKPOINT -o mine.cdn``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from codenet import command
from codenet.compiler import compile as compile_graph
from codenet.errors import CodenetError
from codenet.golden import interpreter
from codenet.graph import Graph
from codenet.vision import image as photos
from models.command import check_outputs
from models.data import read_image
from models.network import normalize
from models.quantization import load_precision, load_quantized, to_graph


def differing_outputs(network: nn.Module, graph: Graph, image: np.ndarray) -> int:
    """Values of all head outputs that differ between the snapped float64 ``network`` and the golden model.

    ``image``: uint8 ``[H, W, 3]``.
    """
    with torch.no_grad():
        outputs = network(normalize(image[None]).double())
    expected = interpreter.run(graph, photos.to_activation(image))
    count = 0
    for role, name in graph.outputs.items():
        tensor = graph.tensors[name]
        integers = torch.round(outputs[role][0] / tensor.scale).permute(1, 2, 0).numpy() + tensor.zero_point
        count += int((integers != expected[name]).sum())
    return count


def _object(text: str) -> dict[str, Any]:
    """A JSON object from the command line."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a JSON object")
    return value


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.qat")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="graph (.cdg) to write, or program (.cdn) and beside it its graph",
    )
    parser.add_argument("--metadata", type=_object, default={}, help="JSON object of remarks to store in the file")
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="PHOTO", help="compare all head outputs")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    if options.output.suffix not in (".cdg", ".cdn"):
        raise CodenetError(f"{options.output}: suffix is {options.output.suffix!r}, expected .cdg or .cdn")
    graph_path = options.output.with_suffix(".cdg")
    check_outputs({options.output, graph_path}, [options.checkpoint, *options.check])
    network = load_quantized(options.checkpoint)
    metadata = {"precision": str(load_precision(options.checkpoint)), **options.metadata}
    graph, snapped = to_graph(network, f"codenet-{network.config.name}", metadata)
    program = compile_graph(graph) if options.output.suffix == ".cdn" else None
    config = network.config
    differing = sum(
        differing_outputs(snapped, graph, photos.resize(read_image(path), *config.input_size, config.fit))
        for path in options.check
    )
    if options.check:
        print(f"{len(options.check)} photos: {differing} values of head outputs differ from the golden model")
    if differing:
        return 1
    graph.save(graph_path)
    print(f"{graph_path}: {len(graph.operations)} operations, {graph_path.stat().st_size} bytes")
    if program is not None:
        program.save(options.output)
        print(f"{options.output}: {len(program.descriptors)} steps, {options.output.stat().st_size} bytes")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if the graph does not equal the network on a photo."""
    return command.run("models.export", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
