# SPDX-License-Identifier: Apache-2.0
"""Training: batches, learning, resuming, failing."""

import dataclasses

import pytest
import torch

from codenet.errors import CodenetError
from models.data import cached_images, load_data
from models.data.augment import Augmentation
from models.network import float_identity, load_checkpoint, load_network
from models.network.checkpoints import start_from
from models.network.detector import CoDeNet
from models.network.peaks import find_peaks
from models.training import Batches, TrainConfig, Trainer, parameter_groups
from models.training.batches import feed
from tests.models.common import TINY, TINY_II

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
    with pytest.raises(CodenetError, match="a.pt: does not fit a network tiny-ii"):
        start_from(CoDeNet(TINY_II, ("cat", "dog")), tmp_path / "a.pt")
    assert not other.resume(tmp_path / "none.pt")


def test_other_classes_start_with_all_but_their_heatmap(tmp_path):
    first = trainer()
    first.save(tmp_path / "a.pt")
    network = CoDeNet(TINY, ("cat", "dog", "cow"))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    start_from(network, tmp_path / "a.pt")
    for key, value in network.state_dict().items():
        kept = key.startswith("heads.heatmap.out")
        assert torch.equal(value, before[key] if kept else first.average[key]), key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 12}, "iterations is 6 there, 12 here"),
        ({"augmentation": Augmentation(mosaic=0.5)}, "augmentation.mosaic is 0.0 there, 0.5 here"),
        ({"rate": 1e-2, "seed": 4}, "rate is 0.001 there, 0.01 here; seed is 1 there, 4 here"),
    ],
)
def test_other_settings_need_to_be_meant(changes, message, batches, tmp_path):
    path = tmp_path / "a.pt"
    trainer().save(path)
    changed = dataclasses.replace(SHORT, **changes)
    with pytest.raises(CodenetError, match=f"other settings: {message}. .*--extend"):
        trainer(changed).resume(path)
    other = trainer(changed)
    assert other.resume(path, extend=True)
    other.train_step(batches[0])
    assert other.optimizer.param_groups[0]["lr"] == changed.learning_rate(0)


def test_settings_that_an_older_checkpoint_lacks_had_their_defaults(tmp_path):
    run = trainer()
    state = run.state()
    del state["train"]["half"], state["train"]["augmentation"]["mosaic"], state["scaler"], state["best"]
    torch.save(state, tmp_path / "old.pt")
    assert trainer().resume(tmp_path / "old.pt")
    with pytest.raises(CodenetError, match="half is 'bfloat16' there, 'float16' here"):
        trainer(dataclasses.replace(SHORT, half="float16")).resume(tmp_path / "old.pt")


def test_other_data_needs_to_be_meant(tmp_path):
    network = CoDeNet(TINY, CLASSES)
    Trainer(network, SHORT, float_identity(network) | {"data": "one"}).save(tmp_path / "a.pt")
    other = Trainer(network, SHORT, float_identity(network) | {"data": "two"})
    with pytest.raises(CodenetError, match="the data set is another one"):
        other.resume(tmp_path / "a.pt")
    assert other.resume(tmp_path / "a.pt", extend=True)


def test_other_groups_of_parameters_cannot_be_taken_on(tmp_path):
    trainer().save(tmp_path / "a.pt")
    other = trainer(dataclasses.replace(SHORT, rates=(("backbone.", 0.5),)))
    with pytest.raises(CodenetError, match="start a run of its own with --start"):
        other.resume(tmp_path / "a.pt", extend=True)


def test_bad_checkpoints(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(CodenetError, match="bad.pt: no PyTorch file"):
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
    with pytest.raises(CodenetError, match="batch is 2 for 3 processes"):
        Batches(batches.data, batches.images, SHORT, TINY, 0, 3)


def with_augmentation(batches, **values):
    config = dataclasses.replace(SHORT, iterations=10, augmentation=Augmentation(**values))
    return Batches(batches.data, batches.images, config, TINY)


def test_mosaics_end_before_the_run_does(batches):
    plain = with_augmentation(batches)
    mixed = with_augmentation(batches, mosaic=1.0, mosaic_end=0.6)
    same = [torch.equal(plain[step].images, mixed[step].images) for step in range(10)]
    assert same == [False] * 6 + [True] * 4
    assert torch.equal(mixed[2].images, mixed[2].images) and not torch.equal(mixed[2].images, mixed[3].images)
    # Four images of one box each, of which most are in view: more peaks than images.
    peaks = sum(int((mixed[step].heatmap == 1).sum()) for step in range(6))
    assert peaks > 6 * SHORT.batch
    some = with_augmentation(batches, mosaic=0.5, mosaic_end=1.0)
    differ = [not torch.equal(plain[step].images[n], some[step].images[n]) for step in range(10) for n in range(2)]
    # A draw precedes the others where mosaics may be, so that all differ; some of them are mosaics.
    assert all(differ)


@pytest.mark.parametrize("loaders", [0, 2])
def test_batches_come_in_order_whoever_prepares_them(batches, loaders):
    fed = list(feed(batches, 3, 7, loaders))
    assert len(fed) == 4
    for step, batch in enumerate(fed, start=3):
        assert torch.equal(batch.images, batches[step].images) and torch.equal(batch.weight, batches[step].weight)


def test_half_precision_scales_its_losses(batches):
    """float16 without scaling would lose small gradients; the scale travels in the checkpoint."""
    config = dataclasses.replace(SHORT, iterations=30, rate=5e-3, mixed=True, half="float16")
    run = trainer(config)
    assert run.scaler.is_enabled() and run.state()["scaler"]["scale"] == 2.0**16
    first = run.train_step(batches[0])
    run.run(batches, None, report=lambda _: None)
    assert run.train_step(batches[0])["total"] < first["total"]


def test_mixed_precision_learns_and_keeps_outputs_in_float32(batches):
    run = trainer(TrainConfig(iterations=30, batch=2, rate=5e-3, warmup=2, cache_size=64, mixed=True))
    first = run.train_step(batches[0])
    run.run(batches, None, report=lambda _: None)
    assert run.train_step(batches[0])["total"] < first["total"]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run.network(batches[0].images)
    assert {value.dtype for value in outputs.values()} == {torch.float32}
    assert {p.dtype for p in run.network.parameters()} == {torch.float32}
