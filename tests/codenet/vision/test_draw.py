# SPDX-License-Identifier: Apache-2.0
"""Boxes and tags appear where the detections are, on photos of any size."""

import numpy as np
import pytest
from PIL import Image

from codenet.vision.boxes import Detection
from codenet.vision.draw import COLOURS, draw

BLACK = np.zeros((200, 300, 3), np.uint8)


def test_box_edges_have_the_colour_of_the_class():
    image = np.asarray(draw(BLACK, [Detection("cat", 1, 0.5, (50, 60, 150, 160))]))
    for y, x in ((60, 100), (160, 100), (110, 50), (110, 150)):
        assert tuple(image[y, x]) == COLOURS[1], (y, x)
    assert not image[110, 100].any() and not image[180, 100].any()


def test_nothing_to_draw():
    assert np.array_equal(np.asarray(draw(BLACK, [])), BLACK)


def test_the_photo_is_left_alone():
    photo = Image.fromarray(BLACK)
    draw(photo, [Detection("cat", 0, 0.5, (0, 0, 300, 200))])
    assert not np.asarray(photo).any()


@pytest.mark.parametrize("box", [(0, 0, 300, 200), (0, 0, 5, 5), (295, 195, 300, 200), (100, 3, 140, 40), (7, 8, 7, 8)])
def test_tag_is_readable_at_every_border(box):
    image = np.asarray(draw(BLACK, [Detection("potted plant", 0, 0.91, box)]))
    white = np.argwhere((image > 150).all(axis=2))
    assert len(white) > 60
    width = np.ptp(white[:, 1])
    assert width > 60, "the text is cut off"


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (2000, 3000)])
def test_photo_of_any_size(size):
    height, width = size
    image = draw(np.zeros((*size, 3), np.uint8), [Detection("cat", 9, 1.0, (0, 0, width, height))])
    assert image.size == (width, height)
    assert np.asarray(image).any()


def test_best_detection_is_on_top():
    box = (50, 60, 150, 160)
    image = draw(BLACK, [Detection("a", 0, 0.9, box), Detection("b", 1, 0.4, box)])
    assert image.getpixel((100, 160)) == COLOURS[0]
