# SPDX-License-Identifier: Apache-2.0
"""Annotated images: what files say (`Annotations`), and what training and evaluation take (`DetectionData`)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codenet.errors import CodenetError


@dataclass
class Record:
    """One image with its boxes.

    ``width``, ``height``: of the upright photo; ``boxes``: float32 ``[N, 4]`` of x0, y0, x1, y1 in its pixels;
    ``labels``: int64 ``[N]`` into the data set's classes; ``crowd``: bool ``[N]``, regions that evaluation ignores and
    training leaves out; ``confidence``: float32 ``[N]``, 1 for what is annotated (the default), less for what a teacher
    takes for an object.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    confidence: np.ndarray = None  # type: ignore[assignment]  # ones, once the number of boxes is known

    def __post_init__(self) -> None:
        if self.confidence is None:
            self.confidence = np.ones(len(self.boxes), np.float32)

    def take(self, chosen: np.ndarray) -> Record:
        """The record with the boxes that ``chosen`` (a mask or indices) says."""
        arrays = {name: getattr(self, name)[chosen] for name in ("boxes", "labels", "crowd", "confidence")}
        return replace(self, **arrays)


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

    def without(self, names: Collection[str]) -> DetectionData:
        """The same images without the classes ``names``, which have no boxes but crowd boxes."""
        kept = [index for index, name in enumerate(self.classes) if name not in names]
        renumbered = np.full(len(self.classes), -1)
        renumbered[kept] = range(len(kept))
        records = []
        for record in self.records:
            labels = renumbered[record.labels]
            records.append(replace(record, labels=labels).take(labels >= 0))
        return DetectionData(tuple(self.classes[index] for index in kept), records, self.warnings)

    def fingerprint(self) -> str:
        """A digest of names, sizes, boxes and classes: equal where training sees the same, wherever the folder lies."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for record in self.records:
            digest.update(f"{record.path.name} {record.width} {record.height}\n".encode())
            for array in (record.boxes, record.labels, record.crowd):
                digest.update(array.tobytes())
            if (record.confidence != 1).any():
                digest.update(record.confidence.tobytes())
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
    """A box as annotated.

    ``corners``: x0, y0, x1, y1 in pixels, the pixels' edges at integers, or in fractions of a `Picture` that is
    ``normalized``. ``str(place)`` is what messages call it.
    """

    name: str
    corners: tuple[float, float, float, float]
    crowd: bool
    place: object


@dataclass
class Picture:
    """An image as annotated.

    ``width`` and ``height`` are 0 where nothing says them; ``str(place)`` is what messages call it.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: list[Box]
    place: object
    normalized: bool = False


@dataclass
class Annotations:
    """What annotation files say, and the ``errors`` found while reading.

    ``classes``: those that they declare, or, unless ``declared``, those that they use.
    """

    place: str
    classes: tuple[str, ...]
    pictures: list[Picture]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    declared: bool = True
