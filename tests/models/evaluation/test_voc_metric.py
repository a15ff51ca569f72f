# SPDX-License-Identifier: Apache-2.0
"""Average precision by the rules of VOC: cases by hand, and beside pycocotools where the two must agree."""

from pathlib import Path

import numpy as np
import pytest

from codenet.vision.boxes import Detection
from models.data import DetectionData, Record, overlaps
from models.evaluation import average_precision
from models.evaluation.voc_metric import all_point, eleven_point, voc_average_precision

CLASSES = ("cat", "dog")


def record(boxes, labels=None, crowd=None):
    count = len(boxes)
    return Record(
        1,
        Path("x.png"),
        100,
        100,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels if labels is not None else [0] * count, np.int64),
        np.array(crowd if crowd is not None else [False] * count, bool),
    )


def found(score, box, label=0):
    return Detection(CLASSES[label], label, score, box)


def score(records, detections, classes=("cat",)):
    return voc_average_precision(DetectionData(classes, records), detections)


A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (60, 60, 90, 90)


def test_overlap_by_hand():
    # 10x10 and 10x10 shifted by 5: 50 of 150; a quarter inside: 25 of 100; apart; itself; a line.
    others = np.array([[5, 0, 15, 10], [0, 0, 5, 5], [10, 0, 20, 10], [0, 0, 10, 10], [3, 3, 3, 8]])
    assert overlaps(np.array(A), others).tolist() == [50 / 150, 25 / 100, 0, 1, 0]


def test_right_wrong_right():
    """Precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: the best is 1 up to recall 0.5, 2/3 beyond."""
    result = score([record([A, B])], [[found(0.9, A), found(0.8, FAR), found(0.7, B)]])
    assert result.eleven_point == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert result.all_point == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_recall_of_three_tenths_reaches_three_tenths():
    # 3/10 in floating point is below the 0.3 of 3 * 0.1.
    assert eleven_point(np.array([0.1, 0.2, 3 / 10]), np.ones(3)) == pytest.approx(4 / 11)
    assert all_point(np.array([0.1, 0.2, 3 / 10]), np.ones(3)) == pytest.approx(0.3)


def test_precision_that_rises_again():
    # wrong, right: precision 0, 1/2 at recalls 0, 1; the best at every recall is 1/2.
    result = score([record([A])], [[found(0.9, FAR), found(0.8, A)]])
    assert result.eleven_point == result.all_point == pytest.approx(0.5)


def test_a_second_detection_of_an_object_is_a_mistake():
    result = score([record([A, B])], [[found(0.9, A), found(0.8, A), found(0.7, B)]])
    assert result.all_point == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_detection_belongs_to_the_object_it_overlaps_most():
    """The second detection overlaps a taken object by 0.9 and a free one by 0.6: wrong in VOC, right in COCO."""
    objects, second = [(0, 0, 100, 10), (0, 0, 100, 6.5)], (0, 0, 100, 9)
    data = DetectionData(("cat",), [record(objects)])
    detections = [[found(0.9, objects[0]), found(0.8, second)]]
    assert overlaps(np.array(second), np.array(objects)).tolist() == pytest.approx([0.9, 6.5 / 9])
    assert voc_average_precision(data, detections).all_point == pytest.approx(0.5)
    assert average_precision(data, detections).ap50 == pytest.approx(1.0, abs=0.01)


def test_an_overlap_of_exactly_one_half_counts():
    assert score([record([A])], [[found(0.9, (0, 0, 5, 10))]]).all_point == 1.0
    assert score([record([A])], [[found(0.9, (0, 0, 4.9, 10))]]).all_point == 0.0


def test_scores_are_ranked_over_all_images():
    # The mistake of the second image comes before the hit of the first.
    result = score([record([A]), record([])], [[found(0.5, A)], [found(0.6, A)]])
    assert result.all_point == pytest.approx(0.5)


def test_crowd_objects_do_not_count():
    result = score([record([A, B], crowd=[False, True])], [[found(0.9, B), found(0.8, B), found(0.7, A)]])
    assert (result.eleven_point, result.all_point) == (1.0, 1.0)


def test_classes_without_objects_are_left_out():
    result = score([record([A])], [[found(0.9, A), found(0.8, A, 1)]], CLASSES)
    assert result.all_point == 1.0
    assert np.isnan(result.all_point_by_class["dog"]) and result.all_point_by_class["cat"] == 1.0
    nothing = score([record([])], [[]])
    assert np.isnan(nothing.eleven_point) and np.isnan(nothing.all_point)


def test_objects_that_nothing_found():
    result = score([record([A])], [[]])
    assert (result.eleven_point, result.all_point) == (0.0, 0.0)


def test_random_detections_beside_pycocotools():
    """Far apart objects, at most one of a class and place: both rules match alike, COCO's 101 points are near the
    area.
    """
    rng = np.random.default_rng(5)
    records, detections = [], []
    for _ in range(40):
        boxes, labels, seen = [], [], []
        for place in range(4):
            x, y = 50 * (place % 2) + 5, 50 * (place // 2) + 5
            label = int(rng.integers(2))
            boxes.append((x, y, x + 30, y + 30))
            labels.append(label)
            if rng.random() < 0.8:
                dx, dy = rng.uniform(-8, 8, 2)
                guess = label if rng.random() < 0.8 else 1 - label
                seen.append(found(float(rng.random()), (x + dx, y + dy, x + 30 + dx, y + 30 + dy), guess))
        records.append(record(boxes, labels))
        detections.append(seen)
    data = DetectionData(CLASSES, records)
    voc, coco = voc_average_precision(data, detections), average_precision(data, detections)
    assert 0.1 < voc.all_point < 0.6
    assert voc.all_point == pytest.approx(coco.ap50, abs=0.015)
    for name in CLASSES:
        assert voc.all_point_by_class[name] == pytest.approx(coco.ap50_by_class[name], abs=0.015)
