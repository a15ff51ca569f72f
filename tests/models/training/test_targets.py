# SPDX-License-Identifier: Apache-2.0
"""Targets and losses against hand-computed values."""

import math

import numpy as np
import pytest
import torch

from models.training.losses import Batch, detection_loss, focal_loss, generalized_iou
from models.training.targets import draw_gaussian, gaussian_radius, make_targets


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0, width) * max(0, height)
    area = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return overlap / (sum(area) - overlap)


@pytest.mark.parametrize(("width", "height"), [(10, 10), (40, 6), (1, 30), (0.5, 0.5)])
def test_radius_keeps_the_overlap(width, height):
    r = gaussian_radius(width, height)
    box = (0, 0, width, height)
    moved = [(r, r, width + r, height + r), (r, r, width - r, height - r), (-r, -r, width + r, height + r)]
    overlaps = [iou(box, other) for other in moved]
    # The tightest of the three cases meets the bound exactly, the others keep more.
    assert min(overlaps) == pytest.approx(0.7)


def test_gaussian_by_hand():
    # x: radius 1, deviation 1/2; y: radius 0.
    peak = draw_gaussian((4, 5), (1, 2), (1, 0))
    expected = np.zeros((4, 5), np.float32)
    expected[2, :3] = math.exp(-2), 1, math.exp(-2)
    assert peak == pytest.approx(expected) and peak.dtype == np.float32


def test_gaussian_stops_at_the_border():
    peak = draw_gaussian((4, 4), (0, 3), (2, 9))
    assert peak[3, 0] == 1 and (peak[:, 3] == 0).all() and (peak[:, 2] > 0).all()


def test_targets_by_hand():
    # On a 16x16 output: centre (5.2, 9.6), size 6.4 x 3.2, so radius 1 and 0.
    targets = make_targets(np.array([[2.0, 8.0, 8.4, 11.2]]) / 16, np.array([1]), 3, (16, 16))
    assert targets.index.tolist() == [9 * 16 + 4, 9 * 16 + 5, 9 * 16 + 6]
    assert targets.box == pytest.approx(np.tile(np.array([2.0, 8.0, 8.4, 11.2], np.float32), (3, 1)), abs=1e-5)
    assert targets.heatmap[1, 9, 5] == 1 and targets.heatmap[[0, 2]].sum() == 0
    side, total = math.exp(-2), math.log1p(6.4 * 3.2)
    assert targets.weight == pytest.approx(np.array([side, 1, side]) * total / (1 + 2 * side), rel=1e-5)


def test_smaller_boxes_win_where_boxes_meet():
    boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0.0, 0.0, 1.0, 1.0]])
    targets = make_targets(boxes, np.array([0, 0]), 1, (32, 32))
    small = (targets.box[:, 2] - targets.box[:, 0]) < 10
    owners = np.full(32 * 32, -1)
    owners[targets.index] = np.where(small, 0, 1)
    # Both have their centre in pixel (16, 16): the smaller one keeps it. Each box's weights sum to log(1 + area).
    assert owners[16 * 32 + 16] == 0 and owners[16 * 32 + 20] == 1
    for which, side in ((small, 6.4), (~small, 32)):
        assert targets.weight[which].sum() == pytest.approx(math.log1p(side**2), rel=1e-5)


def test_peaks_are_narrower_than_what_learns_the_box():
    targets = make_targets(np.array([[0.1, 0.1, 0.9, 0.9]]), np.array([0]), 1, (50, 50))
    # A side of 40: the radius of CornerNet is 3.27 (the box may shrink by it on each side), of the region 0.27 * 40.
    assert gaussian_radius(40, 40) == pytest.approx(3.267, abs=1e-3)
    assert (targets.heatmap > 0).sum() == 7**2 and len(targets.index) == 21**2


def test_a_large_box_keeps_its_centre_inside_of_a_smaller_one():
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [0.4, 0.4, 0.7, 0.7]])
    targets = make_targets(boxes, np.array([0, 0]), 1, (32, 32))
    at_centre = targets.box[targets.index.tolist().index(16 * 32 + 16)]
    assert at_centre.tolist() == [0, 0, 32, 32]
    assert (targets.heatmap[0] == 1).sum() == 2


def test_centre_on_the_far_border_stays_inside():
    targets = make_targets(np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([0]), 1, (8, 8))
    assert targets.index.tolist() == [63] and targets.box.tolist() == [[8, 8, 8, 8]] and targets.weight.tolist() == [0]


def test_image_without_boxes():
    targets = make_targets(np.zeros((0, 4)), np.zeros(0, np.int64), 2, (8, 8))
    assert targets.heatmap.sum() == 0 and targets.index.shape == (0,)
    assert targets.box.shape == (0, 4) and targets.weight.shape == (0,)


def test_focal_loss_by_hand():
    logits = torch.tensor([[[[0.0, 0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    # p = 1/2 everywhere: (1/4 + 1/16 * 1/4 + 1/4) * log 2, one peak.
    assert focal_loss(logits, target).item() == pytest.approx((0.25 + 0.25 / 16 + 0.25) * math.log(2))


def test_focal_loss_is_finite_for_extreme_logits():
    logits = torch.tensor([[[[1e4, -1e4]]]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[[[0.0, 1.0]]]]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        ((0, 0, 2, 2), 1.0),  # equal
        ((1, 0, 3, 2), 2 / 6),  # the hull is the union
        ((4, 0, 6, 2), -4 / 12),  # apart
        ((1, 1, 3, 3), 1 / 7 - 2 / 9),
        ((1, 1, 0, 0), -0.0),  # turned inside out: empty
    ],
)
def test_generalized_iou_by_hand(a, expected):
    b = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert generalized_iou(torch.tensor([a]).float(), b).item() == pytest.approx(expected)


def batch_with(box, index=2 * 4 + 3, weight=1.0):
    return Batch(
        images=torch.zeros(1, 3, 16, 16),
        heatmap=torch.zeros(1, 2, 4, 4),
        image=torch.tensor([0]),
        index=torch.tensor([index]),
        box=torch.tensor([box]),
        weight=torch.tensor([weight]),
    )


def test_loss_reads_boxes_at_their_pixels():
    outputs = {name: torch.zeros(1, 2, 4, 4) for name in ("heatmap", "size", "offset")}
    outputs["size"][0, :, 2, 3] = torch.tensor([4.0, 2.0])
    outputs["offset"][0, :, 2, 3] = torch.tensor([-1.0, 0.5])
    # Centre (3 - 1, 2 + 0.5): the box is (0, 1.5) to (4, 3.5).
    parts = detection_loss(outputs, batch_with([0.0, 1.5, 4.0, 3.5]))
    assert parts["overlap"].item() == pytest.approx(0) and parts["distance"].item() == pytest.approx(0)
    parts = detection_loss(outputs, batch_with([0.0, 1.5, 2.0, 3.5], weight=7.0))
    # Half of the predicted box; the centre is 1 off, the width 2.
    assert parts["overlap"].item() == pytest.approx(0.5) and parts["distance"].item() == pytest.approx(3)
    assert parts["total"].item() == pytest.approx(parts["heatmap"].item() + 5 * 0.5 + 0.1 * 3)


def test_a_size_below_zero_finds_its_way_back():
    outputs = {name: torch.zeros(1, 2, 4, 4, requires_grad=True) for name in ("heatmap", "size", "offset")}
    sizes = torch.full((1, 2, 4, 4), -3.0, requires_grad=True)
    detection_loss({**outputs, "size": sizes}, batch_with([0.0, 1.5, 2.0, 3.5]))["total"].backward()
    assert (sizes.grad[0, :, 2, 3] < 0).all()


def test_batch_without_boxes_has_no_box_loss():
    outputs = {name: torch.zeros(1, 2, 4, 4, requires_grad=True) for name in ("heatmap", "size", "offset")}
    batch = batch_with([0.0, 0.0, 1.0, 1.0])
    for name in ("image", "index", "box", "weight"):
        setattr(batch, name, getattr(batch, name)[:0])
    parts = detection_loss(outputs, batch)
    assert parts["overlap"].item() == 0 and parts["distance"].item() == 0
    parts["total"].backward()
