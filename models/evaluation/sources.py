# SPDX-License-Identifier: Apache-2.0
"""What detects: networks, checkpoints, graphs and compiled programs, each as a function from a photo to detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from codenet import Detector
from codenet.errors import CodenetError
from codenet.fit import place
from codenet.golden.interpreter import run
from codenet.graph import Graph
from codenet.program import Program
from codenet.vision import image as photos
from codenet.vision.boxes import IOU_THRESHOLD, Detection, decode
from models.network import CoDeNet, find_peaks, load_checkpoint, load_network, normalize
from models.quantization import load_quantized, to_graph

#: Detections below this score are too few and too late to change the average precision.
SCORE_THRESHOLD = 0.01


@dataclass(frozen=True)
class Source:
    """Something that detects: class names, and a function from an RGB photo to detections."""

    classes: tuple[str, ...]
    detect: Callable[[Image.Image], list[Detection]]


def network_source(network: CoDeNet, iou_threshold: float = IOU_THRESHOLD) -> Source:
    """Detections of a PyTorch network, in floating point or quantized, at its own precision.

    Of boxes of a class with an intersection over union above ``iou_threshold`` only the best is kept.
    """
    config = network.config
    dtype = next(network.parameters()).dtype
    network.eval()

    def detect(photo: Image.Image) -> list[Detection]:
        x = normalize(photos.resize(photo, *config.input_size, config.fit)[None]).to(dtype)
        with torch.no_grad():
            peaks = find_peaks(network(x))[0]
        return decode(peaks, network.classes, config.place((photo.height, photo.width)), iou_threshold=iou_threshold)

    return Source(network.classes, detect)


def graph_outputs(graph: Graph, tensors: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Head outputs among a graph's ``tensors`` as a network gives them: float64 ``[1, channels, H/4, W/4]`` by role."""
    return {
        role: torch.from_numpy(tensors[name].astype(np.float64)).permute(2, 0, 1)[None] * graph.tensors[name].scale
        for role, name in graph.outputs.items()
    }


def graph_source(path: Path, iou_threshold: float = IOU_THRESHOLD) -> Source:
    """Detections of a graph file, computed by the golden model on integers."""
    graph = Graph.load(path)
    if not {"heatmap", "size", "offset"} <= graph.outputs.keys():
        raise CodenetError(f"{path}: outputs are {sorted(graph.outputs)}, expected heatmap, size and offset")

    size = (graph.input.height, graph.input.width)

    def detect(photo: Image.Image) -> list[Detection]:
        image = photos.to_activation(photos.resize(photo, *size, graph.fit))
        tensors = run(graph, image, keep=graph.outputs.values())
        peaks = find_peaks(graph_outputs(graph, tensors))[0]
        placement = place((photo.height, photo.width), size, graph.fit)
        return decode(peaks, graph.classes, placement, iou_threshold=iou_threshold)

    return Source(graph.classes, detect)


def program_source(path: Path, device: str, iou_threshold: float = IOU_THRESHOLD) -> Source:
    """Detections of a compiled program through `codenet.Detector`, on any of its devices."""
    detector = Detector(path, device=device, threshold=SCORE_THRESHOLD, iou_threshold=iou_threshold)
    return Source(tuple(detector.classes), lambda photo: list(detector(photo)))


def checkpoint_source(path: Path, exact: bool = False, iou_threshold: float = IOU_THRESHOLD) -> Source:
    """Detections of a checkpoint's network; ``exact`` takes the snapped float64 network that equals the graph."""
    if load_checkpoint(path)["kind"] == "float":
        return network_source(load_network(path), iou_threshold)
    network = load_quantized(path)
    return network_source(to_graph(network, path.stem)[1] if exact else network, iou_threshold)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CodenetError(f"{path}: no such file, expected a program (.cdn), graph (.cdg) or checkpoint (.pt)")
    if path.suffix not in (".cdn", ".cdg", ".pt"):
        raise CodenetError(f"{path}: suffix is {path.suffix!r}, expected .cdn, .cdg or .pt")


def open_source(
    path: Path, device: str = "golden", exact: bool = False, iou_threshold: float = IOU_THRESHOLD
) -> Source:
    """The source for a file by its suffix: ``.cdn`` program, ``.cdg`` graph, ``.pt`` checkpoint."""
    _check_file(path)
    if path.suffix == ".cdn":
        return program_source(path, device, iou_threshold)
    return graph_source(path, iou_threshold) if path.suffix == ".cdg" else checkpoint_source(path, exact, iou_threshold)


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names of a program, graph or checkpoint, without making anything that runs."""
    readers: dict[str, Callable[[Path], Sequence[str]]] = {
        ".cdn": lambda file: Program.load(file).classes,
        ".cdg": lambda file: Graph.load(file).classes,
        ".pt": lambda file: load_checkpoint(file)["classes"],
    }
    _check_file(path)
    return tuple(readers[path.suffix](path))
