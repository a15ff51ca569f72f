# SPDX-License-Identifier: Apache-2.0
"""The check between annotations and the photos that they are of: the same for every format and every command."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from codenet.errors import CodenetError
from models.data.annotations import Annotations, DetectionData, Picture, Record
from models.data.files import PhotoHead, read_head

logger = logging.getLogger(__name__)

#: Boxes may stick out of the image by this many pixels (rounding of annotation tools) and are clipped silently.
_BOX_SLACK = 1.0

#: Where all of so many boxes end before pixel 100 of photos of so many pixels, their numbers are percent.
_PERCENT_BOXES, _PERCENT_PHOTO = 10, 200

#: Problems that an error lists, and warnings that the log shows; more are counted.
_SHOWN = 20


class _Sizes:
    """Annotated sizes against those of the photos, which pictures have afterwards.

    ``stored``: turned photos that are annotated at their size without the orientation tag; ``unknown``: turned or
    mirrored photos whose annotated size does not tell which of both is meant; ``upright``: whether one of the set is
    annotated as it is shown.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.stored: list[str] = []
        self.unknown: list[str] = []
        self.upright = False

    def settle(self, picture: Picture, head: PhotoHead) -> None:
        annotated = (picture.width, picture.height)
        picture.width, picture.height = head.upright
        left_out = min(annotated) <= 0
        turned = head.orientation != 1
        if turned and (left_out or annotated in (head.stored, head.upright)):
            self._turned(picture, head, annotated, left_out)
        if annotated == head.upright or picture.normalized or (turned and annotated == head.stored):
            return
        sizes = f"size is annotated as {annotated[0]}x{annotated[1]}, the image's is {picture.width}x{picture.height}"
        if left_out or not picture.boxes or (_fits(picture, head.upright) and not _fits(picture, annotated)):
            self.warnings.append(f"{picture.place}: {sizes}; took that")
        else:
            self.errors.append(
                f"{picture.place}: {sizes}: the boxes of {picture.path.name} lie elsewhere; annotate this "
                f"photo, or take the one that was annotated"
            )

    def _turned(self, picture: Picture, head: PhotoHead, annotated: tuple[int, int], left_out: bool) -> None:
        if head.stored != head.upright and annotated == head.upright:
            self.upright = True
        elif picture.boxes:
            said = "without a size" if left_out else f"as {annotated[0]}x{annotated[1]}"
            text = (
                f"{picture.path}: tag {head.orientation}, {_size(head.stored)} as stored, {_size(head.upright)} upright"
            )
            unknown = left_out or head.stored == head.upright
            (self.unknown if unknown else self.stored).append(f"{text}, annotated {said}")

    def verdict(self) -> list[str]:
        """One error for all turned photos of the set whose boxes are not known to be those of the upright photo."""
        photos = self.stored + ([] if self.upright and not self.stored else self.unknown)
        if not photos:
            return []
        return [
            f"orientation: {len(photos)} photos have an EXIF orientation tag, and nothing says that their boxes belong "
            f"to the upright photo, which the network sees; the first is {photos[0]}. If boxes were drawn on photos as "
            f"stored, remove the tags (exiftool -overwrite_original -Orientation= FILES); if on upright ones, turn the "
            f"pixels (mogrify -auto-orient FILES) and annotate the upright size"
        ]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _fits(picture: Picture, size: tuple[int, int]) -> bool:
    limits = (size[0] + _BOX_SLACK, size[1] + _BOX_SLACK)
    return all(box.corners[2] <= limits[0] and box.corners[3] <= limits[1] for box in picture.boxes)


def _pixels(picture: Picture) -> np.ndarray:
    """Corners of a picture's boxes in pixels: float64 ``[N, 4]``."""
    corners = np.array([box.corners for box in picture.boxes], np.float64).reshape(-1, 4)
    return corners * ([picture.width, picture.height] * 2) if picture.normalized else corners


def _unit_error(annotations: Annotations) -> list[str]:
    """The error of a set whose numbers are no pixels: judged by all of its boxes, of whatever class."""
    pictures = [picture for picture in annotations.pictures if picture.boxes and picture.width > 0]
    if not pictures:
        return []
    corners = np.concatenate([_pixels(picture) for picture in pictures])
    limits = np.concatenate([[[picture.width, picture.height]] * len(picture.boxes) for picture in pictures])
    with np.errstate(invalid="ignore"):
        clipped = np.clip(corners, 0, np.tile(limits, 2))
        sides, whole = clipped[:, 2:] - clipped[:, :2], corners[:, 2:] - corners[:, :2]
        lost = ~(sides > 0).all(1) | (sides <= 1).all(1)
        outside = ~lost & (sides.prod(1) < 0.5 * whole.prod(1))
    bad, boxes = lost | outside, [box for picture in pictures for box in picture.boxes]
    what = "have no area (or at most a pixel's) in their image" if lost.sum() >= outside.sum() else "lie mostly outside"
    if bad.sum() * 2 > len(boxes):
        # VOC counts from 1: its fractions have become numbers from -1.
        fractions = (np.abs(corners[bad]) <= 1).all() and not any(picture.normalized for picture in pictures)
        guess = (
            "fractions of width and height, 0 to 1 (normalized)" if fractions else "another unit, order or photo size"
        )
    elif (
        len(boxes) >= _PERCENT_BOXES
        and limits.min() >= _PERCENT_PHOTO
        and 50 < np.nanmax(corners) <= 100
        and not any(picture.normalized for picture in pictures)
    ):
        bad, what, guess = np.full(len(boxes), True), "end before pixel 100", "percent of width and height"
    else:
        return []
    first = boxes[int(bad.argmax())]
    return [
        f"{annotations.place}: {bad.sum()} of {len(boxes)} boxes {what}, the first at {first.place}: "
        f"{list(first.corners)}; the numbers look like {guess}, "
        f"expected corners in pixels (VOC: xmin, ymin, xmax, ymax; COCO: x, y, width, height)"
    ]


class _Checker:
    """Turns pictures into records and collects what is wrong with their boxes."""

    def __init__(self, classes: Sequence[str]) -> None:
        # Networks of earlier data may have the spaces that are no part of a name.
        self.classes = {name.strip(): index for index, name in enumerate(classes)}
        self.warnings: list[str] = []
        self.ignored: Counter[str] = Counter()

    def record(self, picture: Picture) -> Record:
        """The record of ``picture``: boxes of the chosen classes, clipped; those without area left out."""
        boxes, labels, crowd = [], [], []
        size = f"{picture.width}x{picture.height}"
        for box, corners in zip(picture.boxes, _pixels(picture), strict=True):
            if box.name not in self.classes:
                self.ignored[box.name] += 1
                continue
            clipped = np.clip(corners, 0, [picture.width, picture.height] * 2)
            if not np.isfinite(corners).all() or (clipped[2:] <= clipped[:2]).any():
                self.warnings.append(f"{box.place}: box {list(box.corners)} has no area in a {size} image; left out")
                continue
            if (clipped[2:] - clipped[:2] <= 1).all():
                self.warnings.append(f"{box.place}: box {list(box.corners)} has at most a pixel: is this its unit?")
            if np.abs(corners - clipped).max() > _BOX_SLACK:
                self.warnings.append(f"{box.place}: box {list(box.corners)} reaches outside of a {size} image; clipped")
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

    `CodenetError` that lists all problems which cannot be repaired, see `models.data.load_data`. Boxes without area are
    left out, boxes that reach outside of their image clipped, both with a warning.
    """
    sizes, errors = _Sizes(), list(annotations.errors)
    with ThreadPoolExecutor() as pool:
        heads = list(pool.map(read_head, [picture.path for picture in annotations.pictures]))
    for picture, head in zip(annotations.pictures, heads, strict=True):
        if isinstance(head, str):
            errors.append(head)
        else:
            sizes.settle(picture, head)
    if not annotations.pictures and not errors:
        errors.append(f"{annotations.place}: no images, expected at least one")
    errors += sizes.errors + sizes.verdict()
    if not errors:
        errors += _unit_error(annotations)
    if errors:
        raise CodenetError(f"data: {len(errors)} problems, correct them first\n  {_first(errors)}")
    checker = _Checker(classes)
    records = [checker.record(picture) for picture in annotations.pictures]
    data = DetectionData(tuple(classes), records, annotations.warnings + sizes.warnings + checker.warnings)
    if not data.counts().any():
        raise CodenetError(f"data: {annotations.place}: {_no_boxes(data, checker.ignored)}")
    if data.warnings:
        logger.warning("data: %d warnings\n  %s", len(data.warnings), _first(data.warnings))
    if checker.ignored:
        logger.info(
            "data: %s: boxes of classes that were not asked for: %s", annotations.place, _counts(checker.ignored)
        )
    return data


def _no_boxes(data: DetectionData, ignored: Counter[str]) -> str:
    crowd = sum(len(record.boxes) for record in data)
    if crowd:
        return f"all {crowd} boxes of {', '.join(data.classes)} are marked difficult or as a crowd"
    of = f" of {', '.join(data.classes)}" if data.classes else ""
    return f"no boxes{of} in {len(data)} images; boxes found: {_counts(ignored) if ignored else 'none of any class'}"


def _counts(boxes: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in boxes.most_common(_SHOWN))


def _first(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n  ".join(lines[:_SHOWN] + more)
