"""Average precision of a program, graph or checkpoint: ``python -m models.evaluate PROGRAM --data FOLDER --split val``.

Each photo is stretched to the network's one resolution and seen once: no flip averaging, no scales. Prints COCO's AP50 and AP (pycocotools) and
the two rules of VOC (`models.evaluation.voc_metric`).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from codenet.errors import CodenetError
from codenet.graph import Graph
from codenet.vision import image as photos
from codenet.vision.boxes import OVERLAP, Detection, decode
from models.command import exit_status
from models.data import DetectionData, load_data, read_image
from models.evaluation.voc_metric import voc_average_precision
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.network.peaks import find_peaks

#: Detections below this score are too few and too late to change the average precision.
SCORE_THRESHOLD = 0.01


@dataclass(frozen=True)
class Source:
    """Something that detects: class names, and a function from an RGB photo to detections."""

    classes: tuple[str, ...]
    detect: Callable[[Image.Image], list[Detection]]


@dataclass(frozen=True)
class Score:
    """COCO's metrics: ``ap`` over IoU 0.5 to 0.95, ``ap50`` at 0.5, per class ``ap50_by_class`` (NaN without objects).

    ``eleven_point``, ``all_point``: AP at IoU 0.5 by the rules of VOC.
    """

    ap50: float
    ap: float
    images: int
    ap50_by_class: dict[str, float]
    eleven_point: float
    all_point: float

    def __str__(self) -> str:
        return f"AP50 {self.ap50:.3f} AP {self.ap:.3f} images {self.images}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN: None for a class without objects."""
        by_class = {name: None if np.isnan(value) else value for name, value in self.ap50_by_class.items()}
        return {**dataclasses.asdict(self), "ap50_by_class": by_class}

    def table(self) -> str:
        """Lines for people: AP50 by class, then all rules."""
        lines = [f"{name:16} AP50 {value:.3f}" for name, value in self.ap50_by_class.items()]
        lines.append(f"VOC rules: eleven-point {self.eleven_point:.3f} all-point {self.all_point:.3f}")
        return "\n".join([*lines, str(self)])


def network_source(network: CoDeNet, overlap: float = OVERLAP) -> Source:
    """Detections of a PyTorch network, in floating point or quantized, at its own precision; ``overlap`` as of `codenet.vision.boxes.decode`."""
    size = network.config.size
    dtype = next(network.parameters()).dtype
    network.eval()

    def detect(photo: Image.Image) -> list[Detection]:
        x = normalize(photos.resize(photo, size, size)[None]).to(dtype)
        with torch.no_grad():
            peaks = find_peaks(network(x))[0]
        return decode(peaks, network.classes, (photo.height, photo.width), overlap=overlap)

    return Source(network.classes, detect)


def graph_outputs(graph: Graph, tensors: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The head outputs among a graph's ``tensors`` as a network gives them: float64 ``[1, channels, S/4, S/4]`` by role."""
    return {
        role: torch.from_numpy(tensors[name].astype(np.float64)).permute(2, 0, 1)[None] * graph.tensors[name].scale
        for role, name in graph.outputs.items()
    }


def graph_source(path: Path, overlap: float = OVERLAP) -> Source:
    """Detections of a graph file, computed by the golden model on integers."""
    from codenet.golden.interpreter import run

    graph = Graph.load(path)
    if not {"heatmap", "size", "offset"} <= graph.outputs.keys():
        raise CodenetError(f"{path}: outputs are {sorted(graph.outputs)}, expected heatmap, size and offset")

    def detect(photo: Image.Image) -> list[Detection]:
        image = photos.to_activation(photos.resize(photo, graph.input.height, graph.input.width))
        tensors = run(graph, image, keep=graph.outputs.values())
        peaks = find_peaks(graph_outputs(graph, tensors))[0]
        return decode(peaks, graph.classes, (photo.height, photo.width), overlap=overlap)

    return Source(graph.classes, detect)


def program_source(path: Path, device: str, overlap: float = OVERLAP) -> Source:
    """Detections of a compiled program through `codenet.Detector`, on any of its devices."""
    from codenet import Detector

    detector = Detector(path, device=device, threshold=SCORE_THRESHOLD, overlap=overlap)
    return Source(tuple(detector.classes), lambda photo: list(detector(photo)))


def checkpoint_source(path: Path, exact: bool = False, overlap: float = OVERLAP) -> Source:
    """Detections of a checkpoint's network; ``exact`` takes the snapped float64 network that equals the graph."""
    from models.qat import load_quantized
    from models.quantization.quantize import to_graph
    from models.train import load_checkpoint, load_network

    if load_checkpoint(path)["kind"] == "float":
        return network_source(load_network(path), overlap)
    network = load_quantized(path)
    return network_source(to_graph(network, path.stem)[1] if exact else network, overlap)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CodenetError(f"{path}: no such file, expected a program (.cdn), graph (.cdg) or checkpoint (.pt)")
    if path.suffix not in (".cdn", ".cdg", ".pt"):
        raise CodenetError(f"{path}: suffix is {path.suffix!r}, expected .cdn, .cdg or .pt")


def open_source(path: Path, device: str = "golden", exact: bool = False, overlap: float = OVERLAP) -> Source:
    """The source for a file by its suffix: ``.cdn`` program, ``.cdg`` graph, ``.pt`` checkpoint."""
    _check_file(path)
    if path.suffix == ".cdn":
        return program_source(path, device, overlap)
    return graph_source(path, overlap) if path.suffix == ".cdg" else checkpoint_source(path, exact, overlap)


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


def _coco_results(detections: Sequence[Sequence[Detection]]) -> list[dict[str, Any]]:
    """Detections in COCO's form; images are numbered from 1."""
    return [
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


def average_precision(data: DetectionData, detections: Sequence[Sequence[Detection]]) -> Score:
    """Score ``detections`` (one list per image of ``data``, in its order) with pycocotools and by the rules of VOC."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(detections) != len(data):
        raise CodenetError(
            f"evaluation: {len(detections)} lists of detections for {len(data)} images, expected one each"
        )
    results = _coco_results(detections)
    if not results or not any((~record.crowd).any() for record in data):
        return Score(0.0, 0.0, len(data), dict.fromkeys(data.classes, 0.0), 0.0, 0.0)
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
    voc = voc_average_precision(data, detections)
    return Score(
        float(evaluation.stats[1]),
        float(evaluation.stats[0]),
        len(data),
        by_class,
        voc.eleven_point,
        voc.all_point,
    )


def _check_classes(data: DetectionData, classes: tuple[str, ...]) -> None:
    if data.classes != classes:
        raise CodenetError(f"evaluation: data has classes {data.classes}, expected {classes}")


def _progress(found: Iterable[list[Detection]], data: DetectionData) -> list[list[Detection]]:
    return list(tqdm(found, total=len(data), desc="evaluate", unit="img", mininterval=1))


def evaluate(source: Source, data: DetectionData) -> Score:
    """Run ``source`` on every image of ``data``, whose classes must be the source's."""
    _check_classes(data, source.classes)
    return average_precision(data, _progress((source.detect(read_image(r.path)) for r in data), data))


#: The source of a worker process, opened once.
_worker_source: list[Source] = []


def _open_in_worker(path: Path, device: str, exact: bool, overlap: float) -> None:
    torch.set_num_threads(1)
    _worker_source[:] = [open_source(path, device, exact, overlap)]


def _detect_in_worker(path: Path) -> list[Detection]:
    return _worker_source[0].detect(read_image(path))


def evaluate_file(
    path: Path,
    data: DetectionData,
    device: str = "golden",
    exact: bool = False,
    workers: int = 1,
    overlap: float = OVERLAP,
) -> Score:
    """Run a file, as `open_source` takes it, on every image of ``data`` in ``workers`` processes of one thread.

    The result does not depend on how many. `CodenetError` for less than one, or if the classes differ.
    """
    if workers < 1:
        raise CodenetError(f"evaluation: {workers} workers, expected at least one")
    if workers == 1:
        return evaluate(open_source(path, device, exact, overlap), data)
    # Started anew: a fork would copy the threads' locks of libraries that are in use.
    with multiprocessing.get_context("spawn").Pool(workers, _open_in_worker, (path, device, exact, overlap)) as pool:
        found = pool.imap(_detect_in_worker, [record.path for record in data], chunksize=4)
        return average_precision(data, _progress(found, data))


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names of a program, graph or checkpoint, without making anything that runs."""
    from codenet.program import Program
    from models.train import load_checkpoint

    readers: dict[str, Callable[[Path], Sequence[str]]] = {
        ".cdn": lambda file: Program.load(file).classes,
        ".cdg": lambda file: Graph.load(file).classes,
        ".pt": lambda file: load_checkpoint(file)["classes"],
    }
    _check_file(path)
    return tuple(readers[path.suffix](path))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="compiled program (.cdn), graph (.cdg) or checkpoint (.pt)")
    parser.add_argument("--data", type=Path, required=True, help="folder in COCO JSON, VOC XML or YOLO format")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--device",
        default="golden",
        help="what runs a .cdn program: golden, rtl (slow: with --limit), a board's (golden)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=OVERLAP,
        help=f"of boxes that count as one object; 1: suppress none ({OVERLAP})",
    )
    parser.add_argument("--limit", type=int, help="evaluate only the first images")
    parser.add_argument("--exact", action="store_true", help="snap a quantized checkpoint's scales, as export does")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the images (1)")
    parser.add_argument("--json", type=Path, help="write the scores to this file, too")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    data = load_data(options.data, options.split, read_classes(options.program), limit=options.limit)
    score = evaluate_file(options.program, data, options.device, options.exact, options.workers, options.overlap)
    print(score.table())
    if options.json is not None:
        what = {"program": options.program.name, "data": options.data.name, "split": options.split}
        options.json.write_text(
            json.dumps({**what, "device": options.device, "overlap": options.overlap, **score.to_dict()}, indent=1)
        )


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for anything that cannot be evaluated."""
    return exit_status(lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
