# SPDX-License-Identifier: Apache-2.0
"""Training with all data on the device: views, targets and losses are those of the batches made photo by photo."""

import numpy as np
import pytest
import torch

from codenet.errors import CodenetError
from models.data import Augmentation, DetectionData, Record, load_data
from models.data.augment import view
from models.network import CoDeNet, load_checkpoint, load_network
from models.network.config import PIXEL_OFFSET, PIXEL_SCALE
from models.quantization import load_quantized
from models.training.losses import Batch, detection_loss
from models.training.resident import (
    Boxes,
    Budget,
    Recipe,
    Shape,
    Step,
    Views,
    dense_loss,
    dense_targets,
    padded_boxes,
    resident_photos,
    run,
    train_float,
    train_quantized,
)
from models.training.resident.run import Order, learning_rate
from models.training.targets import make_targets
from models.training.trainer import TrainConfig
from tests.models.common import TINY

CPU = torch.device("cpu")
CLASSES = ("cat", "dog")
STILL = Augmentation(scale=(1.0, 1.0), aspect=1.0, flip=0.0, jitter=0.0, mosaic_scale=(1.0, 1.0))


def record(boxes, labels, size=(100, 50), confidence=None, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.array(crowd, bool)
    values = None if confidence is None else np.array(confidence, np.float32)
    return Record(1, None, *size, boxes, np.array(labels, np.int64), crowd, values)


def photos_of(images, records):
    return resident_photos(DetectionData(CLASSES, records), np.stack(images), CPU)


@pytest.fixture
def photos():
    rng = np.random.default_rng(3)
    images = [np.kron(rng.integers(0, 256, (10, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(5)]
    boxes = [[[10, 5, 60, 40]], [], [[0, 0, 100, 50], [20, 20, 30, 30]], [[50, 10, 90, 45]], [[5, 5, 50, 25]]]
    return photos_of(images, [record(b, [n % 2 for n in range(len(b))]) for b in boxes])


@pytest.mark.parametrize(
    "region", [(0, 0, 1, 1), (0.25, 0.125, 0.75, 0.875), (0.1, 0.3, 0.4, 0.7), (-0.5, -0.25, 1.5, 1.75)]
)
@pytest.mark.parametrize("size", [80, 64, 128])  # the last region ends on whole pixels of each, as Pillow's pictures do
def test_view_is_pillows(photos, region, size):
    views = Views(photos, STILL, size)
    edges = torch.tensor([[region[0], region[2]]]), torch.tensor([[region[1], region[3]]])
    place = torch.tensor([[0.0, size]])
    found = views._render(torch.tensor([2]), edges, (place, place), torch.tensor([False]))
    pixels = photos.pixels[2].permute(0, 2, 1).numpy()
    expected = view(pixels, region, size, size)
    difference = np.abs(found[0].permute(1, 2, 0).numpy() + PIXEL_OFFSET - expected)
    assert difference.max() <= 1.01  # both passes of Pillow round


def test_views_draw_boxes_where_the_objects_are():
    """A white square on black in a box: wherever a picture shows white, its box is, and nowhere else."""
    image = np.zeros((60, 60, 3), np.uint8)
    image[12:36, 30:54] = 255
    photos = photos_of([image] * 4, [record([[50, 10, 90, 30]], [1])] * 4)
    views = Views(photos, Augmentation(scale=(0.6, 1.4), aspect=1.5, jitter=0.0, keep=0.0), 64)
    torch.manual_seed(0)
    for pictures, boxes in (views.single(torch.arange(4)), views.mosaic(torch.tensor([[0, 1, 2, 3]] * 3))):
        for picture, corners, confidence in zip(pictures, boxes.corners, boxes.confidence, strict=True):
            drawn = torch.zeros(64, 64)
            for x0, y0, x1, y1 in corners[confidence > 0] * 64:
                drawn[round(float(y0)) : round(float(y1)), round(float(x0)) : round(float(x1))] = 1
            white = (picture.mean(dim=0) > (200 - PIXEL_OFFSET) / PIXEL_SCALE).float()
            # At most the pixels of the border differ, of which a box of n x n has 4 n.
            assert (drawn - white).abs().sum() <= 4 * 64 * 0.5 and (white.sum() == 0) == (drawn.sum() == 0)


def test_still_view_is_the_photo(photos):
    pictures, boxes = Views(photos, STILL, 80).single(torch.arange(5))
    expected = (photos.pixels.permute(0, 2, 1, 3).float() - PIXEL_OFFSET) / PIXEL_SCALE
    torch.testing.assert_close(pictures, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes.corners, photos.boxes.corners)


def test_flip_mirrors_picture_and_boxes(photos):
    plain, mirrored = (Views(photos, Augmentation((1, 1), 1, flip, 0), 80).single(torch.arange(5)) for flip in (0, 1))
    torch.testing.assert_close(plain[0].flip(3), mirrored[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(1 - plain[1].corners[..., 0], mirrored[1].corners[..., 2])


def test_colours_change_but_greys_stay_grey(photos):
    torch.manual_seed(1)
    grey = torch.zeros(16, 3, 8, 8) + torch.linspace(-100, 100, 8)
    for augmentation in (Augmentation(jitter=0.0, hue=0.4), Augmentation(jitter=0.4, hue=0.4)):
        changed = Views(photos, augmentation, 8)._color(grey)
        torch.testing.assert_close(changed[:, 0], changed[:, 1], atol=1e-3, rtol=0)
        torch.testing.assert_close(changed[:, 0], changed[:, 2], atol=1e-3, rtol=0)
    torch.testing.assert_close(Views(photos, Augmentation(jitter=0.0, hue=0.4), 8)._color(grey) * PIXEL_SCALE, grey)


def test_boxes_are_padded_largest_first_without_crowds():
    boxes = padded_boxes([record([[0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 90, 50]], [0, 1, 1], crowd=[0, 0, 1])], CPU, 3)
    assert boxes.confidence.tolist() == [[1, 1, 0]] and boxes.labels.tolist() == [[1, 0, 0]]
    assert boxes.corners[0, 0].tolist() == [0, 0, 0.5, 1]
    assert padded_boxes([record([[0, 0, 10, 10], [0, 0, 50, 50]], [0, 1])], CPU, 1).labels.tolist() == [[1]]


def random_boxes(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    corner, extent = torch.rand(n, m, 2, generator=generator), torch.rand(n, m, 2, generator=generator) ** 2
    corners = torch.cat([corner * (1 - extent), corner * (1 - extent) + extent], dim=2)
    labels = torch.randint(3, (n, m), generator=generator)
    return Boxes(corners, labels, (torch.rand(n, m, generator=generator) < 0.7).float())


@pytest.mark.parametrize("seed", range(4))
def test_targets_and_loss_are_those_of_a_photo_at_a_time(seed):
    boxes, size = random_boxes(3, 7, seed), 24
    dense = dense_targets(boxes, 3, size)
    torch.manual_seed(seed)
    outputs = {"heatmap": torch.randn(3, 3, size, size), "size": torch.rand(3, 2, size, size) * 9}
    outputs["offset"] = torch.rand(3, 2, size, size)
    parts = []
    for n in range(3):
        there = boxes.confidence[n] > 0
        targets = make_targets(boxes.corners[n][there].numpy(), boxes.labels[n][there].numpy(), 3, (size, size))
        np.testing.assert_allclose(dense.heatmap[n], targets.heatmap, atol=1e-6)
        assert ((dense.peaks[n] == 1).numpy() == (targets.heatmap == 1)).all()
        weight = np.zeros(size * size, np.float32)
        weight[targets.index] = targets.weight
        np.testing.assert_allclose(dense.weight[n].flatten(), weight, atol=1e-4)
        parts.append(targets)
    batch = Batch(
        torch.zeros(3, 3, 1, 1),
        torch.from_numpy(np.stack([t.heatmap for t in parts])),
        torch.cat([torch.full((len(t.index),), n) for n, t in enumerate(parts)]),
        *(torch.from_numpy(np.concatenate([getattr(t, name) for t in parts])) for name in ("index", "box", "weight")),
    )
    expected, found = detection_loss(outputs, batch), dense_loss(outputs, dense)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_what_a_teacher_is_not_sure_of_counts_less():
    corners, labels = torch.tensor([[[0.25, 0.25, 0.75, 0.75]]]), torch.zeros(1, 1, dtype=torch.int64)
    sure, half = (dense_targets(Boxes(corners, labels, torch.tensor([[c]])), 1, 16) for c in (1.0, 0.5))
    torch.testing.assert_close(half.heatmap, sure.heatmap / 2)
    torch.testing.assert_close(half.weight, sure.weight / 2)
    assert half.peaks.max() == 0.5 and half.peaks.count_nonzero() == 1


def test_step_learns_and_averages(photos):
    torch.manual_seed(0)
    network = CoDeNet(TINY, CLASSES).train()
    step = Step(network, Views(photos, STILL, TINY.size), TrainConfig(), part=2)
    losses = []
    for _ in range(40):
        step.run(torch.tensor([0, 2, 1, 3, 4, 0]), Shape(2, 1), 2e-3)
        losses.append(step.take_losses()["total"])
    assert losses[-1] < 0.75 * losses[0]
    average = step.averaged_state()
    live = network.state_dict()
    assert any(not torch.equal(average[key], live[key]) for key in live)
    assert average["backbone.stem.norm.num_batches_tracked"] == live["backbone.stem.norm.num_batches_tracked"] == 40


def test_rate_rises_and_falls():
    rates = [learning_rate(1.0, progress) for progress in (0, 0.015, 0.03, 0.515, 1.0, 1.2)]
    assert rates[0] == pytest.approx(0.02) and rates[2] == 1.0 and rates[3] == pytest.approx(0.5)
    assert rates[1] < rates[2] and rates[4] == rates[5] == pytest.approx(0)


def test_no_photos():
    with pytest.raises(CodenetError, match="no images"):
        resident_photos(DetectionData(CLASSES, []), np.zeros((0, 8, 8, 3), np.uint8), CPU)


def test_both_checkpoints_are_those_of_the_other_commands(photos, tmp_path):
    torch.manual_seed(0)
    recipe = Recipe(batch=4)
    network = train_float(CoDeNet(TINY, CLASSES), photos, recipe, Budget(60, 2), tmp_path / "float.pt")
    quantized = train_quantized(network, photos, recipe, Budget(60, 2), tmp_path / "quantized.pt")
    again = load_network(tmp_path / "float.pt")
    assert load_checkpoint(tmp_path / "float.pt")["classes"] == list(CLASSES)
    image = torch.randn(1, 3, TINY.size, TINY.size)
    with torch.no_grad():
        for name, value in network(image).items():
            torch.testing.assert_close(again(image)[name], value, rtol=0.05, atol=0.05)
        # Half precision keeps what weights are quantized to: not one integer changes.
        for name, value in quantized(image).items():
            torch.testing.assert_close(
                load_quantized(tmp_path / "quantized.pt")(image)[name], value, rtol=1e-3, atol=1e-2
            )


def test_time_ends_a_run(photos, tmp_path):
    train_float(CoDeNet(TINY, CLASSES), photos, Recipe(batch=2), Budget(0.5), tmp_path / "float.pt")
    assert (tmp_path / "float.pt").is_file()


def test_read_set(coco_folder):
    """A set as `load_data` gives it becomes resident photos, in its order."""
    data = load_data(coco_folder, "train", CLASSES)
    photos = resident_photos(data, np.zeros((len(data), 16, 16, 3), np.uint8), CPU)
    assert len(photos) == len(data)
    for corners, labels, record_ in zip(photos.boxes.corners, photos.boxes.labels, data, strict=True):
        kept = record_.boxes[~record_.crowd]
        assert set(labels[: len(kept)].tolist()) == set(record_.labels[~record_.crowd].tolist())
        assert (corners[len(kept) :] == 0).all()


def test_photos_set_aside_never_come():
    order = Order(30, seed=5, aside=4)
    taken = order.take(26 * 3).tolist()
    assert len(order.aside) == 4 and sorted(set(taken) | set(order.aside.tolist())) == list(range(30))
    assert set(taken).isdisjoint(order.aside.tolist()) and taken[:26] != taken[26:52]
    assert sorted(Order(3, seed=5).take(3).tolist()) == [0, 1, 2]


def test_the_average_with_the_least_loss_on_photos_set_aside_is_the_result(photos, monkeypatch):
    """What the weights are is told by one of them; the loss is what this one says."""
    network = CoDeNet(TINY, CLASSES)
    states = {}
    for name, value in (("end", 3.0), ("mean of ends", 1.0)):
        states[name] = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        states[name]["heads.size.out.bias"][:] = value
    seen = []

    def loss(candidate, _views, index, _batch):
        seen.append(index.tolist())
        return float(candidate.heads["size"].out.bias[0].detach())

    monkeypatch.setattr(run, "_loss", loss)
    order = Order(len(photos), seed=0, aside=2)
    best = run._best(network, states, Views(photos, STILL, TINY.size), order, batch=2)
    assert best.heads["size"].out.bias[0] == 1 and seen == [order.aside.tolist()] * 2 and not best.training
    norms = [module for module in best.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and norm.num_batches_tracked == run._NORM_BATCHES for norm in norms)
