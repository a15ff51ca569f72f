# SPDX-License-Identifier: Apache-2.0
"""Boxes from peaks, against cases computed by hand."""

import decimal
import math

import numpy as np
import pytest
from PIL import Image

from codenet.fit import FITS, LETTERBOX, place
from codenet.vision.boxes import Detection, Peaks, decode, nms, sigmoid
from codenet.vision.image import resize


def peaks(*rows, output_size=(64, 64)):
    """Rows of (x, y, class, logit, width, height, offset x, offset y)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    return Peaks(
        x=table[:, 0].astype(int),
        y=table[:, 1].astype(int),
        class_index=table[:, 2].astype(int),
        logits=table[:, 3],
        size=table[:, 4:6],
        offset=table[:, 6:8],
        output_size=output_size,
    )


def stretched(height, width):
    """A photo of this size, stretched to an input of 256x256."""
    return place((height, width), (256, 256))


def test_one_box_by_hand():
    # Centre (10.5, 20.25), 4 x 6 output pixels; the photo has 5 pixels an output column and 3 a row.
    (found,) = decode(peaks((10, 20, 1, 0.0, 4, 6, 0.5, 0.25)), ["cat", "dog"], stretched(3 * 64, 5 * 64))
    assert found == Detection("dog", 1, 0.5, (42.5, 51.75, 62.5, 69.75))
    assert all(type(edge) is float for edge in found.box)


def test_best_first_and_ties_in_order():
    found = decode(
        peaks(*[(n, 0, 0, value, 1, 1, 0, 0) for n, value in enumerate((0, 2, -1, 2))]), ["a"], stretched(64, 64)
    )
    assert [d.box[2] for d in found] == [1.5, 3.5, 0.5, 2.5]
    assert [round(d.score, 4) for d in found] == [0.8808, 0.8808, 0.5, 0.2689]
    found = decode(peaks(*[(n, 0, 0, n % 2, 1, 1, 0, 0) for n in range(60)]), ["a"], stretched(64, 64))
    assert [d.box[2] - 0.5 for d in found] == [*range(1, 60, 2), *range(0, 60, 2)]


@pytest.mark.parametrize("k", [0, 1, 3, 100])
def test_top_k(k):
    found = decode(peaks(*[(n, 0, 0, n, 1, 1, 0, 0) for n in range(5)]), ["a"], stretched(64, 64), top_k=k)
    assert [d.score for d in found] == [float(sigmoid(np.array(n))) for n in (4, 3, 2, 1, 0)][:k]


def test_boxes_end_where_the_photo_ends():
    (found,) = decode(peaks((0, 63, 0, 0, 1000, 1000, 0, 0)), ["a"], stretched(32, 48))
    assert found.box == (0, 0, 48, 32)


def test_box_outside_of_the_photo_is_empty_at_its_edge():
    (found,) = decode(peaks((63, 10, 0, 0, 2, 2, 100, 0)), ["a"], stretched(64, 64))
    assert found.box == (64, 9, 64, 11)


def test_negative_size_counts_as_zero():
    (found,) = decode(peaks((8, 8, 0, 0, -3, 2, 0, 0)), ["a"], stretched(64, 64))
    assert found.box == (8, 7, 8, 9)


def test_an_object_found_twice_is_one():
    # Boxes of 10 x 10, the second shifted by 2: 80 / 120 is above 0.6; the third by 3: 70 / 130 is not.
    rows = [(20, 20, 0, 1.0, 10, 10, 0, 0), (22, 20, 0, 2.0, 10, 10, 0, 0), (25, 20, 0, 0.0, 10, 10, 0, 0)]
    found = decode(peaks(*rows), ["a", "b"], stretched(64, 64))
    assert [d.box[0] for d in found] == [17, 20]
    assert len(decode(peaks(*rows), ["a", "b"], stretched(64, 64), iou_threshold=1)) == 3
    assert [d.box[0] for d in decode(peaks(*rows), ["a", "b"], stretched(64, 64), iou_threshold=0.5)] == [17]
    other = [(*row[:2], n % 2, *row[3:]) for n, row in enumerate(rows)]
    assert len(decode(peaks(*other), ["a", "b"], stretched(64, 64))) == 3, "of two classes"


def test_a_suppressed_box_suppresses_none():
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]], float)
    assert nms(boxes, np.zeros(3, int), 0.6).tolist() == [0, 2]
    assert nms(boxes[1:], np.zeros(2, int), 0.6).tolist() == [0]


def test_suppression_against_loops():
    rng = np.random.default_rng(7)
    corner, sides = rng.uniform(0, 20, (200, 2)), rng.uniform(0, 15, (200, 2))
    sides[::17] = 0  # empty boxes overlap nothing
    boxes, classes = np.concatenate([corner, corner + sides], axis=1), rng.integers(0, 3, 200)
    expected = []
    for n in range(200):
        for k in expected:
            width, height = np.minimum(boxes[n, 2:], boxes[k, 2:]) - np.maximum(boxes[n, :2], boxes[k, :2])
            common = max(width, 0) * max(height, 0)
            union = np.prod(sides[n]) + np.prod(sides[k]) - common
            if classes[n] == classes[k] and common > 0.4 * union:
                break
        else:
            expected.append(n)
    assert nms(boxes, classes, 0.4).tolist() == expected
    assert 20 < len(expected) < 180


def test_no_peaks():
    assert decode(peaks(), ["a"], stretched(64, 64)) == []


def test_photo_of_one_pixel():
    (found,) = decode(peaks((32, 32, 0, 0, 64, 64, 0, 0)), ["a"], stretched(1, 1))
    assert found.box == (0, 0, 1, 1)


def test_output_that_is_not_square():
    (found,) = decode(peaks((4, 2, 0, 0, 2, 2, 0, 0), output_size=(4, 8)), ["a"], stretched(40, 80))
    assert found.box == (30, 10, 50, 30)


def test_sigmoid_at_the_ends():
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.array([-128.0, 0.0, 128.0])).tolist() == pytest.approx([0, 0.5, 1])
    assert sigmoid(np.array(np.log(3))) == pytest.approx(0.75)


def test_sigmoid_of_many_values():
    x = np.concatenate(
        [np.random.default_rng(1).uniform(-40, 40, 2000), np.arange(-600, 601, 7) / 64, [1e-300, -1e-17]]
    )
    with decimal.localcontext() as context:
        context.prec = 50
        for value, found in zip(x.tolist(), sigmoid(x).tolist(), strict=True):
            exact = 1 / (1 + (-decimal.Decimal(value)).exp())
            assert abs(decimal.Decimal(found) - exact) <= 2 * decimal.Decimal(math.ulp(found)), value


def test_sigmoid_never_falls():
    values = sigmoid(np.arange(-32768, 32768) / 256)
    assert (np.diff(values) >= 0).all()


def test_sigmoid_is_the_same_on_every_machine():
    """The same steps with Python's numbers, each of which is rounded once, as IEEE 754 says."""
    high, low = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
    assert high + low == math.log(2)
    for x in np.random.default_rng(2).uniform(-30, 30, 500).tolist():
        k = round(abs(x) * (1 / high))
        r = (k * high - abs(x)) + k * low
        power = 1.0
        for n in range(13, 0, -1):
            power = power * r / n + 1.0
        power = math.ldexp(power, -k)
        assert sigmoid(np.array([x]))[0] == (power if x < 0 else 1.0) / (1.0 + power)


def test_letterboxed_box_by_hand():
    # 100 rows and 400 columns in 128x256: 64 rows of the input from 32 on, which are rows 8 to 24 of the output; an
    # output pixel is 6.25 pixels of the photo. Centre (10.5, 12.25), 4 x 6 output pixels.
    placement = place((100, 400), (128, 256), LETTERBOX)
    rows = peaks((10, 12, 0, 0.0, 4, 6, 0.5, 0.25), output_size=(32, 64))
    (found,) = decode(rows, ["a"], placement)
    assert found.box == (8.5 * 6.25, 1.25 * 6.25, 12.5 * 6.25, 7.25 * 6.25)


def test_letterboxed_boxes_end_where_the_photo_ends():
    (found,) = decode(peaks((32, 32, 0, 0, 64, 64, 0, 0)), ["a"], place((100, 400), (256, 256), LETTERBOX))
    assert found.box == (0, 0, 400, 100)
    (found,) = decode(peaks((32, 2, 0, 0, 4, 4, 0, 0)), ["a"], place((100, 400), (256, 256), LETTERBOX))
    assert found.box[1] == found.box[3] == 0, "in the grey above it"


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("photo_size", [(300, 451), (451, 300), (97, 640), (640, 97), (384, 640)])
@pytest.mark.parametrize("input_size", [(384, 640), (640, 384), (256, 256)])
def test_a_box_seen_in_the_input_is_the_one_of_the_photo(photo_size, input_size, fit):
    """A white rectangle, found again by looking at the input's pixels."""
    height, width = photo_size
    true = (width // 5, height // 4, 4 * width // 5, 2 * height // 3)
    photo = Image.new("RGB", (width, height))
    photo.paste((255, 255, 255), true)
    rows, columns = (np.flatnonzero(seen) for seen in white(resize(photo, *input_size, fit)))
    low, high = np.array([columns[0], rows[0]]) / 4, np.array([columns[-1] + 1, rows[-1] + 1]) / 4
    centre, size = (low + high) / 2, high - low
    peak = peaks((0, 0, 0, 0, *size, *centre), output_size=(input_size[0] // 4, input_size[1] // 4))
    (found,) = decode(peak, ["a"], place(photo_size, input_size, fit))
    pixel = max(height / len(rows) * (true[3] - true[1]) / height, width / len(columns) * (true[2] - true[0]) / width)
    assert np.abs(np.subtract(found.box, true)).max() <= pixel, "an input pixel"


def white(pixels):
    """Rows and columns of an input with pixels that are rather white."""
    bright = (pixels > 127).all(axis=-1)
    return bright.any(axis=1), bright.any(axis=0)
