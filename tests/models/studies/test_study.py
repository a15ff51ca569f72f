# SPDX-License-Identifier: Apache-2.0
"""Many trainings with one result each: kept, stopped and gone on with, put into tables."""

import dataclasses
import json

import pytest
import torch

from codenet.errors import CodenetError
from models import ablation, precisions
from models.ablation import ROWS, Row, choose_rows, make_table
from models.network import float_identity, load_checkpoint
from models.network.config import ALL_DILATIONS, CONFIGS, CONFLICT_FREE_OR_ZERO
from models.network.detector import CoDeNet
from models.quantization.precision import Precision
from models.studies import study
from models.studies.study import Job, Schedule, Store, prepare, run_jobs, spread, start_from_weights, train_float
from models.training import TrainConfig, Trainer
from models.zoo.shelve import save_compact
from tests.models.common import TINY

CLASSES = ("cat", "dog")


@pytest.fixture
def schedule(coco_folder):
    return Schedule((str(coco_folder),), CLASSES, iterations=6, batch=2, rate=1e-3, mixed=False, save_every=2)


def test_rows_are_the_papers_and_ours():
    """The paper's table 3, typed from it again, and which of the rows the accelerator runs."""
    paper = {row.title: (*row.voc, *row.coco) for row in ROWS if row.voc is not None}
    assert paper == {
        "3x3": (39.2, 60.8, 21.4, 36.5),
        "3x3 depthwise": (39.1, 60.9, 19.8, 34.3),
        "5x5 depthwise": (40.6, 62.4, 21.3, 36.4),
        "7x7 depthwise": (41.9, 63.8, 21.7, 37.2),
        "9x9 depthwise": (42.3, 64.8, 22.2, 37.8),
        "deformable, depthwise": (42.9, 64.4, 23.0, 38.4),
        "+ bound 7": (41.0, 63.0, 21.3, 36.4),
        "+ bound, square": (41.1, 63.1, 21.5, 36.8),
        "square, also in the backbone, with FPN": (43.4, 65.7, 24.2, 39.8),
    }
    configs = [row.config(CONFIGS["a"]) for row in ROWS]
    assert len({str(config.replace(name="x")) for config in configs}) == len(ROWS)
    runs = [row.key for row, config in zip(ROWS, configs, strict=True) if ablation._runs_on_accelerator(config)]
    assert runs == ["rounded", "conflict-free-or-zero", "one-cycle", "rounded-backbone"]
    dilations = {config.name: config.dilations for config in configs}
    assert dilations["rounded"] == ALL_DILATIONS and dilations["conflict-free-or-zero"] == CONFLICT_FREE_OR_ZERO


def test_rows_by_key():
    assert [row.key for row in choose_rows(["rounded", "3x3"])] == ["3x3", "rounded"]
    with pytest.raises(CodenetError, match="row '4x4': expected one of 3x3, 3x3-depthwise"):
        choose_rows(["4x4"])


def test_table_by_hand(tmp_path):
    store = Store(tmp_path, {})
    row = Row("r", "an operation", {}, (39.2, 60.8), (21.4, 36.5))
    store.add("r-seed1", {"ap": 0.25, "ap50": 0.5})
    store.add("r-seed2", {"ap": 0.27, "ap50": 0.5})
    store.add("r-seed1-W4A8", {"ap": 0.24, "ap50": 0.4951})
    table = make_table(store, [row, Row("other", "without result")], [1, 2, 3], Precision()).splitlines()
    assert table[0] == (
        "| operation | AP | AP50 | W4A8 AP | W4A8 AP50 | seeds | paper, VOC: AP | AP50 | paper, COCO: AP | AP50 |"
    )
    # Deviation of 25 and 27: sqrt((1 + 1) / 1).
    assert table[2] == "| an operation | 26.0 ± 1.4 | 50.0 ± 0.0 | 24.0 | 49.5 | 2 | 39.2 | 60.8 | 21.4 | 36.5 |"
    assert table[3] == "| without result |  |  |  |  | 0 |  |  |  |  |"


def test_spread():
    assert spread([0.4123]) == "41.2" and spread([0.1, 0.2, 0.3], 2) == "20.00 ± 10.00"


def test_results_of_other_settings_are_refused(tmp_path):
    Store(tmp_path, {"batch": 16, "trunk": None})
    assert Store(tmp_path, {"batch": 16, "trunk": None}).result("nothing") is None
    with pytest.raises(CodenetError, match="settings.json: batch is 16, now 8; expected the same"):
        Store(tmp_path, {"batch": 8, "trunk": None})
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(CodenetError, match="bad.json: list, expected a JSON object"):
        Store(tmp_path, {"batch": 16, "trunk": None}).result("bad")


def test_a_killed_run_goes_on_as_if_nothing_had_happened(schedule, tmp_path, monkeypatch):
    config = TINY.replace(dilations=CONFLICT_FREE_OR_ZERO)
    whole = load_checkpoint(train_float(config, schedule, 3, tmp_path / "whole" / "run"))
    step = Trainer.train_step

    def killed(trainer, batch):
        if trainer.step == 5:
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_float(config, schedule, 3, tmp_path / "killed" / "run")
    steps = []
    monkeypatch.setattr(Trainer, "train_step", lambda t, batch: steps.append(t.step) or step(t, batch))
    again = load_checkpoint(train_float(config, schedule, 3, tmp_path / "killed" / "run"))
    assert steps == [4, 5]
    assert all(torch.equal(again["average"][key], value) for key, value in whole["average"].items())


def test_deformable_backbones_start_as_the_trunk(real_data):
    trunk = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    backbones = []
    for deform in (False, True):
        config = CONFIGS["b"].replace(size=64, deform_backbone=deform)
        backbones.append(CoDeNet(config, CLASSES).backbone.eval())
        start_from_weights(backbones[-1], config, trunk)
        backbones[-1].last.load_state_dict(backbones[0].last.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(backbones[0](x), backbones[1](x), atol=1e-4)


@pytest.mark.parametrize("deform", [False, True])
def test_networks_start_as_a_checkpoint_but_for_the_decoder(deform, tmp_path, schedule):
    trained, path = CoDeNet(TINY, CLASSES).eval(), tmp_path / "trained.pt"
    save_compact(trained, path)
    start = dataclasses.replace(schedule, start=path)
    config = TINY.replace(deform_backbone=deform, sampling="square")
    trainer, _ = prepare(config, start, 1, tmp_path / "cache")
    x = torch.randn(1, 3, TINY.size, TINY.size)
    torch.testing.assert_close(trainer.network.eval().backbone(x), trained.backbone(x), rtol=1e-2, atol=1e-2)
    x = torch.randn(1, 16, 8, 8)
    for name, head in trainer.network.heads.items():
        torch.testing.assert_close(head(x), trained.heads[name](x), rtol=1e-2, atol=1e-2)
    assert not torch.equal(trainer.network.decoder[0].deform.weight, trained.decoder[0].deform.weight)
    assert trainer.config.slope == 0, "a trained detector has plain ReLU"


@pytest.mark.parametrize(
    ("config", "classes", "message"),
    [
        (TINY.replace(channels=(8, 24, 32, 48, 32)), CLASSES, "does not fit around tiny's decoder"),
        (TINY.replace(head=24), CLASSES, "does not fit around tiny's decoder"),
        (TINY, ("cat", "cow"), r"classes are \('cat', 'cow'\), expected \('cat', 'dog'\)"),
    ],
)
def test_checkpoints_that_do_not_fit(config, classes, message, tmp_path, schedule):
    path = tmp_path / "other.pt"
    save_compact(CoDeNet(config, classes), path)
    with pytest.raises(CodenetError, match=rf"other\.pt: {message}"):
        prepare(TINY, dataclasses.replace(schedule, start=path), 1, tmp_path / "cache")


def double(number):
    if number < 0:
        raise CodenetError(f"number {number}, expected none below 0")
    return {"value": 2 * number}


def test_jobs(tmp_path):
    store, ends = Store(tmp_path, {}), []
    store.add("first", {"value": "known"})
    jobs = [Job("first", double, (1,)), Job("second", double, (2,)), Job("third", double, (3,))]
    run_jobs(jobs, store, 1, lambda: ends.append(1))
    assert [store.result(job.name)["value"] for job in jobs] == ["known", 4, 6] and len(ends) == 2


@pytest.mark.slow
def test_a_job_that_fails_stops_no_other(tmp_path):
    store, ends = Store(tmp_path, {}), []
    jobs = [Job("bad", double, (-1,)), Job("good", double, (2,)), Job("better", double, (3,))]
    with pytest.raises(CodenetError, match="number -1"):
        run_jobs(jobs, store, 2, lambda: ends.append(1))
    assert store.result("good") == {"value": 4} and store.result("better") == {"value": 6} and len(ends) == 2
    assert store.result("bad") is None


def command(coco_folder, output, *more):
    words = ["--data", coco_folder, "--output", output, "--size", 64, "--batch", 2, "--classes", *CLASSES, *more]
    return [str(word) for word in words]


def test_ablation_of_two_rows(coco_folder, tmp_path, capsys, monkeypatch):
    """Trains, evaluates and quantizes; a second call trains nothing; other settings are refused."""
    output = tmp_path / "ablation"
    rows = ("--rows", "square", "conflict-free-or-zero")
    words = command(coco_folder, output, *rows, "--iterations", 3, "--quantize", 2)
    assert ablation.main(words) == 0
    table = capsys.readouterr().out
    assert table == (output / "table.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [line[0] for line in lines[2:]] == ["+ bound, square", "the same, rounded to {0, 1, 2, 4, 5, 7}"]
    result = json.loads((output / "square-seed1.json").read_text())
    assert lines[2][1:] == [
        spread([result["ap"]]),
        spread([result["ap50"]]),
        "",
        "",
        "1",
        "41.1",
        "63.1",
        "21.5",
        "36.8",
    ]
    assert lines[3][3] and lines[3][6:] == [""] * 4
    assert result["config"]["sampling"] == "square" and result["images"] == 2
    quantized = json.loads((output / "conflict-free-or-zero-seed1-W4A8.json").read_text())
    assert (quantized["device"], quantized["precision"]) == ("golden", "W4A8")

    def trained(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train_step", trained)
    assert ablation.main(words) == 0 and capsys.readouterr().out == table
    assert ablation.main([*words, "--table"]) == 0 and capsys.readouterr().out == table
    assert ablation.main(command(coco_folder, output, *rows, "--iterations", 4)) == 2
    assert "iterations is 3, now 4" in capsys.readouterr().err


def test_epochs_and_estimate(coco_folder, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "seconds_per_step", None)
    monkeypatch.setattr(ablation, "seconds_per_step", lambda config, schedule, cache: seen.append(schedule) or 1.8)
    words = command(coco_folder, tmp_path, "--rows", "3x3", "rounded", "--epochs", 1000, "--seeds", 1, 2, "--estimate")
    assert ablation.main(words) == 0
    # 1000 epochs of two images in batches of two: 1000 steps of 1.8 seconds, two seeds.
    assert seen[0].iterations == 1000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["3x3", "1.80", "s", "a", "step", "1.00", "hours"] and lines[2].split()[:2] == [
        "all",
        "2.00",
    ]


@pytest.mark.slow
def test_precisions_of_a_checkpoint(coco_folder, tmp_path, capsys):
    network = CoDeNet(TINY, CLASSES)
    checkpoint = tmp_path / "float.pt"
    Trainer(network, TrainConfig(), float_identity(network)).save(checkpoint)
    words = [checkpoint, "--data", coco_folder, "--output", tmp_path / "study", "--iterations", 2, "--batch", 2]
    assert precisions.main([*map(str, words), "--precisions", "w4a4", "w8a8"]) == 0
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[2:]] == ["W32A32", "W4A4", "W8A8 depthwise W8"]
    assert [line[5] for line in lines[2:]] == ["PyTorch", "golden model", "PyTorch"]
    # Every convolution weight in 4 bytes, in 1 byte, in half of one (the stem's 8 x 3 x 3 x 3 in 1).
    weights = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim == 4)
    sizes = [
        json.loads((tmp_path / "study" / f"{name}.json").read_text())["weight_bytes"]
        for name in ("float", "w8a8", "w4a4")
    ]
    assert sizes == [4 * weights, weights, (weights + 216) // 2]
