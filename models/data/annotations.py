"""Annotated images: what a file says (`Annotations`), what training takes (`DetectionData`), and the check between the two."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codenet.errors import CodenetError

logger = logging.getLogger(__name__)

#: Boxes may stick out of the image by this many pixels (rounding of annotation tools) and are clipped silently.
_BOX_SLACK = 1.0

#: Problems that an error lists, and warnings that the log shows; more are counted.
_SHOWN = 20


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

    def counts(self) -> np.ndarray:
        """Boxes of each class that training takes: int64 ``[classes]``."""
        labels = [record.labels[~record.crowd] for record in self.records]
        return np.bincount(np.concatenate([*labels, np.zeros(0, np.int64)]), minlength=len(self.classes))

    def fingerprint(self) -> str:
        """A digest of names, sizes, boxes and classes: equal where training sees the same, wherever the folder lies."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for record in self.records:
            digest.update(f"{record.path.name} {record.width} {record.height}\n".encode())
            for array in (record.boxes, record.labels, record.crowd):
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def check_trainable(self) -> None:
        """`CodenetError` that names classes without a box to learn from, and says what there is."""
        counts = dict(zip(self.classes, self.counts().tolist(), strict=True))
        missing = [name for name, count in counts.items() if not count]
        if missing:
            found = ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none of any class"
            raise CodenetError(
                f"data: no boxes of {', '.join(missing)} to train on; boxes found: {found}. "
                f"Correct --classes, or give --classes auto for the classes that the data has"
            )


class Box(NamedTuple):
    """A box as annotated: ``corners`` x0, y0, x1, y1 in pixels, the pixels' edges at integers. ``str(place)`` is what messages call it."""

    name: str
    corners: tuple[float, float, float, float]
    crowd: bool
    place: object


@dataclass
class Picture:
    """An image as annotated."""

    image_id: int
    path: Path
    width: int
    height: int
    boxes: list[Box]


@dataclass
class Annotations:
    """What annotation files say: ``classes`` that they declare or, for VOC, use; ``errors`` found while reading."""

    place: str
    classes: tuple[str, ...]
    pictures: list[Picture]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Checker:
    """Turns pictures into records and collects what is wrong with them."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = {name: index for index, name in enumerate(classes)}
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.ignored: Counter[str] = Counter()
        self.kept = self.empty = 0

    def record(self, picture: Picture) -> Record:
        """The record of ``picture``: boxes of the chosen classes, clipped; those without area left out."""
        boxes, labels, crowd = [], [], []
        size = f"{picture.width}x{picture.height}"
        if not picture.path.is_file():
            self.errors.append(f"{picture.path}: image is missing")
        if picture.width <= 0 or picture.height <= 0:
            self.errors.append(f"{picture.path}: size is {size}, expected at least one pixel")
        for box in picture.boxes:
            if box.name not in self.classes:
                self.ignored[box.name] += 1
                continue
            corners = np.array(box.corners, np.float64)
            clipped = np.clip(corners, 0, [picture.width, picture.height] * 2)
            if not np.isfinite(corners).all() or (clipped[2:] <= clipped[:2]).any():
                self.empty += 1
                self.warnings.append(f"{box.place}: box {list(box.corners)} has no area in a {size} image; left out")
                continue
            if np.abs(corners - clipped).max() > _BOX_SLACK:
                self.warnings.append(f"{box.place}: box {list(box.corners)} reaches outside of a {size} image; clipped")
            self.kept += 1
            boxes.append(clipped)
            labels.append(self.classes[box.name])
            crowd.append(box.crowd)
        return Record(
            picture.image_id,
            picture.path,
            picture.width,
            picture.height,
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(labels, np.int64),
            np.asarray(crowd, bool),
        )


def check(annotations: Annotations, classes: Sequence[str]) -> DetectionData:
    """The data set of ``annotations`` with the chosen ``classes``.

    `CodenetError` that lists all problems which cannot be repaired; boxes without area are left out, boxes that reach outside of
    their image clipped, both with a warning. Most boxes without area is an error: their numbers then mean something else.
    """
    checker = _Checker(classes)
    records = [checker.record(picture) for picture in annotations.pictures]
    errors = annotations.errors + checker.errors
    if not records and not errors:
        errors.append(f"{annotations.place}: no images, expected at least one")
    if checker.empty > checker.kept:
        errors.append(
            f"{annotations.place}: {checker.empty} of {checker.empty + checker.kept} boxes have no area in their image, the first at "
            f"{checker.warnings[0]}; expected corners in pixels (VOC: xmin, ymin, xmax, ymax; COCO: x, y, width, height)"
        )
    if errors:
        raise CodenetError(f"data: {len(errors)} problems, correct them before training\n  {_first(errors)}")
    warnings = annotations.warnings + checker.warnings
    if warnings:
        logger.warning("data: %d warnings\n  %s", len(warnings), _first(warnings))
    if checker.ignored:
        counts = ", ".join(f"{name} {count}" for name, count in checker.ignored.most_common(_SHOWN))
        logger.info("data: %s: boxes of classes that were not asked for: %s", annotations.place, counts)
    return DetectionData(tuple(classes), records, warnings)


def _first(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n  ".join(lines[:_SHOWN] + more)
