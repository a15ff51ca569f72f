# SPDX-License-Identifier: Apache-2.0
"""Photos and frames in, boxes and pictures out."""

from codenet.vision.boxes import IOU_THRESHOLD, TOP_K, Detection, Peaks, decode, nms
from codenet.vision.draw import COLOURS, caption
from codenet.vision.image import Prepared, Source, load, prepare, resize, to_activation

__all__ = [
    "COLOURS",
    "Detection",
    "IOU_THRESHOLD",
    "Peaks",
    "Prepared",
    "Source",
    "TOP_K",
    "caption",
    "decode",
    "load",
    "nms",
    "prepare",
    "resize",
    "to_activation",
]
