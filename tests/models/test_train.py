"""Training: augmentation, learning, resuming, failing."""

import numpy as np
import pytest
import torch

from codenet.errors import CodenetError
from models.augment import Augmentation, view
from models.data import cached_images, load_data
from models.decode import find_peaks
from models.detector import CoDeNet
from models.train import (
    Batches,
    TrainConfig,
    Trainer,
    float_identity,
    load_checkpoint,
    load_network,
    parameter_groups,
)
from tests.models.common import TINY

CLASSES = ("cat", "dog")
STILL = Augmentation(scale=(1.0, 1.0), aspect=1.0, flip=0.0, jitter=0.0)
SHORT = TrainConfig(iterations=6, batch=2, warmup=2, cache_size=64)


@pytest.fixture
def batches(coco_folder, tmp_path):
    data = load_data(coco_folder, "train", CLASSES)
    return Batches(data, cached_images(data, 64, tmp_path / "cache"), SHORT, TINY)


def trainer(config=SHORT, seed=0):
    torch.manual_seed(seed)
    network = CoDeNet(TINY, CLASSES)
    return Trainer(network, config, float_identity(network))


def test_view_of_everything_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert (view(image, (0, 0, 1, 1), 32, 32) == image).all()


def test_view_beyond_the_image_is_grey():
    canvas = view(np.full((32, 32, 3), 200, np.uint8), (-0.5, 0, 1.5, 2), 64, 64)
    assert (canvas[:32, 16:48] == 200).all()
    assert (canvas[32:] == 114).all() and (canvas[:, :16] == 114).all() and (canvas[:, 48:] == 114).all()


def test_augmentation_moves_boxes_with_the_picture():
    rng = np.random.default_rng(3)
    image = np.full((64, 64, 3), 30, np.uint8)
    image[16:40, 8:32] = 230
    box = np.array([[8, 16, 32, 40]]) / 64
    augmentation = Augmentation(jitter=0.0)
    for _ in range(30):
        out, boxes, labels = augmentation(image, box, np.array([4]), 128, rng)
        assert out.shape == (128, 128, 3) and out.dtype == np.uint8
        if not len(boxes):
            continue
        assert labels.tolist() == [4]
        ys, xs = np.nonzero(out[..., 0] > 150)
        found = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert np.abs(boxes[0] * 128 - found).max() <= 2.5


def test_augmentation_drops_boxes_out_of_view():
    augmentation = Augmentation(scale=(0.5, 0.5), aspect=1.0, flip=0.0)
    boxes = np.array([[0, 0, 0.1, 0.1], [0.9, 0, 1, 0.1], [0, 0.9, 0.1, 1], [0.9, 0.9, 1, 1]])
    image = np.zeros((64, 64, 3), np.uint8)
    kept = [len(augmentation(image, boxes, np.arange(4), 64, np.random.default_rng(seed))[1]) for seed in range(20)]
    # A view of half the side reaches at most one of the four corners.
    assert max(kept) <= 1


def test_schedules():
    config = TrainConfig(iterations=1000, rate=1.0, warmup=100, slope=0.1, slope_end=0.6)
    assert config.learning_rate(0) == 0.01 and config.learning_rate(99) == 1.0
    assert config.learning_rate(550) == pytest.approx(0.5) and config.learning_rate(1000) == pytest.approx(0)
    assert config.negative_slope(0) == 0.1 and config.negative_slope(300) == pytest.approx(0.05)
    assert config.negative_slope(600) == config.negative_slope(999) == 0


def test_learning_rate_is_multiplied_by_name():
    config = TrainConfig(decay=0.1, rates=(("backbone.stem", 0.5), ("heads.size.out", 4.0)))
    network = CoDeNet(TINY, CLASSES)
    groups = parameter_groups(network, config)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    found = {id(p): (group["factor"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(network.heads["size"].out.weight)] == (4.0, 0.1)
    assert found[id(network.heads["size"].out.bias)] == (4.0, 0.0)
    assert found[id(network.heads["heatmap"].out.weight)] == (1.0, 0.1)
    assert all(found[id(p)][0] == 0.5 for p in network.backbone.stem.parameters())


def test_batches_cover_each_epoch_and_repeat_exactly(batches):
    seen = [batches._sample(position) for position in range(6)]
    assert [sorted(seen[n : n + 2]) for n in (0, 2, 4)] == [[0, 1]] * 3
    first, again = batches[5], batches[5]
    assert torch.equal(first.images, again.images) and torch.equal(first.heatmap, again.heatmap)
    assert not torch.equal(first.images, batches[4].images)


def test_crowd_boxes_are_no_targets(batches):
    object.__setattr__(batches.config, "augmentation", STILL)
    try:
        batch = batches[0]
    finally:
        object.__setattr__(batches.config, "augmentation", Augmentation())
    assert len(batch.box.unique(dim=0)) == 2


def test_overfits_two_pictures(coco_folder, tmp_path):
    data = load_data(coco_folder, "train", CLASSES)
    config = TrainConfig(iterations=60, batch=2, rate=5e-3, warmup=5, augmentation=STILL, cache_size=64)
    batches = Batches(data, cached_images(data, 64, tmp_path), config, TINY)
    run = trainer(config)
    first = run.train_step(batches[0])
    run.run(batches, None, report=lambda _: None)
    batch = batches[0]
    last = run.train_step(batch)
    assert last["total"] < first["total"] / 4
    with torch.no_grad():
        found = find_peaks(run.network(batch.images), top=1)
    for n, peaks in enumerate(found):
        index = batch.heatmap[n].amax(dim=0).argmax().item()
        assert abs(peaks.x[0] - index % 16) <= 1 and abs(peaks.y[0] - index // 16) <= 1
        assert batch.heatmap[n, peaks.class_index[0]].max() == 1


def test_resumed_run_equals_uninterrupted_one(batches, tmp_path):
    whole = trainer()
    whole.run(batches, None, report=lambda _: None)
    half = trainer()
    while half.step < 3:
        half.train_step(batches[half.step])
    half.save(tmp_path / "half.pt")
    rest = trainer(seed=5)
    rest.resume(tmp_path / "half.pt")
    assert rest.step == 3
    rest.run(batches, tmp_path / "end.pt", report=lambda _: None)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[key]), key
        assert torch.equal(whole.average[key], rest.average[key]), key
    network = load_network(tmp_path / "end.pt")
    assert torch.equal(network.backbone.stem.conv.weight, whole.average["backbone.stem.conv.weight"])
    assert not list(tmp_path.glob("*.partial"))


def test_checkpoint_of_another_network_is_refused(batches, tmp_path):
    trainer().save(tmp_path / "a.pt")
    network = CoDeNet(TINY, ("cat", "cow"))
    other = Trainer(network, SHORT, float_identity(network))
    with pytest.raises(CodenetError, match="classes is \\['cat', 'dog'\\], expected \\['cat', 'cow'\\]"):
        other.resume(tmp_path / "a.pt")


def test_bad_checkpoints(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(CodenetError, match="bad.pt: cannot be read"):
        load_checkpoint(tmp_path / "bad.pt")
    torch.save({"x": 1}, tmp_path / "other.pt")
    with pytest.raises(CodenetError, match="other.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "other.pt")


def test_loss_that_is_not_finite_stops_with_its_parts(batches):
    run = trainer()
    with torch.no_grad():
        run.network.heads["size"].out.bias.fill_(float("inf"))
    with pytest.raises(
        CodenetError, match="step 0 is not finite: .*'heatmap': [0-9.]+, 'overlap': nan, 'distance': inf"
    ):
        run.train_step(batches[0])


def test_workers_share_a_batch(batches):
    parts = [Batches(batches.data, batches.images, SHORT, TINY, worker, 2)[3] for worker in range(2)]
    whole = batches[3]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.box for part in parts]), whole.box)


def test_mixed_precision_learns_and_keeps_outputs_in_float32(batches):
    run = trainer(TrainConfig(iterations=30, batch=2, rate=5e-3, warmup=2, cache_size=64, mixed=True))
    first = run.train_step(batches[0])
    run.run(batches, None, report=lambda _: None)
    assert run.train_step(batches[0])["total"] < first["total"]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run.network(batches[0].images)
    assert {value.dtype for value in outputs.values()} == {torch.float32}
    assert {p.dtype for p in run.network.parameters()} == {torch.float32}
