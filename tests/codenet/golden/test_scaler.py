# SPDX-License-Identifier: Apache-2.0
"""The scaler's integers are those of the host's resize and conversion."""

import hashlib

import numpy as np
import pytest

from codenet.golden.scaler import contributions, from_yuyv, scale, taps
from codenet.vision.image import load, resize

SIZES = [(48, 64), (45, 80), (64, 64), (33, 47), (7, 200), (200, 5), (1, 1), (64, 2)]
OUTPUTS = [(32, 32), (64, 48), (13, 29), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output_size", OUTPUTS)
def test_streamed_rows_are_those_of_the_hosts_resize(size, output_size):
    photo = np.random.default_rng(1).choice(np.array([0, 1, 127, 254, 255], np.uint8), (*size, 3))
    found = [*scale(iter(photo), size, output_size)]
    assert np.array_equal(found, resize(load(photo), *output_size))


@pytest.mark.parametrize("size", [(480, 640), (720, 1280)])
def test_a_cameras_frame(size):
    photo = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.array_equal([*scale(iter(photo), size, (64, 96))], resize(load(photo), 64, 96))


def test_colours_are_opencvs():
    """The digest is that of cvtColor(frame, COLOR_YUV2RGB_YUYV) of OpenCV 4.6."""
    frame = np.random.default_rng(9).integers(0, 256, (64, 128, 2), dtype=np.uint8)
    digest = hashlib.sha256(np.array([from_yuyv(row) for row in frame]).tobytes()).hexdigest()
    assert digest == "5d35811ac6db280e7ad2e8886d2c8b13d4c46df08acae3b4d26d342854b09fad"


def test_a_row_is_given_as_soon_as_its_last_input_has_come():
    taken = []
    photo = np.zeros((48, 8, 3), np.uint8)
    rows = scale((taken.append(n) or row for n, row in enumerate(photo)), (48, 8), (16, 4))
    for tap in taps(48, 16):
        next(rows)
        assert taken[-1] == tap.first + len(tap.weights) - 1


@pytest.mark.parametrize(("size", "outputs"), [(640, 256), (480, 256), (1280, 256), (720, 512), (640, 512), (513, 512)])
def test_a_pixel_counts_for_three_outputs_at_most(size, outputs):
    assert contributions(size, outputs) <= 3
    for tap in taps(size, outputs):
        assert len(tap.weights) <= 2 * size / outputs + 2 and tap.weights.min() >= 0
        assert abs(int(tap.weights.sum()) - (1 << 22)) <= len(tap.weights)
