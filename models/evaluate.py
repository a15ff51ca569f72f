"""Average precision of a program, graph or checkpoint: ``python -m models.evaluate PROGRAM --data FOLDER --split val``."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from codenet import image as photos
from codenet.decode import Detection, decode
from codenet.errors import CodenetError
from models.configs import normalize
from models.data import DetectionData, load_data, read_image
from models.decode import find_peaks
from models.detector import CoDeNet

#: Detections below this score are too few and too late to change the average precision.
SCORE_THRESHOLD = 0.01


@dataclass(frozen=True)
class Source:
    """Something that detects: class names, and a function from an RGB photo to detections."""

    classes: tuple[str, ...]
    detect: Callable[[Image.Image], list[Detection]]


@dataclass(frozen=True)
class Score:
    """COCO's metrics: ``ap`` over IoU 0.5 to 0.95, ``ap50`` at 0.5, per class ``ap50_by_class`` (NaN without objects)."""

    ap50: float
    ap: float
    images: int
    ap50_by_class: dict[str, float]

    def __str__(self) -> str:
        return f"AP50 {self.ap50:.3f} AP {self.ap:.3f} images {self.images}"


def network_source(network: CoDeNet) -> Source:
    """Detections of a PyTorch network, in floating point or quantized, at its own precision."""
    size = network.config.size
    dtype = next(network.parameters()).dtype
    network.eval()

    def detect(photo: Image.Image) -> list[Detection]:
        x = normalize(photos.resize(photo, size, size)[None]).to(dtype)
        with torch.no_grad():
            peaks = find_peaks(network(x))[0]
        return decode(peaks, network.classes, (photo.height, photo.width))

    return Source(network.classes, detect)


def graph_source(path: Path) -> Source:
    """Detections of a graph file, computed by the golden model on integers."""
    from codenet.graph import Graph
    from codenet.interpreter import run

    graph = Graph.load(path)
    if not {"heatmap", "size", "offset"} <= graph.outputs.keys():
        raise CodenetError(f"{path}: outputs are {sorted(graph.outputs)}, expected heatmap, size and offset")

    def detect(photo: Image.Image) -> list[Detection]:
        image = photos.to_activation(photos.resize(photo, graph.input.height, graph.input.width))
        tensors = run(graph, image, keep=graph.outputs.values())
        outputs = {
            role: torch.from_numpy(tensors[name].astype(np.float64)).permute(2, 0, 1)[None] * graph.tensors[name].scale
            for role, name in graph.outputs.items()
        }
        return decode(find_peaks(outputs)[0], graph.classes, (photo.height, photo.width))

    return Source(graph.classes, detect)


def program_source(path: Path, device: str) -> Source:
    """Detections of a compiled program through `codenet.Detector`, on any of its devices."""
    from codenet import Detector

    detector = Detector(path, device=device, threshold=SCORE_THRESHOLD)
    return Source(tuple(detector.classes), lambda photo: list(detector(photo)))


def checkpoint_source(path: Path, exact: bool = False) -> Source:
    """Detections of a checkpoint's network; ``exact`` takes the snapped float64 network that equals the graph."""
    from models.qat import load_quantized
    from models.quantize import to_graph
    from models.train import load_checkpoint, load_network

    if load_checkpoint(path)["kind"] == "float":
        return network_source(load_network(path))
    network = load_quantized(path)
    return network_source(to_graph(network, path.stem)[1] if exact else network)


def open_source(path: Path, device: str = "auto", exact: bool = False) -> Source:
    """The source for a file by its suffix: ``.cdn`` program, ``.cdg`` graph, ``.pt`` checkpoint."""
    if not path.is_file():
        raise CodenetError(f"{path}: no such file, expected a program (.cdn), graph (.cdg) or checkpoint (.pt)")
    if path.suffix == ".cdn":
        return program_source(path, device)
    if path.suffix == ".cdg":
        return graph_source(path)
    if path.suffix == ".pt":
        return checkpoint_source(path, exact)
    raise CodenetError(f"{path}: suffix is {path.suffix!r}, expected .cdn, .cdg or .pt")


def _ground_truth(data: DetectionData) -> dict[str, Any]:
    """The data set in COCO's form."""
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(data, start=1):
        for box, label, crowd in zip(record.boxes.tolist(), record.labels.tolist(), record.crowd, strict=True):
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(crowd),
                }
            )
    images = [{"id": n, "width": r.width, "height": r.height} for n, r in enumerate(data, start=1)]
    categories = [{"id": n, "name": name} for n, name in enumerate(data.classes, start=1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def average_precision(data: DetectionData, detections: Sequence[Sequence[Detection]]) -> Score:
    """Score ``detections`` (one list per image of ``data``, in its order) with pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(detections) != len(data):
        raise CodenetError(
            f"evaluation: {len(detections)} lists of detections for {len(data)} images, expected one each"
        )
    results = [
        {
            "image_id": number,
            "category_id": detection.class_index + 1,
            "bbox": [
                detection.box[0],
                detection.box[1],
                detection.box[2] - detection.box[0],
                detection.box[3] - detection.box[1],
            ],
            "score": detection.score,
        }
        for number, found in enumerate(detections, start=1)
        for detection in found
    ]
    if not results or not any((~record.crowd).any() for record in data):
        return Score(0.0, 0.0, len(data), dict.fromkeys(data.classes, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _ground_truth(data)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # Precision is [IoU, recall, class, area, detections]; -1 stands for a class without objects.
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    by_class = {
        name: float(np.mean(values)) if (values := precision[:, n][precision[:, n] > -1]).size else float("nan")
        for n, name in enumerate(data.classes)
    }
    return Score(float(evaluation.stats[1]), float(evaluation.stats[0]), len(data), by_class)


def evaluate(source: Source, data: DetectionData) -> Score:
    """Run ``source`` on every image of ``data``, whose classes must be the source's."""
    if data.classes != source.classes:
        raise CodenetError(f"evaluation: data has classes {data.classes}, expected {source.classes}")
    records = tqdm(data.records, desc="evaluate", unit="img", mininterval=1)
    return average_precision(data, [source.detect(read_image(record.path)) for record in records])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="compiled program (.cdn), graph (.cdg) or checkpoint (.pt)")
    parser.add_argument("--data", type=Path, required=True, help="folder in COCO JSON or VOC XML format")
    parser.add_argument("--split", default="val")
    parser.add_argument("--device", default="auto", help="device that runs a .cdn program")
    parser.add_argument("--limit", type=int, help="evaluate only the first images")
    parser.add_argument("--exact", action="store_true", help="snap a quantized checkpoint's scales, as export does")
    arguments = parser.parse_args()
    source = open_source(arguments.program, arguments.device, arguments.exact)
    data = load_data(arguments.data, arguments.split, source.classes)
    if arguments.limit is not None:
        data.records = data.records[: arguments.limit]
    score = evaluate(source, data)
    for name, value in score.ap50_by_class.items():
        print(f"{name:16} AP50 {value:.3f}")
    print(score)


if __name__ == "__main__":
    main()
