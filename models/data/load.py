# SPDX-License-Identifier: Apache-2.0
"""Detection data sets, alone or joined, checked before use: ``FOLDER`` or ``FOLDER:SPLIT`` names one.

Formats and layouts are those of `models.data.coco`, `models.data.voc` and `models.data.yolo` (docs/data.md). Pascal VOC
07+12 is ``VOCdevkit/VOC2007:trainval VOCdevkit/VOC2012:trainval``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from codenet.errors import CodenetError
from models.data.annotations import Annotations, DetectionData
from models.data.check import check
from models.data.coco import find_coco
from models.data.splits import pick
from models.data.voc import find_voc
from models.data.yolo import find_yolo

logger = logging.getLogger(__name__)


def split_of(source: Path | str, default: str) -> tuple[Path, str]:
    """Folder and split of ``FOLDER`` or ``FOLDER:SPLIT``."""
    folder, colon, split = str(source).rpartition(":")
    if colon and split and not {"/", "\\"} & set(split) and not Path(source).exists():
        return Path(folder), split
    return Path(source), default


def read_annotations(folder: Path, split: str, keep_difficult: bool = False) -> Annotations:
    """What the annotations of one folder's split say; `CodenetError` that names the splits it has, if not this one."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise CodenetError(f"data: {folder}: {what}, expected a folder with COCO JSON, VOC XML or YOLO annotations")
    formats = {"COCO JSON": find_coco, "VOC XML": lambda place: find_voc(place, keep_difficult), "YOLO": find_yolo}
    there = []
    for name, find in formats.items():
        splits = find(folder)
        chosen = pick(splits, split)
        if chosen is not None:
            return splits[chosen]()
        there += [f"{name} has {', '.join(sorted(splits))}"] if splits else []
    found = (
        f"{'; '.join(there)}; choose one with --split, or FOLDER:SPLIT"
        if there
        else ("neither COCO JSON (as instances_train.json), nor VOC XML, nor YOLO text files; layouts: docs/data.md")
    )
    raise CodenetError(f"data: {folder} has no annotations of split {split!r}: {found}")


def join(parts: Sequence[Annotations]) -> Annotations:
    """All images of several sets, numbered anew; classes in the first set's order, those of later sets after them."""
    if len(parts) == 1:
        return parts[0]
    classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))
    pictures = [picture for part in parts for picture in part.pictures]
    for number, picture in enumerate(pictures, start=1):
        picture.image_id = number
    errors = [error for part in parts for error in part.errors]
    warnings = [warning for part in parts for warning in part.warnings]
    place, declared = ", ".join(part.place for part in parts), any(part.declared for part in parts)
    return Annotations(place, classes, pictures, errors, warnings, declared)


def load_data(
    sources: Path | str | Iterable[Path | str],
    split: str,
    classes: Sequence[str] | None = None,
    keep_difficult: bool = False,
    trainable: bool = False,
    limit: int | None = None,
) -> DetectionData:
    """Read and check one or several folders, each ``FOLDER`` (its ``split``) or ``FOLDER:SPLIT``.

    ``classes`` selects and orders classes by name; None takes all that the files declare (COCO, YOLO) or use (VOC).
    ``trainable``: each class must have a box to learn from; with ``classes`` None those without are left out. Otherwise
    those are a warning. ``limit``: the first images only. VOC's difficult boxes are crowd boxes, unless
    ``keep_difficult``.

    Raises `CodenetError` that lists, with file and line or record: missing and unreadable photos, photos of another
    size or orientation than annotated, numbers that are no pixels, unknown classes and images, malformed records,
    numbers that occur twice, names that mean several photos, sets without images or boxes. Boxes without area are left
    out, boxes outside of the image clipped, both with a warning.
    """
    if limit is not None and limit < 1:
        raise CodenetError(f"data: {limit} images, expected at least one")
    if isinstance(sources, Path | str):
        sources = [sources]
    parts = [read_annotations(*split_of(source, split), keep_difficult) for source in sources]
    if not parts:
        raise CodenetError("data: no folder, expected at least one")
    annotations = join(parts)
    annotations.pictures = annotations.pictures[:limit]
    _check_names(annotations, classes)
    data = check(annotations, annotations.classes if classes is None else classes)
    empty = [name for name, count in zip(data.classes, data.counts(), strict=True) if not count]
    if empty and trainable and classes is None:
        logger.warning("data: left out, without boxes: %s", ", ".join(empty))
        return data.without(empty)
    if trainable:
        data.check_trainable()
    elif empty and classes is not None:
        logger.warning("data: %s: no boxes of %s", annotations.place, ", ".join(empty))
    return data


def _check_names(annotations: Annotations, classes: Sequence[str] | None) -> None:
    """Adds an error for each class that the files do not know. What VOC files use is no list of what they could."""
    twice = [name for name, count in Counter(name.strip() for name in classes or ()).items() if count > 1]
    annotations.errors += [f"classes: {name!r} is asked for twice, expected names of their own" for name in twice]
    unknown = [name for name in classes or () if name.strip() not in annotations.classes]
    if unknown and (annotations.declared or len(unknown) == len(classes or ())):
        annotations.errors += [
            f"{annotations.place}: class {name!r} is not in the file, which has {sorted(annotations.classes)}"
            for name in unknown
        ]
