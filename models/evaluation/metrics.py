# SPDX-License-Identifier: Apache-2.0
"""Average precision of detections: COCO's metrics (pycocotools), and the two rules of VOC beside them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codenet.errors import CodenetError
from codenet.vision.boxes import Detection
from models.data import DetectionData
from models.evaluation.voc_metric import voc_average_precision

#: What ``codenet detect`` takes for an object unless told otherwise.
DETECT_THRESHOLD = 0.3


@dataclass(frozen=True)
class Score:
    """COCO's metrics: ``ap`` over IoU 0.5 to 0.95, ``ap50`` at 0.5, per class ``ap50_by_class`` (NaN without objects).

    ``eleven_point``, ``all_point``: AP at IoU 0.5 by the rules of VOC.
    ``detections``: their number; ``best_score``: the highest of their scores, 0 without any.
    """

    ap50: float
    ap: float
    images: int
    ap50_by_class: dict[str, float]
    eleven_point: float
    all_point: float
    detections: int = 0
    best_score: float = 0.0

    def __str__(self) -> str:
        return f"AP50 {self.ap50:.3f} AP {self.ap:.3f} images {self.images}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN: None for a class without objects."""
        by_class = {name: None if np.isnan(value) else value for name, value in self.ap50_by_class.items()}
        return {**dataclasses.asdict(self), "ap50_by_class": by_class}

    def _best(self) -> str:
        text = f"best score {self.best_score:.2f}"
        if self.best_score >= DETECT_THRESHOLD:
            return text
        return f"{text}: none reaches {DETECT_THRESHOLD}, the threshold of codenet detect; scores rise with training"

    def table(self) -> str:
        """Lines for people: AP50 by class, the detections, then all rules."""
        lines = [f"{name:16} AP50 {value:.3f}" for name, value in self.ap50_by_class.items()]
        lines.append(f"{self.detections} detections, {self._best()}")
        lines.append(f"VOC rules: eleven-point {self.eleven_point:.3f} all-point {self.all_point:.3f}")
        return "\n".join([*lines, str(self)])


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
    best = max((result["score"] for result in results), default=0.0)
    if not results or not any((~record.crowd).any() for record in data):
        return Score(0.0, 0.0, len(data), dict.fromkeys(data.classes, 0.0), 0.0, 0.0, len(results), best)
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
        len(results),
        best,
    )
