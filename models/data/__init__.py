# SPDX-License-Identifier: Apache-2.0
"""Data sets: annotations in COCO, VOC and YOLO form, photos, and their augmentation."""

from models.data.annotations import DetectionData, Record
from models.data.augment import Augmentation, Sample
from models.data.classes import ANIMALS, COCO, LISTS, named_classes
from models.data.image_cache import cached_images, read_image
from models.data.load import load_data, split_of
from models.data.overlaps import overlaps
from models.data.teacher import TeacherBoxes, with_teacher

__all__ = [
    "ANIMALS",
    "Augmentation",
    "COCO",
    "DetectionData",
    "LISTS",
    "Record",
    "Sample",
    "TeacherBoxes",
    "cached_images",
    "load_data",
    "named_classes",
    "overlaps",
    "read_image",
    "split_of",
    "with_teacher",
]
