# SPDX-License-Identifier: Apache-2.0
"""From two trained checkpoints to the files of a shipped detector."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from codenet import files
from codenet.compiler import compile as compile_graph
from codenet.errors import CodenetError
from codenet.graph import Graph
from codenet.vision import image as photos
from models.command import check_outputs
from models.data import DetectionData, load_data, read_image
from models.evaluation import evaluate_file
from models.export import differing_outputs
from models.network import CoDeNet, compact, float_identity, load_network, write_checkpoint
from models.quantization import load_precision, load_quantized, to_graph
from models.studies import read_json
from models.zoo import SHELF, Shelf
from models.zoo.record import ABOUT, card

#: Photos on which all head outputs must equal the golden model's before anything is written.
CHECKED_PHOTOS = 4

#: Files of a detector.
SUFFIXES = (".pt", ".cdg", ".cdn", ".json", ".md")


def save_compact(network: CoDeNet, path: Path) -> None:
    """A checkpoint of a floating-point network that `models.network.load_network` and ``models.train --start-from``
    take, and no more.
    """
    state = compact(network.state_dict())
    write_checkpoint({**float_identity(network), "network": state, "average": state}, path, keep=False)


def read_about(path: Path | None) -> dict[str, Any]:
    """Texts for the card from a JSON file with some of ``data``, ``started_from``, ``limits`` (text) and ``commands``
    (a list); `CodenetError` for others.
    """
    if path is None:
        return {}
    about = read_json(path)
    for key, value in about.items():
        kind = list if key == "commands" else str
        if key not in ABOUT or not isinstance(value, kind):
            raise CodenetError(f"{path}: {key} is {value!r}, expected texts {', '.join(ABOUT)}, commands being a list")
    return about


def _load_pair(float_path: Path, quantized_path: Path) -> tuple[CoDeNet, CoDeNet]:
    """The networks of both checkpoints; `CodenetError` unless they are the same one."""
    network, quantized = load_network(float_path), load_quantized(quantized_path)
    for key in ("config", "classes"):
        found, expected = getattr(quantized, key), getattr(network, key)
        if found != expected:
            raise CodenetError(f"{quantized_path}: {key} is {found}, expected {expected} as in {float_path}")
    return network, quantized


def _check_exact(snapped: CoDeNet, graph_path: Path, data: DetectionData) -> None:
    """`CodenetError` if the snapped network and the golden model differ on the first photos."""
    graph, config = Graph.load(graph_path), snapped.config
    for record in data.records[:CHECKED_PHOTOS]:
        pixels = photos.resize(read_image(record.path), *config.input_size, config.fit)
        differing = differing_outputs(snapped, graph, pixels)
        if differing:
            raise CodenetError(
                f"{record.path}: {differing} head outputs differ between PyTorch and golden model, expected none"
            )


def add(
    float_path: Path,
    quantized_path: Path,
    name: str,
    data_folder: Path,
    split: str = "val",
    about: dict[str, Any] | None = None,
    workers: int = 1,
    limit: int | None = None,
    shelf: Shelf = SHELF,
) -> dict[str, Any]:
    """Write program, graph, floating-point network, record and card of detector ``name``, all of them or none; returns
    the record.

    The scores are taken here, of the files that are written: the float16 weights, and the program on the golden model,
    whose integers are those of the snapped quantized network (checked on `CHECKED_PHOTOS`).
    """
    check_outputs([shelf.file(name, suffix) for suffix in SUFFIXES], [float_path, quantized_path])
    network, quantized = _load_pair(float_path, quantized_path)
    precision = load_precision(quantized_path)
    data = load_data(data_folder, split, network.classes, limit=limit)
    graph, snapped = to_graph(quantized, f"codenet-{name}", {"precision": str(precision)})
    with tempfile.TemporaryDirectory() as folder:
        made = {suffix: Path(folder) / f"codenet-{name}{suffix}" for suffix in SUFFIXES}
        save_compact(network, made[".pt"])
        graph.save(made[".cdg"])
        compile_graph(graph).save(made[".cdn"])
        _check_exact(snapped, made[".cdg"], data)
        record = {
            "config": network.config.to_dict(),
            "classes": list(network.classes),
            "precision": str(precision),
            "bits": precision.to_dict(),
            "data": data_folder.resolve().name,
            "split": split,
            "scores": {
                "float": evaluate_file(made[".pt"], data, workers=workers).to_dict(),
                "golden": evaluate_file(made[".cdn"], data, "golden", workers=workers).to_dict(),
            },
            "cycles": None,
            "about": about or {},
        }
        files.write_json(made[".json"], record)
        files.write(made[".md"], card(name, record))
        for suffix, path in made.items():
            files.write(shelf.file(name, suffix), path.read_bytes())
    return json.loads(json.dumps(record))  # type: ignore[no-any-return]


def update_card(name: str, cycles: int | None = None, about: dict[str, Any] | None = None, shelf: Shelf = SHELF) -> str:
    """Write a card anew from its record, to which cycles and texts may be added; returns the card."""
    path = shelf.find(name, ".json")
    record = read_json(path)
    if cycles is not None:
        record["cycles"] = cycles
    record["about"] |= about or {}
    files.write_json(path, record)
    text = card(name, record)
    files.write(shelf.file(name, ".md"), text)
    return text
