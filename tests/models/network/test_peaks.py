# SPDX-License-Identifier: Apache-2.0
"""Peaks of head outputs."""

import torch

from codenet.fit import place
from codenet.vision.boxes import decode
from models.network.peaks import find_peaks


def outputs(classes=2, size=8):
    return {
        "heatmap": torch.full((1, classes, size, size), -9.0),
        "size": torch.zeros(1, 2, size, size),
        "offset": torch.zeros(1, 2, size, size),
    }


def test_box_by_hand():
    out = outputs()
    out["heatmap"][0, 1, 3, 5] = 2.0
    out["size"][0, :, 3, 5] = torch.tensor([4.0, 2.0])
    out["offset"][0, :, 3, 5] = torch.tensor([0.5, 0.25])
    peaks = find_peaks(out, top=1)[0]
    assert (peaks.x.tolist(), peaks.y.tolist(), peaks.class_index.tolist()) == ([5], [3], [1])
    (detection,) = decode(peaks, ("a", "b"), place((80, 160), (32, 32)))
    # x: (5.5 -+ 2) * 160 / 8, y: (3.25 -+ 1) * 80 / 8
    assert detection.label == "b" and detection.box == (70.0, 22.5, 150.0, 42.5)


def test_neighbours_of_a_peak_are_dropped_and_equal_ones_stay():
    out = outputs(1)
    out["heatmap"][0, 0, 2, 2:4] = torch.tensor([1.0, 0.5])
    out["heatmap"][0, 0, 6, 5:7] = 3.0
    peaks = find_peaks(out, top=3)[0]
    assert list(zip(peaks.x.tolist(), peaks.y.tolist(), strict=True)) == [(5, 6), (6, 6), (2, 2)]


def test_corners_can_be_peaks():
    out = outputs(1, 4)
    for y, x in ((0, 0), (0, 3), (3, 0), (3, 3)):
        out["heatmap"][0, 0, y, x] = 1.0
    assert (find_peaks(out, top=4)[0].logits == 1).all()


def test_flat_heatmap_gives_no_more_than_top():
    assert len(find_peaks(outputs(), top=100)[0].x) == 100
