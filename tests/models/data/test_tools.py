# SPDX-License-Identifier: Apache-2.0
"""Exports of different tools: one set, the same data."""

from xml.etree import ElementTree

import numpy as np
import pytest

from models.data import load_data
from tests.models.data.sets import WRITERS, Photo


def raccoons(folder, split, count=5):
    """The first photos of a split, read by hand: VOC counts from 1."""
    stems = sorted((folder / "ImageSets" / "Main" / f"{split}.txt").read_text().split())[:count]
    for stem in stems:
        root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        corners = [
            [int(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
            for item in root.iter("object")
        ]
        boxes = tuple(("raccoon", x0 - 1, y0 - 1, x1, y1) for x0, y0, x1, y1 in corners)
        yield Photo(folder / "JPEGImages" / f"{stem}.jpg", boxes)


def check_equal(splits, folder):
    for name, write in WRITERS.items():
        write(folder / name, splits)
        for split, photos in splits.items():
            data = load_data(folder / name, split, trainable=True)
            assert data.classes == tuple(sorted({box[0] for photo in photos for box in photo.boxes})), name
            assert [record.path.name for record in data] == [photo.path.name for photo in photos], name
            assert [(record.width, record.height) for record in data] == [photo.size for photo in photos], name
            for record, photo in zip(data, photos, strict=True):
                assert record.path.read_bytes() == photo.path.read_bytes()
                assert record.boxes.tolist() == [list(box[1:]) for box in photo.boxes], name
                assert [data.classes[label] for label in record.labels] == [box[0] for box in photo.boxes], name
                assert not record.crowd.any() and record.boxes.dtype == np.float32
            assert data.warnings == []


def test_raccoons_of_four_tools_are_the_same_data(real_data, tmp_path):
    check_equal({split: list(raccoons(real_data / "raccoon", split)) for split in ("train", "val")}, tmp_path)


def test_a_set_of_four_tools_is_the_same_data(photo, tmp_path):
    first = photo("a 1.png", boxes=(("cat", 5, 6, 30, 35), ("dog", 0, 0, 60, 40)))
    splits = {
        "train": [first, photo("b.v2.png", (31, 77), (("dog", 3, 1, 31, 77),)), photo("c.png", boxes=())],
        "val": [photo("d.png", (33, 21), (("dog", 1, 2, 32, 20), ("cat", 4, 4, 9, 9)))],
        "test": [photo("e.png", (64, 64), (("cat", 10, 0, 20, 64), ("dog", 8, 8, 16, 16)))],
    }
    check_equal(splits, tmp_path / "sets")


@pytest.mark.parametrize("tool", WRITERS)
def test_every_format_lists_the_splits_that_are_there(photo, tmp_path, tool):
    from codenet.errors import CodenetError

    WRITERS[tool](tmp_path / "set", {"train": [photo("a.png")], "val": [photo("b.png")]})
    with pytest.raises(CodenetError, match="no annotations of split 'night': .* has .*[tT]rain.*[vV]al"):
        load_data(tmp_path / "set", "night")
