# SPDX-License-Identifier: Apache-2.0
"""``python -m models.train`` as a user runs it, with a network that trains in seconds as configuration a."""

import json
import shutil

import pytest
import torch

from models import train
from models.network.checkpoints import load_checkpoint, load_network
from models.network.config import CONFIGS
from models.training.progress import read_history
from tests.models.common import TINY
from tests.models.pretrained.test_authors import authors_state


@pytest.fixture
def command(monkeypatch, coco_folder, tmp_path, capsys):
    """Runs the command on the tiny data set; returns the folder of its output."""
    monkeypatch.setitem(CONFIGS, "a", TINY)

    def run(*words, data=coco_folder, output="run"):
        arguments = ["--data", str(data), "--output", str(tmp_path / "build" / output), "--workers", "1"]
        arguments += ["--batch", "2", "--warmup", "1", "--no-tensorboard", "--no-mixed", *map(str, words)]
        try:
            status = train.main(arguments)
        except SystemExit as stop:
            status = stop.code
        if status != 0:
            raise SystemExit(capsys.readouterr().err)
        return tmp_path / "build" / output

    return run


def test_classes_are_those_with_boxes(command, caplog):
    output = command("--iterations", 1)
    assert load_network(output / "checkpoint.pt").classes == ("cat", "dog")
    assert "left out, without boxes: cow" in (output / "log.txt").read_text()


def test_named_classes_have_to_have_boxes(command):
    with pytest.raises(SystemExit, match="error: data: no boxes of cow to train on"):
        command("--iterations", 1, "--classes", "cat", "cow")


def test_settings_reach_the_run(command):
    output = command(
        *("--iterations", 2, "--scale", 0.4, 1.5, "--hue", 0.05, "--mosaic", 0.5, "--mosaic-end", 0.9),
        *("--cache-size", 96, "--rate", 0.002, "--backbone-rate", 0.3, "--slope", 0),
    )
    settings = load_checkpoint(output / "checkpoint.pt")["train"]
    augmentation = settings["augmentation"]
    assert augmentation["scale"] == (0.4, 1.5) and augmentation["hue"] == 0.05
    assert augmentation["mosaic"] == 0.5 and augmentation["mosaic_end"] == 0.9
    assert settings["cache_size"] == 96 and settings["rate"] == 0.002 and settings["slope"] == 0
    assert ("backbone.", 0.3) in settings["rates"]


def test_a_checkpoint_is_not_overwritten_by_accident(command):
    output = command("--iterations", 2)
    with pytest.raises(SystemExit, match="is there already: --resume continues it, --overwrite starts anew"):
        command("--iterations", 2)
    with pytest.raises(SystemExit, match="iterations is 2 there, 3 here.*--extend"):
        command("--iterations", 3, "--resume")
    assert load_checkpoint(output / "checkpoint.pt")["step"] == 2
    command("--iterations", 3, "--resume", "--extend")
    assert load_checkpoint(output / "checkpoint.pt")["step"] == 3
    command("--iterations", 1, "--overwrite")
    assert load_checkpoint(output / "checkpoint.pt")["step"] == 1


def test_resume_starts_where_there_is_nothing(command):
    assert load_checkpoint(command("--iterations", 1, "--resume") / "checkpoint.pt")["step"] == 1


def test_other_data_is_noticed(command, coco_folder):
    command("--iterations", 1)
    path = coco_folder / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [8, 8, 30, 30]
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="the data set is another one"):
        command("--iterations", 1, "--resume")


def test_validation_is_of_the_val_split(command, coco_folder):
    content = json.loads((coco_folder / "instances_val.json").read_text())
    content["images"] = content["images"][:1]
    content["annotations"] = content["annotations"][:1]
    (coco_folder / "instances_val.json").write_text(json.dumps(content))
    output = command("--iterations", 2, "--slope", 0, "--evaluate-every", 1, "--save-every", 1)
    assert "images 1" in (output / "log.txt").read_text()
    assert ["ap50" in line for line in read_history(output / "history.jsonl")] == [True, True]
    assert (output / "best.pt").is_file() and (output / "ap50.svg").is_file() and (output / "losses.svg").is_file()


def test_one_may_train_on_several_folders_and_splits(command, coco_folder, voc_folder, tmp_path):
    shutil.copy(voc_folder / "ImageSets" / "Main" / "train.txt", voc_folder / "ImageSets" / "Main" / "mine.txt")
    output = command("--iterations", 1, "--data", coco_folder, f"{voc_folder}:mine")
    assert load_network(output / "checkpoint.pt").classes == ("cat", "dog", "raccoon")


def test_start_of_another_run(command):
    first = command("--iterations", 2)
    second = command("--iterations", 1, "--rate", "1e-12", "--start-from", first / "checkpoint.pt", output="second")
    weights = [
        load_checkpoint(output / "checkpoint.pt")["average"]["heads.size.out.weight"] for output in (first, second)
    ]
    assert torch.allclose(*weights, atol=1e-9)


def test_authors_weights_learn_with_integer_offsets(command, tmp_path):
    """From a checkpoint of their layout to a network that the accelerator runs, by one command."""
    state = authors_state(TINY, 2)
    # The random network of the test gives any sizes; a trained one starts nearer.
    state["wh.6.bias"] = torch.tensor([8.0, 8.0])
    torch.save(
        {"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "theirs.pth"
    )
    output = command(
        *("--start-authors", tmp_path / "theirs.pth", "--classes", "cat", "dog", "--slope", 0, "--rate", 3e-3),
        *("--iterations", 60, "--save-every", 10),
    )
    network = load_network(output / "checkpoint.pt")
    assert network.config == TINY  # sampling is rounded
    losses = [line["total"] for line in read_history(output / "history.jsonl")]
    assert losses[-1] < 0.7 * losses[0], losses


def test_bad_arguments_are_one_line(command, tmp_path):
    for words, message in (
        (("--data", tmp_path / "nowhere"), "error: data: .*nowhere: no such folder"),
        (("--hue", 2), "error: augmentation: hue is 2.0, expected 0 to 0.5"),
        (("--iterations", 0), "error: argument --iterations: 0, expected a whole number of 1 or more"),
        (("--backbone", tmp_path / "no.npz"), "error: weights .*no.npz: cannot be read"),
        (("--device", "tpu"), "error: device is 'tpu'"),
    ):
        with pytest.raises(SystemExit, match=message):
            command(*words)
