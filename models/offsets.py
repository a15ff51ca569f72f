# SPDX-License-Identifier: Apache-2.0
"""Where a trained network samples: ``python -m models.offsets CHECKPOINT|GRAPH --data FOLDER -o FOLDER``.

Writes ``offsets.json`` (how often each distance occurs in each deformable layer, which ``codenet plan --dilations``
takes), ``histogram.png``, and for some photos a picture with the nine places that each layer samples at the centres of
detected objects, as in the paper's figure 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from codenet import command, files
from codenet.config import CONFLICT_FREE
from codenet.errors import CodenetError
from codenet.fit import place
from codenet.golden.interpreter import run
from codenet.graph import Depthwise, Graph
from codenet.vision import image as photos
from codenet.vision.boxes import Detection, decode
from models.command import check_folder, number
from models.data import load_data, read_image
from models.evaluation import graph_outputs, read_classes
from models.network.checkpoints import load_checkpoint, load_network
from models.network.config import ALL_DILATIONS, normalize
from models.network.deform import DeformConv, offset_places, round_dilation, square_places
from models.network.detector import CoDeNet
from models.network.peaks import find_peaks
from models.quantization import load_quantized, to_graph
from models.studies import Samples, histogram_picture, sampling_picture

#: Distances of square sampling, rounded: -7 to 8. Dilations are 0 to 7.
SQUARE_DISTANCES = range(-7, 9)

#: Dilations for which the window's nine samples share banks: nine cycles instead of one (docs/architecture.md).
NINE_CYCLES = tuple(d for d in ALL_DILATIONS if d not in CONFLICT_FREE)

#: Objects of a photo whose samples are drawn, best first.
_DRAWN_OBJECTS = 3


@dataclass(frozen=True)
class LayerSampling:
    """Where one layer sampled on one photo.

    ``places``: float ``[9, 2, H, W]``, row and column relative to the pixel, in the layer's pixels. ``distance``:
    ``[H, W]``, the one number a pixel that they follow from; None if each tap has offsets of its own.
    """

    places: np.ndarray
    distance: np.ndarray | None


@dataclass(frozen=True)
class OffsetSource:
    """A network whose offsets can be looked at: ``sample`` gives layers by name, and detections, for an RGB photo.

    ``distances``: those that occur, in order (a dilation's or `SQUARE_DISTANCES`).
    """

    distances: range
    sample: Callable[[Image.Image], tuple[dict[str, LayerSampling], list[Detection]]]


def dilation_places(dilation: np.ndarray) -> np.ndarray:
    """Places ``[9, 2, H, W]`` of integer dilations ``[H, W]``."""
    taps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    places: np.ndarray = taps[:, :, None, None] * dilation[None, None].astype(np.int64)
    return places


def network_offsets(network: CoDeNet) -> OffsetSource:
    """Offsets of a floating-point network with any sampling but ``regular``; `CodenetError` for that one, which has
    none.
    """
    modules = {name: m for name, m in network.named_modules() if isinstance(m, DeformConv) and m.sampling != "regular"}
    if not modules:
        raise CodenetError(f"network {network.config.name}: sampling is 'regular', expected one with offsets")
    found: dict[str, LayerSampling] = {}

    def keep(module: DeformConv, name: str, value: torch.Tensor) -> None:
        if module.sampling == "rounded":
            dilation = round_dilation(value, module.dilations)[0, 0].numpy()
            found[f"{name}.dilation"] = LayerSampling(dilation_places(dilation), dilation)
        elif module.sampling == "square":
            found[f"{name}.dilation"] = LayerSampling(square_places(value)[0].numpy(), value[0, 0].clamp(-7, 8).numpy())
        else:
            found[f"{name}.offsets"] = LayerSampling(
                offset_places(value, module.sampling == "bounded")[0].numpy(), None
            )

    for name, module in modules.items():
        source = module.dilation if module.sampling in ("rounded", "square") else module.offsets
        source.register_forward_hook(lambda _m, _i, value, module=module, name=name: keep(module, name, value))
    config = network.config

    def sample(photo: Image.Image) -> tuple[dict[str, LayerSampling], list[Detection]]:
        found.clear()
        with torch.no_grad():
            outputs = network(normalize(photos.resize(photo, *config.input_size, config.fit)[None]))
        placement = config.place((photo.height, photo.width))
        return dict(found), decode(find_peaks(outputs)[0], network.classes, placement)

    distances = SQUARE_DISTANCES if network.config.sampling == "square" else range(len(ALL_DILATIONS))
    return OffsetSource(distances, sample)


def graph_offsets(graph: Graph) -> OffsetSource:
    """Dilations of a graph of integers, by the golden model; layers are named as the graph's tensors.

    `CodenetError` for a graph without any.
    """
    names = [op.inputs[1] for op in graph.operations if isinstance(op, Depthwise) and len(op.inputs) == 2]
    if not names:
        raise CodenetError(f"graph {graph.name}: no dilations, expected a deformable network")
    size = (graph.input.height, graph.input.width)

    def sample(photo: Image.Image) -> tuple[dict[str, LayerSampling], list[Detection]]:
        image = photos.to_activation(photos.resize(photo, *size, graph.fit))
        tensors = run(graph, image, keep=[*names, *graph.outputs.values()])
        layers = {n: LayerSampling(dilation_places(tensors[n][:, :, 0]), tensors[n][:, :, 0]) for n in names}
        placement = place((photo.height, photo.width), size, graph.fit)
        return layers, decode(find_peaks(graph_outputs(graph, tensors))[0], graph.classes, placement)

    return OffsetSource(range(len(ALL_DILATIONS)), sample)


def open_offsets(path: Path) -> OffsetSource:
    """Offsets of a graph (.cdg) or checkpoint (.pt); a quantized checkpoint's are those of its graph."""
    if path.suffix == ".cdg":
        return graph_offsets(Graph.load(path))
    if path.suffix != ".pt":
        raise CodenetError(f"{path}: suffix is {path.suffix!r}, expected .cdg or .pt")
    if load_checkpoint(path)["kind"] == "float":
        return network_offsets(load_network(path))
    return graph_offsets(to_graph(load_quantized(path), path.stem)[0])


def histograms(source: OffsetSource, pictures: Iterable[Image.Image]) -> dict[str, np.ndarray]:
    """Counts ``[len(source.distances)]`` of each distance, rounded half up, over all pixels of all photos, by layer.

    `CodenetError` for a network whose taps have offsets of their own.
    """
    first, count = source.distances[0], len(source.distances)
    totals: dict[str, np.ndarray] = {}
    for picture in pictures:
        for name, layer in source.sample(picture)[0].items():
            if layer.distance is None:
                raise CodenetError(
                    f"{name}: each tap has offsets of its own, expected one distance a pixel (square or rounded)"
                )
            index = np.floor(layer.distance.astype(np.float64) + 0.5).astype(np.int64).ravel() - first
            counts = np.bincount(index.clip(0, count - 1), minlength=count)
            totals[name] = totals.get(name, np.zeros(count, np.int64)) + counts
    return totals


def samples_at(layers: dict[str, LayerSampling], x: float, y: float) -> list[Samples]:
    """What each layer samples for its pixel around (x, y), parts of the photo."""
    found = []
    for name, layer in layers.items():
        height, width = layer.places.shape[2:]
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        relative = layer.places[:, :, row, column]
        places = np.stack([(column + 0.5 + relative[:, 1]) / width, (row + 0.5 + relative[:, 0]) / height], axis=1)
        found.append(Samples(name, ((column + 0.5) / width, (row + 0.5) / height), places))
    return found


def drawn(source: OffsetSource, photo: Image.Image) -> Image.Image:
    """The photo with the samples at the centres of its best detections."""
    layers, detections = source.sample(photo)
    best = sorted(detections, key=lambda d: -d.score)[:_DRAWN_OBJECTS]
    centres = [((d.box[0] + d.box[2]) / 2 / photo.width, (d.box[1] + d.box[3]) / 2 / photo.height) for d in best]
    return sampling_picture(photo, [s for x, y in centres or [(0.5, 0.5)] for s in samples_at(layers, x, y)])


def report(path: Path, totals: dict[str, np.ndarray], distances: range, images: int) -> dict[str, Any]:
    """What ``offsets.json`` has: ``dilations`` (counts of 0 to 7) or, for square sampling, ``distances`` (counts of -7
    to 8), by layer.
    """
    key = "dilations" if distances == range(len(ALL_DILATIONS)) else "distances"
    return {"source": path.name, "images": images, key: {name: counts.tolist() for name, counts in totals.items()}}


def lines(totals: dict[str, np.ndarray], distances: range) -> str:
    """Percentages for people, and the part of the pixels whose nine samples take nine cycles."""
    width = max(map(len, totals))
    text = [f"{'layer':{width}} {' '.join(f'{d:5}' for d in distances)}   nine cycles"]
    for name, counts in totals.items():
        share = 100 * counts / counts.sum()
        conflicts = sum(share[d - distances[0]] for d in distances if d in NINE_CYCLES)
        text.append(f"{name:{width}} {' '.join(f'{value:5.1f}' for value in share)}   {conflicts:.1f} %")
    return "\n".join(text)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.offsets", description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path, help="graph (.cdg) or checkpoint (.pt)")
    parser.add_argument("--data", type=Path, required=True, help="folder in COCO JSON, VOC XML or YOLO format")
    parser.add_argument("--split", default="val")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for offsets.json and pictures")
    parser.add_argument("--limit", type=number(int, 1), help="look at the first images only")
    parser.add_argument(
        "--draw", type=number(int, 0), default=4, help="number of the data's photos to draw samples on (4)"
    )
    parser.add_argument("--photos", type=Path, nargs="+", help="draw samples on these photos instead")
    return parser.parse_args(arguments)


def _save(picture: Image.Image, path: Path) -> None:
    with files.writing(path) as file:
        picture.save(file, "PNG")


def _run(options: argparse.Namespace) -> None:
    check_folder(options.output)
    source = open_offsets(options.network)
    records = load_data(options.data, options.split, read_classes(options.network), limit=options.limit).records
    pictures = (read_image(r.path) for r in tqdm(records, desc="offsets", unit="img", mininterval=1))
    totals = histograms(source, pictures)
    files.write_json(options.output / "offsets.json", report(options.network, totals, source.distances, len(records)))
    _save(histogram_picture(totals, source.distances[0], NINE_CYCLES), options.output / "histogram.png")
    for path in options.photos or [record.path for record in records[: options.draw]]:
        _save(drawn(source, read_image(path)), options.output / f"samples-{path.stem}.png")
    print(lines(totals, source.distances))


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a network without offsets, or files that do not fit."""
    return command.run("models.offsets", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
