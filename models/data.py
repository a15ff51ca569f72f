"""Detection data sets: COCO JSON and VOC XML folders, checked before use, images cached at one size."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from codenet import image as photos
from codenet.errors import CodenetError

logger = logging.getLogger(__name__)

#: The classes of the shipped detector.
ANIMALS = ("person", "cat", "dog", "horse", "sheep", "cow")

#: Boxes may stick out of the image by this many pixels (rounding of annotation tools) and are clipped silently.
_BOX_SLACK = 1.0


@dataclass
class Record:
    """One image with its boxes.

    ``boxes``: float32 ``[N, 4]`` of x0, y0, x1, y1 in pixels; ``labels``: int64 ``[N]`` into the data set's classes;
    ``crowd``: bool ``[N]``, regions that evaluation ignores and training leaves out.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


@dataclass
class DetectionData:
    """Images with boxes of ``classes``; boxes of other classes are not in it. ``warnings`` lists what was repaired."""

    classes: tuple[str, ...]
    records: list[Record]
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


class _Checker:
    """Collects boxes of one image, and what is wrong with them."""

    def __init__(self, classes: Sequence[str], known: set[str]) -> None:
        self.classes = {name: index for index, name in enumerate(classes)}
        self.known = known
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def record(
        self, image_id: int, path: Path, size: tuple[int, int], found: list[tuple[str, list[float], bool, str]]
    ) -> Record:
        """Build a record of ``found``: class name, box (x0, y0, x1, y1), crowd, and what to call it in a message."""
        width, height = size
        boxes, labels, crowd = [], [], []
        if not path.is_file():
            self.errors.append(f"{path}: image is missing")
        if width <= 0 or height <= 0:
            self.errors.append(f"{path}: size is {width}x{height}, expected at least one pixel")
        for name, box, is_crowd, where in found:
            if name not in self.known:
                self.errors.append(f"{where}: class is {name!r}, expected one of {sorted(self.known)}")
                continue
            if name not in self.classes:
                continue
            x0, y0, x1, y1 = box
            clipped = [min(max(x0, 0), width), min(max(y0, 0), height), min(max(x1, 0), width), min(max(y1, 0), height)]
            if not np.isfinite(box).all() or clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
                self.warnings.append(f"{where}: box {box} has no area in a {width}x{height} image; left out")
                continue
            if max(abs(a - b) for a, b in zip(box, clipped, strict=True)) > _BOX_SLACK:
                self.warnings.append(f"{where}: box {box} reaches outside of a {width}x{height} image; clipped")
            boxes.append(clipped)
            labels.append(self.classes[name])
            crowd.append(is_crowd)
        return Record(
            image_id,
            path,
            width,
            height,
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(labels, np.int64),
            np.asarray(crowd, bool),
        )

    def finish(self, records: list[Record]) -> DetectionData:
        if self.errors:
            shown = "\n  ".join(self.errors[:20])
            raise CodenetError(f"data: {len(self.errors)} bad records\n  {shown}")
        for warning in self.warnings:
            logger.warning("data: %s", warning)
        return DetectionData(tuple(self.classes), records, self.warnings)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CodenetError(f"data: {path}: not readable as JSON: {error}") from error
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise CodenetError(f"data: {path}: {missing[0]!r} is missing, expected COCO's images, annotations, categories")
    return content


def load_coco(annotations: Path, images: Path, classes: Sequence[str] | None = None) -> DetectionData:
    """Read a COCO JSON file. ``classes`` selects and orders classes by name; None takes all of the file's.

    Raises `CodenetError` that lists file and record for a missing image, an unknown class or image, a malformed
    record. Boxes without area are left out, boxes outside of the image clipped, both with a warning.
    """
    content = _read_json(annotations)
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        found: dict[int, list[tuple[str, list[float], bool, str]]] = {image["id"]: [] for image in content["images"]}
        unknown = []
        for annotation in content["annotations"]:
            where = f"{annotations}: annotation {annotation['id']}"
            if annotation["image_id"] not in found:
                unknown.append(f"{where}: image {annotation['image_id']} is not in the file")
                continue
            x, y, width, height = annotation["bbox"]
            name = names.get(annotation["category_id"], f"category {annotation['category_id']}")
            box = [x, y, x + width, y + height]
            found[annotation["image_id"]].append((name, box, bool(annotation.get("iscrowd", 0)), where))
        chosen = tuple(classes) if classes is not None else tuple(names[key] for key in sorted(names))
        checker = _Checker(chosen, set(names.values()))
        checker.errors += unknown
        checker.errors += [
            f"{annotations}: class {name!r} is not in the file, which has {sorted(names.values())}"
            for name in chosen
            if name not in names.values()
        ]
        records = [
            checker.record(
                image["id"], images / image["file_name"], (image["width"], image["height"]), found[image["id"]]
            )
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CodenetError(f"data: {annotations}: malformed record: {error!r}") from error
    return checker.finish(records)


def _read_voc_xml(path: Path) -> tuple[str, tuple[int, int], list[tuple[str, list[float], bool, str]]]:
    """File name, (width, height) and objects of one VOC XML file."""
    try:
        root = ElementTree.parse(path).getroot()
        size = (int(root.findtext("size/width", "")), int(root.findtext("size/height", "")))
        found = []
        for index, item in enumerate(root.iter("object")):
            box = [float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            # VOC counts pixels from 1 and includes the last one.
            box[0] -= 1
            box[1] -= 1
            found.append((item.findtext("name", "").strip(), box, False, f"{path}: object {index}"))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise CodenetError(f"data: {path}: not a VOC annotation: {error}") from error
    return root.findtext("filename", "").strip(), size, found


def load_voc(folder: Path, split: str, classes: Sequence[str] | None = None) -> DetectionData:
    """Read a VOC folder (``JPEGImages``, ``Annotations``, ``ImageSets/Main/<split>.txt``); errors as `load_coco`.

    ``classes`` None takes all names that occur in the annotations, sorted.
    """
    listing = folder / "ImageSets" / "Main" / f"{split}.txt"
    try:
        stems = [line.split()[0] for line in listing.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise CodenetError(f"data: {listing}: cannot be read: {error}") from error
    parsed = {stem: _read_voc_xml(folder / "Annotations" / f"{stem}.xml") for stem in stems}
    seen = {name for _, _, found in parsed.values() for name, *_ in found}
    checker = _Checker(tuple(classes) if classes is not None else tuple(sorted(seen)), seen)
    records = []
    for number, (stem, (name, size, found)) in enumerate(parsed.items(), start=1):
        path = folder / "JPEGImages" / f"{stem}.jpg"
        if not path.is_file() and name:
            path = folder / "JPEGImages" / name
        records.append(checker.record(number, path, size, found))
    return checker.finish(records)


def load_data(folder: Path | str, split: str, classes: Sequence[str] | None = None) -> DetectionData:
    """Read a folder of either format: ``instances_<split>.json`` with ``images/``, or a VOC folder."""
    folder = Path(folder)
    annotations = folder / f"instances_{split}.json"
    if annotations.is_file():
        return load_coco(annotations, folder / "images", classes)
    if (folder / "ImageSets" / "Main").is_dir():
        return load_voc(folder, split, classes)
    raise CodenetError(
        f"data: {folder} has neither instances_{split}.json (COCO) nor ImageSets/Main (VOC); "
        f"expected a folder in one of these formats"
    )


def read_image(path: Path) -> Image.Image:
    """An upright RGB image; `CodenetError` naming the file for anything that does not decode."""
    try:
        return photos.load(path)
    except OSError as error:
        raise CodenetError(f"data: {path}: cannot be read: {error}") from error


def cached_images(data: DetectionData, size: int, cache: Path) -> np.ndarray:
    """All images stretched to ``size`` x ``size``: uint8 ``[N, size, size, 3]``, a memory-mapped file in ``cache``.

    The file is named after the images' paths, sizes and times of change, so that changed data makes a new one.
    """
    stamp = hashlib.sha256()
    for record in data:
        stat = record.path.stat()
        stamp.update(f"{record.path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    path = cache / f"images-{size}-{stamp.hexdigest()[:16]}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # Several workers may come here at once; each writes a file of its own.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(data), size, size, 3))
        for index, record in enumerate(tqdm(data.records, desc="images", unit="img", mininterval=1)):
            images[index] = photos.resize(read_image(record.path), size, size)
        images.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")
