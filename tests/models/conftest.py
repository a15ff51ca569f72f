# SPDX-License-Identifier: Apache-2.0
"""What the tests of models share: tiny data sets, the real data if it is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models.data.sets import Photo

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def real_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"real data is not at {DATA}")
    return DATA


def square(size: int, box: tuple[int, int, int, int], color: tuple[int, int, int]) -> np.ndarray:
    """A dark picture with one bright rectangle."""
    image = np.full((size, size, 3), 40, np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = color
    return image


@pytest.fixture
def coco_folder(tmp_path: Path) -> Path:
    """Two images: a red square of class cat, a blue one of class dog with a crowd box; a third class is unused."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    Image.fromarray(square(64, (8, 8, 40, 40), (220, 30, 30))).save(folder / "images" / "one.png")
    Image.fromarray(square(64, (20, 24, 60, 56), (30, 30, 220))).save(folder / "images" / "two.png")
    content = {
        "images": [
            {"id": 7, "file_name": "one.png", "width": 64, "height": 64},
            {"id": 9, "file_name": "two.png", "width": 64, "height": 64},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [8, 8, 32, 32], "area": 1024, "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 5, "bbox": [20, 24, 40, 32], "area": 1280, "iscrowd": 0},
            {"id": 3, "image_id": 9, "category_id": 5, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 8, "name": "cow"}],
    }
    (folder / "instances_train.json").write_text(json.dumps(content))
    (folder / "instances_val.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def photo(tmp_path):
    """Makes a photo of noise, stored with an orientation tag, and its boxes."""

    def make(name="a.png", size=(60, 40), boxes=(("cat", 5, 6, 30, 35),), orientation=1):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)
        return Photo(path, tuple(boxes))

    return make


VOC_XML = """<annotation><filename>{name}.jpg</filename><size><width>{width}</width><height>{height}</height>
<depth>3</depth></size>{objects}</annotation>"""

VOC_OBJECT = """<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax>
</bndbox></object>"""


@pytest.fixture
def voc_folder(tmp_path: Path) -> Path:
    """One image of 50x40 with two raccoons."""
    folder = tmp_path / "voc"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (50, 40), (90, 90, 90)).save(folder / "JPEGImages" / "a.jpg")
    objects = VOC_OBJECT.format(1, 1, 50, 40, name="raccoon") + VOC_OBJECT.format(11, 6, 20, 15, name="raccoon")
    xml = VOC_XML.format(name="a", width=50, height=40, objects=objects)
    (folder / "Annotations" / "a.xml").write_text(xml)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    return folder
