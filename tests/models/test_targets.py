"""CenterNet's targets and losses against hand-computed values."""

import math

import numpy as np
import pytest
import torch

from models.losses import Batch, detection_loss, focal_loss
from models.targets import draw_peak, gaussian_radius, make_targets


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


def test_peak_by_hand():
    heatmap = np.zeros((5, 5), np.float32)
    draw_peak(heatmap, 1, 2, 1)  # sigma = 3 / 6 = 0.5
    edge, corner = math.exp(-2), math.exp(-4)
    expected = [[0] * 5, [corner, edge, corner, 0, 0], [edge, 1, edge, 0, 0], [corner, edge, corner, 0, 0], [0] * 5]
    assert heatmap == pytest.approx(np.array(expected, np.float32))


def test_peaks_keep_the_larger_value_and_stop_at_the_border():
    heatmap = np.zeros((4, 4), np.float32)
    draw_peak(heatmap, 0, 0, 2)
    before = heatmap.copy()
    draw_peak(heatmap, 3, 3, 1)
    assert heatmap[0, 0] == heatmap[3, 3] == 1
    assert (heatmap >= before).all()


def test_targets_by_hand():
    # On a 16x16 output: centre (5.2, 9.6), size 6.4 x 3.2.
    targets = make_targets(np.array([[2.0, 8.0, 8.4, 11.2]]) / 16, np.array([1]), 3, 16)
    assert targets.index.tolist() == [9 * 16 + 5]
    assert targets.size == pytest.approx(np.array([[6.4, 3.2]], np.float32))
    assert targets.offset == pytest.approx(np.array([[0.2, 0.6]], np.float32), abs=1e-6)
    assert targets.heatmap[1, 9, 5] == 1 and targets.heatmap[[0, 2]].sum() == 0


def test_centre_on_the_far_border_stays_inside():
    targets = make_targets(np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([0]), 1, 8)
    assert targets.index.tolist() == [63] and targets.offset.tolist() == [[1.0, 1.0]]


def test_image_without_boxes():
    targets = make_targets(np.zeros((0, 4)), np.zeros(0, np.int64), 2, 8)
    assert targets.heatmap.sum() == 0 and targets.index.shape == (0,) and targets.size.shape == (0, 2)


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


def test_loss_reads_sizes_at_the_centres():
    outputs = {name: torch.zeros(1, 2, 4, 4) for name in ("heatmap", "size", "offset")}
    outputs["size"][0, :, 2, 3] = torch.tensor([5.0, 1.0])
    batch = Batch(
        images=torch.zeros(1, 3, 16, 16),
        heatmap=torch.zeros(1, 2, 4, 4),
        image=torch.tensor([0]),
        index=torch.tensor([2 * 4 + 3]),
        size=torch.tensor([[3.0, 4.0]]),
        offset=torch.tensor([[0.25, 0.5]]),
    )
    parts = detection_loss(outputs, batch)
    assert parts["size"].item() == 5 and parts["offset"].item() == 0.75
    assert parts["total"].item() == pytest.approx(parts["heatmap"].item() + 0.5 + 0.75)
