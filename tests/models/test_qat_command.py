# SPDX-License-Identifier: Apache-2.0
"""``python -m models.qat`` as a user runs it, with a network that trains in seconds."""

import pytest
import torch

from models import qat
from models.network.checkpoints import load_checkpoint, previous
from models.network.detector import CoDeNet
from models.quantization import load_quantized
from models.training import Trainer
from models.zoo.shelve import save_compact
from tests.models.common import TINY


@pytest.fixture
def command(coco_folder, tmp_path):
    """Runs the command on the tiny data set; returns its status and the checkpoint that it should have written."""
    start = tmp_path / "float.pt"
    save_compact(CoDeNet(TINY, ("cat", "dog")), start)

    def run(*words, start=start):
        output = tmp_path / "build" / "run"
        arguments = [start, "--data", coco_folder, "--output", output, "--workers", 1, "--batch", 2, *words]
        try:
            status = qat.main(list(map(str, arguments)))
        except SystemExit as stop:
            status = stop.code
        return status, output / "checkpoint.pt"

    return run


def test_fine_tunes(command):
    status, checkpoint = command("--iterations", 3, "--device", "cpu", "--save-every", 2)
    assert (status, load_checkpoint(checkpoint)["step"]) == (0, 3)
    assert load_checkpoint(previous(checkpoint))["step"] == 2
    assert load_quantized(checkpoint).classes == ("cat", "dog")


def test_resumed_run_equals_uninterrupted_one(command, monkeypatch, tmp_path):
    """Scales that brevitas replaced when the state was loaded did not learn after that; with several processes the run
    ended with an error.
    """
    whole = load_checkpoint(command("--iterations", 4)[1])
    half = tmp_path / "half.pt"

    def run(trainer, batches, path, *options):
        trainer.network.train()
        while trainer.step < 2:
            trainer.train_step(batches[trainer.step])
        trainer.save(half)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", run)
        _, checkpoint = command("--iterations", 4, "--overwrite")
    half.rename(checkpoint)
    assert command("--iterations", 4, "--resume")[0] == 0
    rest = load_checkpoint(checkpoint)
    assert rest["step"] == whole["step"] == 4
    for part in ("network", "average"):
        for key, value in whole[part].items():
            assert torch.equal(value, rest[part][key]), (part, key)
    assert command("--iterations", 7, "--resume", "--extend", "--workers", 2)[0] == 0
    assert load_checkpoint(checkpoint)["step"] == 7


def test_a_checkpoint_is_not_overwritten_by_accident(command, capsys):
    _, checkpoint = command("--iterations", 2)
    assert command("--iterations", 1)[0] == 2
    assert "is there already: --resume continues it, --overwrite starts anew" in capsys.readouterr().err
    assert load_checkpoint(checkpoint)["step"] == 2
    assert command("--iterations", 3, "--resume")[0] == 2
    assert "iterations is 2 there, 3 here" in capsys.readouterr().err
    assert command("--iterations", 3, "--resume", "--extend")[0] == 0
    assert load_checkpoint(checkpoint)["step"] == 3
    assert command("--iterations", 1, "--overwrite")[0] == 0
    assert load_checkpoint(checkpoint)["step"] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--device", "gpu"), "device is 'gpu', expected auto, cpu, cuda or cuda:NUMBER"),
        (("--workers", 0), "--workers: 0, expected a whole number of 1 or more"),
        (("--exceptions", "nowhere=W8"), "nowhere"),
    ],
)
def test_bad_arguments(command, capsys, words, complaint):
    assert command(*words)[0] == 2
    error = capsys.readouterr().err
    assert complaint in error and "Traceback" not in error


def test_checkpoint_that_is_quantized_already(command, capsys, tmp_path):
    _, checkpoint = command("--iterations", 1)
    again = checkpoint.rename(tmp_path / "quantized.pt")
    assert command("--overwrite", start=again)[0] == 2
    assert "kind is 'quantized', expected 'float'" in capsys.readouterr().err
