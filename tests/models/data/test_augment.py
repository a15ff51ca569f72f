# SPDX-License-Identifier: Apache-2.0
"""Augmentation: boxes follow what is in the picture."""

import numpy as np
import pytest

from codenet.errors import CodenetError
from models.data.augment import Augmentation, turn_hue, view

STILL = Augmentation(scale=(1.0, 1.0), aspect=1.0, flip=0.0, jitter=0.0)


def picture(box, size=64, colour=(230, 230, 230)):
    """A black image with one bright rectangle."""
    image = np.zeros((size, size, 3), np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = colour
    return image


def found(image, colour=(230, 230, 230)):
    """Corners of what is as bright as a colour in the same channels, and dark in the others; grey 114 is neither."""
    bright = np.array(colour) > 0
    ys, xs = np.nonzero(((image > 115) == bright).all(axis=2) & ((image < 100) == ~bright).all(axis=2))
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_view_of_everything_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert (view(image, (0, 0, 1, 1), 32, 32) == image).all()


def test_view_beyond_the_image_is_grey():
    canvas = view(np.full((32, 32, 3), 200, np.uint8), (-0.5, 0, 1.5, 2), 64, 64)
    assert (canvas[:32, 16:48] == 200).all()
    assert (canvas[32:] == 114).all() and (canvas[:, :16] == 114).all() and (canvas[:, 48:] == 114).all()


def test_view_of_other_sides_than_the_image():
    image = picture((0, 0, 32, 64))
    canvas = view(image, (0, 0, 1, 1), 16, 48)
    assert canvas.shape == (16, 48, 3) and found(canvas) == [0, 0, 24, 16]


def test_boxes_move_with_the_picture():
    rng = np.random.default_rng(3)
    image = picture((8, 16, 32, 40))
    box = np.array([[8, 16, 32, 40]]) / 64
    augmentation = Augmentation(scale=(0.5, 1.6), jitter=0.0)
    seen = 0
    for _ in range(30):
        out, boxes, labels = augmentation(image, box, np.array([4]), (128, 128), rng)
        assert out.shape == (128, 128, 3) and out.dtype == np.uint8
        if len(boxes):
            seen += 1
            assert labels.tolist() == [4]
            assert np.abs(boxes[0] * 128 - found(out)).max() <= 2.5
    assert seen > 15


def test_boxes_out_of_view_are_dropped():
    augmentation = Augmentation(scale=(0.5, 0.5), aspect=1.0, flip=0.0)
    boxes = np.array([[0, 0, 0.1, 0.1], [0.9, 0, 1, 0.1], [0, 0.9, 0.1, 1], [0.9, 0.9, 1, 1]])
    image = np.zeros((64, 64, 3), np.uint8)
    kept = [
        len(augmentation(image, boxes, np.arange(4), (64, 64), np.random.default_rng(seed))[1]) for seed in range(20)
    ]
    # A view of half the side reaches at most one of the four corners.
    assert max(kept) <= 1


def test_mosaic_shows_four_images_with_their_boxes():
    """Four rectangles of different colours: each box lies around what has its colour, in its own corner of the
    picture.
    """
    colours = ((230, 0, 0), (0, 230, 0), (0, 0, 230), (230, 230, 0))
    samples = [
        (picture((16, 16, 48, 40), colour=colour), np.array([[16, 16, 48, 40]]) / 64, np.array([n]))
        for n, colour in enumerate(colours)
    ]
    augmentation = Augmentation(jitter=0.0, flip=0.0, mosaic_scale=(0.5, 0.9))
    rng = np.random.default_rng(2)
    seen = []
    for _ in range(20):
        out, boxes, labels = augmentation.combine(samples, (192, 192), rng)
        assert out.shape == (192, 192, 3) and out.dtype == np.uint8
        corners = []
        for box, label in zip(boxes, labels.tolist(), strict=True):
            assert np.abs(box * 192 - found(out, colours[label])).max() <= 4, label
            corners.append((label, *(box[:2] + box[2:])))
        for one, x, y in corners:
            for other, u, v in corners:
                # Labels count the corners row by row.
                assert one % 2 >= other % 2 or x < u
                assert one // 2 >= other // 2 or y < v
        seen += labels.tolist()
    assert set(seen) == {0, 1, 2, 3} and len(seen) > 40


def test_mosaic_flips_as_a_whole():
    sample = (picture((0, 0, 16, 64)), np.array([[0, 0, 0.25, 1.0]]), np.array([0]))
    plain, mirrored = (
        Augmentation(jitter=0.0, flip=flip, keep=0.0).combine([sample] * 4, (128, 128), np.random.default_rng(5))
        for flip in (0.0, 1.0)
    )
    assert (plain[0][:, ::-1] == mirrored[0]).all()
    assert np.allclose(plain[1][:, [0, 2]], 1 - mirrored[1][:, [2, 0]]) and len(plain[1]) >= 4


@pytest.mark.parametrize("part", [0.1, -0.25, 0.5])
def test_hue_turns_around_grey(part):
    grey = np.array([[100.0, 100.0, 100.0]], np.float32)
    assert np.allclose(turn_hue(grey, part), grey, atol=0.1)
    colours = np.array([[120.0, 100.0, 90.0], [90.0, 130.0, 110.0]], np.float32)
    turned = turn_hue(colours, part)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.allclose(turned @ weights, colours @ weights, atol=0.1)
    assert np.allclose(turn_hue(turned, -part), colours, atol=0.1)


def test_hue_of_pure_colours():
    """A third of a turn leads from red to another of the three colours, half of one to where red is least."""
    red = np.array([200.0, 0.0, 0.0], np.float32)
    thirds = [int(turn_hue(red, part).argmax()) for part in (0, 1 / 3, 2 / 3, 1)]
    assert thirds in ([0, 1, 2, 0], [0, 2, 1, 0])
    assert turn_hue(red, 0.5).argmin() == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": (0.0, 1.0)}, "scale is 0.0 to 1.0, expected a range above 0"),
        ({"mosaic_scale": (0.9, 0.5)}, "mosaic_scale is 0.9 to 0.5"),
        ({"hue": 0.6}, "hue is 0.6, expected 0 to 0.5"),
        ({"mosaic": -0.1}, "mosaic is -0.1, expected 0 to 1"),
        ({"aspect": 0.9}, "aspect is 0.9, expected 1 or more"),
    ],
)
def test_values_out_of_range(values, message):
    with pytest.raises(CodenetError, match=message):
        Augmentation(**values)
