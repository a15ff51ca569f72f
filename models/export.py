"""From a quantized checkpoint to a graph file: ``python -m models.export CHECKPOINT -o codenet-a.cdg``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from models.qat import load_quantized
from models.quantize import to_graph
from models.untrained import untrained

__all__ = ["to_graph", "untrained"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.qat")
    parser.add_argument("-o", "--output", type=Path, required=True, help="graph file to write (.cdg)")
    parser.add_argument("--metadata", type=json.loads, default={}, help="JSON object of remarks to store in the file")
    arguments = parser.parse_args()
    network = load_quantized(arguments.checkpoint)
    graph, _ = to_graph(network, f"codenet-{network.config.name}", arguments.metadata)
    graph.save(arguments.output)
    print(f"{arguments.output}: {len(graph.operations)} operations, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
