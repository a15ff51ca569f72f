"""Detection data sets: COCO JSON and VOC XML folders, alone or joined, checked before use.

``FOLDER`` or ``FOLDER:SPLIT`` names a set; the layouts are in `models.data.coco` and `models.data.voc`. Pascal VOC 07+12 is
``VOCdevkit/VOC2007:trainval VOCdevkit/VOC2012:trainval``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from codenet.errors import CodenetError
from models.data.annotations import Annotations, DetectionData, Record, check
from models.data.classes import ANIMALS
from models.data.coco import LAYOUTS, find_coco, read_coco
from models.data.image_cache import cached_images, read_image
from models.data.voc import find_voc, read_voc

__all__ = ["ANIMALS", "DetectionData", "Record", "cached_images", "load_data", "read_image"]


def split_of(source: Path | str, default: str) -> tuple[Path, str]:
    """Folder and split of ``FOLDER`` or ``FOLDER:SPLIT``."""
    folder, colon, split = str(source).rpartition(":")
    if colon and split and not {"/", "\\"} & set(split) and not Path(source).exists():
        return Path(folder), split
    return Path(source), default


def read_annotations(folder: Path, split: str, keep_difficult: bool = False) -> Annotations:
    """What the annotations of one folder's split say; `CodenetError` if it has none."""
    if not folder.is_dir():
        raise CodenetError(f"data: {folder}: no such folder, expected one with COCO JSON or VOC XML annotations")
    coco = find_coco(folder, split)
    if coco is not None:
        return read_coco(*coco)
    voc = find_voc(folder, split)
    if voc is not None:
        return read_voc(*voc, f"{folder}:{split}", keep_difficult)
    files = ", ".join(file.format(split) for file, _ in LAYOUTS)
    raise CodenetError(
        f"data: {folder} has no annotations of split {split!r}: neither COCO JSON ({files}) nor VOC XML (ImageSets/Main/{split}.txt "
        f"with Annotations and JPEGImages, or *.xml in Annotations, {split} or the folder itself)"
    )


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
    return Annotations(", ".join(part.place for part in parts), classes, pictures, errors, warnings)


def load_data(
    sources: Path | str | Iterable[Path | str],
    split: str,
    classes: Sequence[str] | None = None,
    keep_difficult: bool = False,
) -> DetectionData:
    """Read one or several folders, each ``FOLDER`` (its ``split``) or ``FOLDER:SPLIT``.

    ``classes`` selects and orders classes by name; None takes all that the files declare (COCO) or use (VOC).
    Raises `CodenetError` that lists, with file and line or record, missing images, unknown classes and images, malformed
    records, numbers that occur twice, sets without images. Boxes without area are left out, boxes outside of the image clipped, both
    with a warning. VOC's difficult boxes are crowd boxes, unless ``keep_difficult``.
    """
    if isinstance(sources, Path | str):
        sources = [sources]
    parts = [read_annotations(*split_of(source, split), keep_difficult) for source in sources]
    if not parts:
        raise CodenetError("data: no folder, expected at least one")
    annotations = join(parts)
    if classes is None:
        return check(annotations, annotations.classes)
    # What VOC files use is no list of what they could: a class may be absent from a split.
    unknown = [name for name in classes if name not in annotations.classes]
    if unknown and (any(part.place.endswith(".json") for part in parts) or len(unknown) == len(classes)):
        annotations.errors += [
            f"{annotations.place}: class {name!r} is not in the file, which has {sorted(annotations.classes)}"
            for name in unknown
        ]
    return check(annotations, classes)
