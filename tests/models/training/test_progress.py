# SPDX-License-Identifier: Apache-2.0
"""What is noted of a run: table, curves, TensorBoard, validation, best weights."""

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from codenet.errors import CodenetError
from models.data import cached_images, load_data
from models.evaluation import Score, evaluate, network_source
from models.network.checkpoints import float_identity, load_network
from models.network.detector import CoDeNet
from models.training import progress as progress_module
from models.training.batches import Batches
from models.training.config import TrainConfig
from models.training.progress import Progress, draw, open_tensorboard, read_history
from models.training.trainer import Trainer
from models.training.validation import Validation, subset
from tests.models.common import TINY

CLASSES = ("cat", "dog")
CONFIG = TrainConfig(iterations=8, batch=2, warmup=2, cache_size=64, slope=0.1, slope_end=0.5)


class Scores:
    """Stands for `Validation`: the scores that it is given, and what it was asked."""

    def __init__(self, *scores):
        self.scores, self.slopes = list(scores), []

    def score(self, average, slope):
        self.slopes.append(slope)
        return Score(self.scores.pop(0), 0.1, 2, {}, 0.2, 0.3)


@pytest.fixture
def data(coco_folder):
    return load_data(coco_folder, "train", CLASSES)


def new_trainer():
    torch.manual_seed(0)
    network = CoDeNet(TINY, CLASSES)
    return Trainer(network, CONFIG, float_identity(network))


def run(data, folder, observer, trainer=None, path=None):
    trainer = trainer or new_trainer()
    batches = Batches(data, cached_images(data, 64, folder / "cache"), CONFIG, TINY)
    trainer.run(batches, path, 2, lambda _: None, observer)
    return trainer


def test_validation_scores_as_evaluation_does(data, coco_folder):
    """The cached images are those that evaluation makes; both with a network that finds something."""
    trainer = new_trainer()
    for head in trainer.network.heads.values():
        torch.nn.init.normal_(head.out.weight, std=0.5)
    trainer.average = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    validation = Validation(data, cached_images(data, 64, coco_folder / "cache"), TINY, torch.device("cpu"))
    score = validation.score(trainer.average, 0.0)
    assert score == evaluate(network_source(trainer.network), data)
    assert score.images == 2
    # The slope counts.
    assert validation.network.backbone.stem.relu.slope == 0
    validation.score(trainer.average, 0.1)
    assert validation.network.backbone.stem.relu.slope == 0.1


def test_validation_does_not_touch_training(data, tmp_path):
    plain = run(data, tmp_path, None)
    validation = Validation(data, cached_images(data, 64, tmp_path / "cache"), TINY, torch.device("cpu"))
    watched = run(data, tmp_path, Progress(tmp_path, validation, 2))
    for key, value in plain.network.state_dict().items():
        assert torch.equal(value, watched.network.state_dict()[key]), key


def test_subset_is_spread_evenly(data):
    data.records = [data.records[0]] * 4 + [data.records[1]] * 4
    assert subset(data, None) is data and subset(data, 8) is data
    part = subset(data, 2)
    assert part.records == [data.records[0], data.records[7]] and part.classes == CLASSES


@pytest.mark.parametrize(("limit", "expected"), [(1, [3]), (2, [3, 8]), (3, [3, 5, 8]), (5, [0, 3, 5, 8, 11])])
def test_subset_is_of_photos_with_boxes(data, limit, expected):
    """Of twelve photos three have boxes that count; the tenth has a crowd alone, and the ends have none."""
    full, empty = data.records[0], data.records[0].take(np.zeros(len(data.records[0].boxes), bool))
    crowd = dataclasses.replace(full, crowd=np.ones(len(full.boxes), bool))
    kinds = {3: full, 5: full, 8: full, 9: crowd}
    data.records = [dataclasses.replace(kinds.get(n, empty), image_id=n) for n in range(12)]
    assert [record.image_id for record in subset(data, limit)] == expected


def test_best_weights_are_of_the_best_validation_with_plain_relu(data, tmp_path):
    """Scores after 2, 4, 6 and 8 steps; the slope is gone after the fourth."""
    scores = Scores(0.9, 0.2, 0.5, 0.4)
    trainer = run(data, tmp_path, Progress(tmp_path, scores, 2), path=tmp_path / "checkpoint.pt")
    assert scores.slopes == pytest.approx([0.05, 0.0, 0.0, 0.0])
    assert trainer.best == {"ap50": 0.5, "step": 6}
    state = torch.load(tmp_path / "best.pt", weights_only=True)
    assert state["step"] == 6 and state["best"]["ap50"] == 0.5
    network = load_network(tmp_path / "best.pt")
    assert not torch.equal(network.backbone.stem.conv.weight, trainer.average["backbone.stem.conv.weight"])
    # A resumed run knows what there was.
    again = new_trainer()
    assert again.resume(tmp_path / "checkpoint.pt") and again.best == trainer.best


def test_table_has_each_interval_and_is_cut_when_resumed(data, tmp_path):
    run(data, tmp_path, Progress(tmp_path, Scores(0.1, 0.2), 4))
    lines = read_history(tmp_path / "history.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert [line.get("ap50") for line in lines] == [None, 0.1, None, 0.2]
    assert lines[1]["rate"] == CONFIG.learning_rate(3) and lines[0]["slope"] == pytest.approx(0.05)
    # A kill cut the last line; the checkpoint is of step 4.
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text() + '{"step": 10, "ra')
    trainer = new_trainer()
    trainer.step = 4
    Progress(tmp_path).resumed(trainer)
    assert read_history(path) == lines[:2]
    assert read_history(tmp_path / "none.jsonl") == []


def test_validation_waits_for_the_next_interval(data, tmp_path):
    """Every three steps, with an interval of two."""
    progress = Progress(tmp_path, Scores(0.1, 0.2, 0.3), 3)
    run(data, tmp_path, progress)
    assert [line.get("ap50") for line in progress.lines] == [None, 0.1, 0.2, 0.3]


def test_curves_are_drawn(tmp_path):
    lines = [
        {"step": 10, "heatmap": 4.0, "overlap": 0.8, "distance": 60.0, "total": 14.0},
        {"step": 20, "heatmap": 3.0, "overlap": 0.6, "distance": 50.0, "total": 11.0, "ap50": 0.25, "ap": 0.1},
    ]
    draw(lines, tmp_path)
    name = "{http://www.w3.org/2000/svg}"
    losses, scores = (ElementTree.parse(tmp_path / file).getroot() for file in ("losses.svg", "ap50.svg"))
    assert len(losses.findall(f"{name}polyline")) == 4 and len(scores.findall(f"{name}polyline")) == 2
    # Parts are drawn with their weights: distance 60 counts 6.
    tips = [title.text for title in losses.iter(f"{name}title")]
    assert "distance 6.0000 at step 10" in tips and "overlap 4.0000 at step 10" in tips
    assert "ap50 0.2500 at step 20" in [title.text for title in scores.iter(f"{name}title")]


def test_tensorboard_has_losses_and_scores(data, tmp_path):
    pytest.importorskip("tensorboard")
    run(data, tmp_path, Progress(tmp_path, Scores(0.1, 0.2), 4, tensorboard=True))
    # Resumed from step 4: what was noted later is replaced.
    trainer = new_trainer()
    trainer.step = 4
    run(data, tmp_path, Progress(tmp_path, Scores(0.7), 4, tensorboard=True), trainer)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"losses/total", "losses/heatmap", "rate", "slope", "ap50", "ap"} <= set(events.Tags()["scalars"])
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("ap50")] == [(4, 0.1), (8, 0.7)]
    assert [event.step for event in events.Scalars("losses/total")] == [2, 4, 6, 8]


def test_without_tensorboard_a_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_module, "find_spec", lambda _: None)
    with pytest.raises(CodenetError, match="pip install tensorboard, or train with --no-tensorboard"):
        open_tensorboard(tmp_path, 0)
    assert not list(tmp_path.iterdir())
