# SPDX-License-Identifier: Apache-2.0
"""Names of classes: the lists of Pascal VOC and COCO, and what ``--classes`` may be."""

from __future__ import annotations

from collections.abc import Sequence

#: The classes of the shipped detector.
ANIMALS = ("person", "cat", "dog", "horse", "sheep", "cow")

#: Pascal VOC, all years, in the order of its development kit.
VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

#: COCO 2014 and 2017, in the order of the category numbers (which have gaps).
COCO = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
    *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors"),
    *("teddy bear", "hair drier", "toothbrush"),
)

#: Lists that ``--classes`` knows by one word.
LISTS = {"animals": ANIMALS, "voc": VOC, "coco": COCO}


def named_classes(words: Sequence[str]) -> tuple[str, ...] | None:
    """Class names that the words of ``--classes`` stand for; None for ``auto``, which is all classes of the data."""
    if list(words) == ["auto"]:
        return None
    if len(words) == 1 and words[0] in LISTS:
        return LISTS[words[0]]
    return tuple(word.strip() for word in words)
