# SPDX-License-Identifier: Apache-2.0
"""Average precision at IoU 0.5 by the two rules of the Pascal VOC challenges, written from their definition.

*Eleven-point* (VOC 2007, what the paper reports): the mean over the recalls 0, 0.1 ... 1 of the best precision at that
recall or a higher one.
*All-point* (VOC 2010 and later): the area under that best precision.

Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010, section 4.2; development kit's VOCevaldet.
Three things differ from COCO's evaluation: a detection belongs to the object that it overlaps most, even if another
detection has that already and it becomes a mistake; curves have other points; and no limit of detections an image.
Boxes here are continuous, so that areas have no "+ 1 pixel".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codenet.vision.boxes import Detection
from models.data import DetectionData, Record, overlaps

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class VocScore:
    """Means over the classes that have objects (NaN if none has), and the values by class (NaN without objects)."""

    eleven_point: float
    all_point: float
    eleven_point_by_class: dict[str, float]
    all_point_by_class: dict[str, float]


def eleven_point(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over the recalls 0, 0.1 ... 1 of the best precision there or further on.

    Both float ``[N]``, in order of falling score.
    """
    # Tenths are no binary fractions: 3 / 10 is what a recall of 3 of 10 is, 3 * 0.1 is larger.
    reached = [precision[recall >= tenths / 10] for tenths in range(11)]
    return float(np.mean([values.max() if values.size else 0.0 for values in reached]))


def all_point(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the best precision at each recall or further on; float ``[N]`` each, in order of falling score."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def _matches(record: Record, label: int, found: Sequence[Detection]) -> list[tuple[float, int]]:
    """Score and 1 (right), 0 (wrong) for each detection of a class in an image; those of crowd objects are left out."""
    chosen = record.labels == label
    boxes, ignored = record.boxes[chosen], record.crowd[chosen]
    taken = np.zeros(len(boxes), bool)
    results = []
    for detection in sorted(found, key=lambda d: -d.score):
        iou = overlaps(np.array(detection.box), boxes)
        nearest = int(iou.argmax()) if len(iou) else -1
        if nearest < 0 or iou[nearest] < IOU_THRESHOLD:
            results.append((detection.score, 0))
        elif not ignored[nearest]:
            results.append((detection.score, int(not taken[nearest])))
            taken[nearest] = True
    return results


def _curve(data: DetectionData, label: int, detections: Sequence[Sequence[Detection]]) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of a class, which has objects, after each detection in order of falling score."""
    objects = sum(int(((record.labels == label) & ~record.crowd).sum()) for record in data)
    results = [
        match
        for record, found in zip(data, detections, strict=True)
        for match in _matches(record, label, [d for d in found if d.class_index == label])
    ]
    results.sort(key=lambda result: -result[0])
    right = np.cumsum([hit for _, hit in results])
    return right / objects, right / np.arange(1, len(results) + 1)


def voc_average_precision(data: DetectionData, detections: Sequence[Sequence[Detection]]) -> VocScore:
    """Score ``detections``, one list per image of ``data``, in its order.

    Crowd objects count as VOC's difficult ones: not at all.
    """
    by_class: dict[str, tuple[float, float]] = {}
    for label, name in enumerate(data.classes):
        if any(((record.labels == label) & ~record.crowd).any() for record in data):
            curve = _curve(data, label, detections)
            by_class[name] = eleven_point(*curve), all_point(*curve)
        else:
            by_class[name] = float("nan"), float("nan")
    values = np.array(list(by_class.values()))
    known = values[~np.isnan(values[:, 0])]
    means = known.mean(axis=0) if len(known) else np.full(2, np.nan)
    return VocScore(
        float(means[0]),
        float(means[1]),
        {name: value[0] for name, value in by_class.items()},
        {name: value[1] for name, value in by_class.items()},
    )
