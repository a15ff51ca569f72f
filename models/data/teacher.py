# SPDX-License-Identifier: Apache-2.0
"""Boxes that a teacher (a detector trained elsewhere) found in photos: their file, and their union with annotations.

A JSON file (docs/models.md). Its photos are named from the folder that holds their data set, as
``voc/images/2007_000175.jpg``, so that it serves wherever the data sets lie.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codenet import files
from codenet.errors import CodenetError
from codenet.vision.boxes import Detection
from models.data.annotations import DetectionData, Record
from models.data.files import read_text
from models.data.overlaps import overlaps

FORMAT = "codenet teacher boxes 1"

#: Teacher's boxes below this score are not taken for objects.
SCORE_THRESHOLD = 0.3

#: Intersection over union (IoU) with an annotated box from which a teacher's box is that object once more.
IOU_THRESHOLD = 0.5


class Boxes(NamedTuple):
    """Boxes in a photo: ``corners`` float32 ``[N, 4]`` of x0, y0, x1, y1 in its pixels, ``labels`` int64 ``[N]``,
    ``scores`` float32 ``[N]``, best first.
    """

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[Sequence[float], int, float]]) -> Boxes:
        """Boxes of rows of corners, label and score."""
        corners, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
        corners = np.asarray(corners, np.float32).reshape(-1, 4)  # type: ignore[assignment]
        return cls(corners, np.asarray(labels, np.int64), np.asarray(scores, np.float32))  # type: ignore[arg-type]

    def take(self, chosen: np.ndarray) -> Boxes:
        """Those that ``chosen`` (a mask or indices) says."""
        return Boxes(*(array[chosen] for array in self))


def photo_name(photo: Path, folder: Path) -> str:
    """What the file calls a photo of the data set in ``folder``: its path from the folder that the data set lies in."""
    relative = Path(os.path.relpath(photo, Path(os.path.abspath(folder)).parent))
    return Path(*(part for part in relative.parts if part != os.pardir)).as_posix()


@dataclass
class TeacherBoxes:
    """What a teacher found.

    ``place``: what messages call it; ``teacher``: identity (file name, SHA-256, thresholds); ``classes``: those that it
    looked for; ``photos``: width, height and boxes by name (`photo_name`), the labels indices into ``classes``.
    """

    place: str
    teacher: dict[str, Any]
    classes: tuple[str, ...]
    photos: dict[str, tuple[tuple[int, int], Boxes]] = field(default_factory=dict)

    def add(self, name: str, record: Record, found: Sequence[Detection]) -> None:
        """Keep what was found in a photo."""
        boxes = Boxes.of([(detection.box, detection.class_index, detection.score) for detection in found])
        self.photos[name] = (record.width, record.height), boxes

    def has(self, name: str, record: Record) -> bool:
        """Whether a photo of the name and the record's size is there."""
        return name in self.photos and self.photos[name][0] == (record.width, record.height)

    def find(self, record: Record) -> Boxes:
        """Boxes of a photo; `CodenetError` if the file lacks it, or has one of another size."""
        parts = Path(os.path.abspath(record.path)).parts
        name = next((name for start in range(len(parts)) if (name := "/".join(parts[start:])) in self.photos), None)
        if name is None:
            raise CodenetError(
                f"{self.place}: no boxes of {record.path}: its {len(self.photos)} photos are named as "
                f"{next(iter(self.photos), 'none')}; run models.teacher on this data, too"
            )
        size, boxes = self.photos[name]
        if size != (record.width, record.height):
            raise CodenetError(
                f"{self.place}: boxes of {name} are of a photo of {size[0]}x{size[1]}, {record.path} is "
                f"{record.width}x{record.height}: its objects lie elsewhere; run models.teacher on this data"
            )
        return boxes

    def select(self, classes: Sequence[str]) -> TeacherBoxes:
        """The boxes of ``classes``, labels in their order; `CodenetError` for classes that it did not look for."""
        missing = [name for name in classes if name not in self.classes]
        if missing:
            raise CodenetError(f"{self.place}: its classes lack {', '.join(missing)}; it has {', '.join(self.classes)}")
        renumbered = np.array([classes.index(name) if name in classes else -1 for name in self.classes])
        photos = {}
        for name, (size, boxes) in self.photos.items():
            boxes = boxes._replace(labels=renumbered[boxes.labels])
            photos[name] = size, boxes.take(boxes.labels >= 0)
        return TeacherBoxes(self.place, self.teacher, tuple(classes), photos)

    def save(self, path: Path) -> None:
        """Write the file, a line a photo, complete or not at all; corners to 0.01 pixels, scores to 0.0001."""
        head = json.dumps({"format": FORMAT, "teacher": self.teacher, "classes": self.classes})
        lines = [f"{json.dumps(name)}: {json.dumps(self._photo(name))}" for name in self.photos]
        files.write(path, f'{head[:-1]}, "photos": {{\n' + ",\n".join(lines) + "\n}}\n")

    def _photo(self, name: str) -> dict[str, Any]:
        size, boxes = self.photos[name]
        rows = [
            [*(round(value, 2) for value in corners), self.classes[label], round(score, 4)]
            for corners, label, score in zip(*(array.tolist() for array in boxes), strict=True)
        ]
        return {"size": size, "boxes": rows}

    @classmethod
    def load(cls, path: Path) -> TeacherBoxes:
        """Read a file; `CodenetError` naming it for anything else."""
        try:
            content = json.loads(read_text(path))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            numbers = {name: index for index, name in enumerate(content["classes"])}
            photos = {name: _read_photo(name, photo, numbers) for name, photo in content["photos"].items()}
            return cls(str(path), dict(content["teacher"]), tuple(numbers), photos)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise CodenetError(f"{path}: no file of models.teacher ({FORMAT!r}): {reason}") from error


def _read_photo(name: str, photo: dict[str, Any], numbers: dict[str, int]) -> tuple[tuple[int, int], Boxes]:
    """Size and boxes of a photo in the file, where ``numbers`` are the labels of its classes."""
    width, height = photo["size"]
    boxes = Boxes.of([((x0, y0, x1, y1), numbers[label], score) for x0, y0, x1, y1, label, score in photo["boxes"]])
    low, high = boxes.corners[:, :2], boxes.corners[:, 2:]
    if not ((0 <= low) & (low < high) & (high <= [width, height])).all():
        raise ValueError(f"boxes of {name} that are none in its {width}x{height} pixels")
    if not ((0 <= boxes.scores) & (boxes.scores <= 1)).all():
        raise ValueError(f"scores of {name} up to {boxes.scores.max():g}, expected 0 to 1")
    return (width, height), boxes


def merge(
    record: Record,
    found: Boxes,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
) -> Record:
    """A record with the boxes that a teacher ``found`` added, with their score as confidence.

    Those of at least ``score_threshold`` are added whose IoU with each annotated box, of whatever class and crowds
    included, is less than ``iou_threshold``.
    """
    known = (overlaps(found.corners, record.boxes) >= iou_threshold).any(axis=1)
    new = found.take((found.scores >= score_threshold) & ~known)
    return replace(
        record,
        boxes=np.concatenate([record.boxes, new.corners]),
        labels=np.concatenate([record.labels, new.labels]),
        crowd=np.concatenate([record.crowd, np.zeros(len(new.labels), bool)]),
        confidence=np.concatenate([record.confidence, new.scores]),
    )


def agrees(
    record: Record,
    found: Boxes,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
) -> bool:
    """Whether a teacher found each annotated box: with its class, and the score and IoU of `merge` or more."""
    found = found.take(found.scores >= score_threshold)
    same = (overlaps(record.boxes, found.corners) >= iou_threshold) & (record.labels[:, None] == found.labels)
    return bool(same.any(axis=1).all())


def with_teacher(
    data: DetectionData,
    teacher: TeacherBoxes,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    incomplete: Collection[Path | str] = (),
) -> DetectionData:
    """``data`` with a teacher's boxes added (`merge`).

    In the folders ``incomplete``, where photos have more objects than are annotated, only the teacher's boxes count.
    The photos there whose annotated boxes it does not find (`agrees`) are left out, with a warning.

    `CodenetError` for classes that the teacher did not look for, and photos that its file lacks or has in another size.
    """
    teacher = teacher.select(data.classes)
    folders = [os.path.abspath(folder) for folder in incomplete]
    records, warnings = [], list(data.warnings)
    for record in data:
        found = teacher.find(record)
        if any(Path(os.path.abspath(record.path)).is_relative_to(folder) for folder in folders):
            if not agrees(record, found, score_threshold, iou_threshold):
                warnings.append(f"{record.path}: the teacher does not find what is annotated; left out")
                continue
            record = record.take(np.zeros(len(record.boxes), bool))
        records.append(merge(record, found, score_threshold, iou_threshold))
    return DetectionData(data.classes, records, warnings)
