# SPDX-License-Identifier: Apache-2.0
"""What ends a command early is one line and a status, and costs no work."""

import contextlib
import importlib
import io
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from codenet.checkout import ROOT
from models import evaluate, export, qat, soup, train
from models.network import CoDeNet, float_identity, load_checkpoint, load_network, write_checkpoint
from models.network.checkpoints import previous
from models.network.config import CONFIGS
from models.quantization.untrained import untrained
from models.training import Trainer
from models.training.progress import read_history
from tests.models.common import TINY

COMMANDS = [
    "ablation",
    "diagrams",
    "evaluate",
    "export",
    "offsets",
    "precisions",
    "qat",
    "restem",
    "soup",
    "sprint",
    "train",
    "widen",
    "zoo.__main__",
]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(CONFIGS, "a", TINY)


@pytest.fixture
def complaint(capsys):
    """Runs a command; its status, and what it says on standard error: one line, but for lists of faults in data."""

    def run(module, *words):
        capsys.readouterr()
        try:
            status = module.main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        error = capsys.readouterr().err
        before, mark, said = error.rpartition("error: " if status == 2 else "interrupted")
        assert status == 0 or (mark and "error: " not in before and "Traceback" not in error), error
        assert said.count("\n") <= 1 or "data: " in said, error
        return status, mark + said.rstrip("\n")

    return run


@pytest.fixture
def checkpoint(tmp_path):
    return float_checkpoint(tmp_path / "float.pt", ("cat", "dog"))


def float_checkpoint(path, classes):
    network = CoDeNet(TINY, classes)
    state = network.state_dict()
    write_checkpoint({**float_identity(network), "network": state, "average": state}, path)
    return path


def training(coco_folder, output, *words):
    """Arguments of a short run."""
    fixed = ("--workers", 1, "--batch", 2, "--warmup", 1, "--no-tensorboard", "--no-mixed", "--save-every", 1)
    return ("--data", coco_folder, "--output", output, *fixed, *words)


@contextlib.contextmanager
def largest_file(size):
    """No file may become larger than ``size`` bytes: what a full disk does to who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def litter(folder):
    return [path for path in folder.rglob("*") if ".part" in path.name]


def test_full_disk_at_a_checkpoint(complaint, coco_folder, tmp_path):
    output = tmp_path / "build" / "run"
    path = output / "checkpoint.pt"
    assert complaint(train, *training(coco_folder, output, "--iterations", 2))[0] == 0
    words = training(coco_folder, output, "--iterations", 4, "--resume", "--extend")
    # At the checkpoint, and at the first of the other files that a run writes.
    for size, name in (
        (path.stat().st_size // 2, "checkpoint.pt"),
        (100, "settings.json"),
        (1500, "losses.svg"),
    ):
        with largest_file(size):
            status, line = complaint(train, *words)
        assert status == 2 and re.search(f"({name}): File too large", line)
        assert name == "settings.json" or f"{path} of before is kept: make room, then go on with --resume" in line
        assert load_checkpoint(path)["step"] == 2 and not litter(tmp_path)
    assert complaint(train, *words)[0] == 0 and load_checkpoint(path)["step"] == 4


def test_full_disk_while_photos_are_decoded(complaint, coco_folder, tmp_path):
    """The space is reserved first: a store to a page without room would end the process by a signal."""
    output = tmp_path / "build" / "run"
    with largest_file(20_000):
        status, line = complaint(train, *training(coco_folder, output, "--iterations", 1))
    assert status == 2 and "the decoded photos cannot be kept (1 MB): File too large; make room" in line
    assert not litter(tmp_path) and not list((tmp_path / "build" / "cache").iterdir())


def test_full_disk_at_results(complaint, coco_folder, checkpoint, tmp_path):
    """The file that was there is left as it was."""
    old = tmp_path / "scores.json"
    old.write_text("{}")
    with largest_file(100):
        status, line = complaint(evaluate, checkpoint, "--data", coco_folder, "--json", old)
        assert status == 2 and "scores.json: File too large" in line
        status, line = complaint(soup, checkpoint, checkpoint, "-o", tmp_path / "soup.pt")
        assert status == 2 and "soup.pt: File too large" in line
    assert old.read_text() == "{}" and not litter(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_what_resume_goes_on_from(number, complaint, coco_folder, tmp_path, monkeypatch):
    step = Trainer.train_step

    def interrupted(trainer, batch):
        if trainer.step == 1:
            os.kill(os.getpid(), number)
        return step(trainer, batch)

    whole, output = tmp_path / "build" / "whole", tmp_path / "build" / "run"
    words = training(coco_folder, output, "--iterations", 4, "--save-every", 100)
    assert complaint(train, *training(coco_folder, whole, "--iterations", 4))[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        status, line = complaint(train, *words)
    assert status == 130 and f"interrupted: step 2 of 4 is saved in {output / 'checkpoint.pt'}" in line
    assert "--resume" in line and load_checkpoint(output / "checkpoint.pt")["step"] == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert complaint(train, *words, "--resume")[0] == 0
    first, second = (load_checkpoint(folder / "checkpoint.pt")["average"] for folder in (whole, output))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_several_processes(number, coco_folder, tmp_path):
    """The signal reaches the first process alone, as from a batch system; all end, with one line and a checkpoint."""
    output = tmp_path / "build" / "run"
    words = training(coco_folder, output, "--iterations", 100_000, "--classes", "cat", "dog")
    words = [sys.executable, "-m", "tests.models.training.tiny_train", *map(str, words), "--workers", "2"]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(read_history(output / "history.jsonl")) < 2:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.send_signal(number)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 130, error
    assert error.count("interrupted: step ") == 1 and "Traceback" not in error
    assert load_checkpoint(output / "checkpoint.pt")["step"] >= 2 and not litter(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_in_any_command(name, complaint, tmp_path, monkeypatch):
    module = importlib.import_module(f"models.{name}")
    words = {
        "ablation": ("--data", "d", "--output", "o"),
        "diagrams": ("o",),
        "evaluate": ("p", "--data", "d"),
        "export": ("c", "-o", "o.cdg"),
        "offsets": ("c", "--data", "d", "-o", "o"),
        "precisions": ("c", "--data", "d", "--output", "o"),
        "qat": ("c", "--data", "d", "--output", "o"),
        "restem": ("c", "--config", "e", "--data", "d", "--output", "o"),
        "soup": ("c", "-o", "o.pt"),
        "sprint": ("a=c", "--data", "d", "--output", "o"),
        "train": ("--data", "d", "--output", "o"),
        "widen": ("c", "--config", "d", "-o", "o.pt"),
        "zoo.__main__": ("list",),
    }[name]

    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_run", interrupted)
    assert complaint(module, *words) == (130, "interrupted")


def test_ctrl_c_while_a_command_is_imported():
    code = "import sys; sys.argv = ['-m']; import models, os, signal; os.kill(os.getpid(), signal.SIGINT); print('no')"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "models: interrupted\n")


@pytest.mark.parametrize(
    ("module", "words", "expected"),
    [
        (train, ("--save-every", 0), "--save-every: 0, expected a whole number of 1 or more"),
        (train, ("--seed", -1), "--seed: -1, expected a whole number of 0 or more"),
        (train, ("--rate", "nan"), "--rate: nan, expected a number of 0 or more"),
        (train, ("--batch", "many"), "--batch: 'many', expected a whole number of 1 or more"),
        (train, ("--evaluate-every", -5), "--evaluate-every: -5, expected"),
        (train, ("--loaders", -1), "--loaders: -1, expected"),
        (train, ("--warmup", -1), "--warmup: -1, expected"),
        (qat, ("float.pt", "--save-every", -3), "--save-every: -3, expected"),
        (qat, ("float.pt", "--workers", 0), "--workers: 0, expected"),
        (evaluate, ("float.pt", "--limit", 0), "--limit: 0, expected"),
        (evaluate, ("float.pt", "--iou-threshold", 1.5), "1.5, expected a number of 0 to 1"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(module, words, expected, complaint, tmp_path):
    place = () if module is evaluate else ("--output", tmp_path / "run")
    status, line = complaint(module, *words, "--data", tmp_path, *place)
    assert status == 2 and expected in line
    assert not (tmp_path / "run").exists()


def test_odd_outputs_are_refused_before_the_work(complaint, coco_folder, checkpoint, tmp_path, monkeypatch):
    for module, work in ((train, "start_workers"), (qat, "start_workers"), (evaluate, "load_data"), (soup, "soup")):
        monkeypatch.setattr(module, work, lambda *_: pytest.fail("the work was started"))
    monkeypatch.setattr(export, "load_quantized", lambda *_: pytest.fail("the work was started"))
    (tmp_path / "file").touch()
    (tmp_path / "folder.cdg").mkdir()
    data = ("--data", coco_folder)
    graph = checkpoint.rename(tmp_path / "float.cdg")  # an input that has an output's suffix
    cases = [
        ((train, *data, "--output", tmp_path / "file"), "file: is a file, expected a folder"),
        ((train, *data, "--output", tmp_path / "file" / "run"), "file/run: no place to write to"),
        ((train, *data, "--output", "/proc/nowhere/run"), "/proc/nowhere/run: no place to write to"),
        ((qat, graph, *data, "--output", tmp_path / "file"), "file: is a file, expected a folder"),
        ((evaluate, graph, *data, "--json", tmp_path), f"{tmp_path}: is a folder, expected a file"),
        ((evaluate, graph, *data, "--json", graph), "float.cdg: is an input, which would be overwritten"),
        ((export, graph, "-o", tmp_path / "folder.cdg"), "folder.cdg: is a folder, expected a file"),
        ((export, graph, "-o", graph), "float.cdg: is an input, which would be overwritten"),
        ((export, graph, "-o", tmp_path / "float.cdn"), "float.cdg: is an input, which would be overwritten"),
        ((export, graph, "-o", tmp_path / "file" / "x.cdg"), "file: is a file, expected a folder"),
        ((soup, graph, graph, "-o", tmp_path / "file" / "x.pt"), "file: is a file, expected a folder"),
    ]
    for words, expected in cases:
        status, line = complaint(*words)
        assert status == 2 and expected in line, words


def test_a_run_does_not_overwrite_what_it_starts_from(complaint, coco_folder, tmp_path):
    output = tmp_path / "build" / "run"
    output.mkdir(parents=True)
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "best.pt"):
        path = float_checkpoint(output / name, ("cat", "dog"))
        for words in (
            (train, *training(coco_folder, output, "--overwrite", "--start-from", path)),
            (qat, path, "--data", coco_folder, "--output", output, "--overwrite"),
        ):
            status, line = complaint(*words)
            assert status == 2 and f"{path}: is an input" in line
            assert load_network(path).classes == ("cat", "dog")


def test_names_that_the_terminal_has_no_characters_for(coco_folder, tmp_path, monkeypatch):
    """``PYTHONIOENCODING=ascii``: names are printed with escapes, and files have them whole."""
    names = {"cat": "chat à poil", "dog": "狗", "cow": "cow"}
    for split in ("train", "val"):
        path = coco_folder / f"instances_{split}.json"
        content = json.loads(path.read_text())
        for category in content["categories"]:
            category["name"] = names[category["name"]]
        path.write_text(json.dumps(content))
    output = tmp_path / "build" / "run"
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    assert train.main([str(word) for word in training(coco_folder, output, "--iterations", 1)]) == 0
    words = [output / "checkpoint.pt", "--data", coco_folder, "--json", tmp_path / "scores.json"]
    assert evaluate.main([str(word) for word in words]) == 0
    for stream in streams.values():
        stream.flush()
    printed = streams["stdout"].buffer.getvalue().decode("ascii")
    assert r"chat \xe0 poil" in printed and r"\u72d7" in printed
    assert json.loads((tmp_path / "scores.json").read_text())["ap50_by_class"].keys() == {"chat à poil", "狗"}
    assert "狗" in (output / "log.txt").read_text(encoding="utf-8")


def wrong_files(folder, checkpoint):
    """Files that are no checkpoint, each of another kind."""
    (folder / "text.pt").write_text("no network")
    (folder / "empty.pt").touch()
    (folder / "folder.pt").mkdir()
    (folder / "torn.pt").write_bytes(checkpoint.read_bytes()[:3000])
    (folder / "object.pt").write_bytes(pickle.dumps({"when": zipfile.ZipInfo()}))
    torch.save(torch.nn.Linear(1, 1), folder / "module.pt")
    torch.save({"state_dict": {"fc.weight": torch.zeros(1)}}, folder / "other.pt")
    np.savez(folder / "arrays.pt.npz", x=np.zeros(1))
    (folder / "arrays.pt.npz").rename(folder / "arrays.pt")
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    untrained(TINY, ("cat", "dog")).save(folder / "graph.pt")
    state = load_checkpoint(checkpoint)
    torch.save({**state, "average": {}}, folder / "bare.pt")
    torch.save({**state, "config": {"name": "x", "wings": 2}}, folder / "later.pt")
    return [*sorted(folder.glob("*.pt")), folder / "objects.npz", folder / "missing.pt"]


def test_wrong_files_are_called_so(complaint, coco_folder, checkpoint, tmp_path):
    """What PyTorch and NumPy say of them is advice to those who wrote the file."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    offsets, precisions, shelve = (
        importlib.import_module(f"models.{name}") for name in ("offsets", "precisions", "zoo.__main__")
    )
    data, place = ("--data", coco_folder), ("--output", tmp_path / "build" / "run")
    for path in wrong_files(folder, checkpoint):
        commands = [
            (train, *training(coco_folder, place[1], "--iterations", 1, "--start-from", path)),
            (train, *training(coco_folder, place[1], "--iterations", 1, "--backbone", path)),
            (train, *training(coco_folder, place[1], "--iterations", 1, "--start-authors", path)),
            (qat, path, *data, *place, "--workers", 1),
            (export, path, "-o", tmp_path / "x.cdg"),
            (soup, checkpoint, path, "-o", tmp_path / "x.pt"),
            (precisions, path, *data, "--output", tmp_path / "p"),
            (shelve, "add", path, path, "--name", "x", *data),
            (evaluate, path, *data),
            (offsets, path, *data, "-o", tmp_path / "offsets"),
        ]
        for command in commands:
            # Weights that fit are a start, whatever else their configuration says.
            if path.stem == "later" and "--start-from" in command:
                continue
            status, line = complaint(*command)
            assert status == 2 and path.name in line, (command, line)
            for advice in ("allow_pickle", "weights_only", "issue", "trust", "arbitrary code"):
                assert advice not in line, (command, line)


def test_torchrun_takes_all_options():
    """It reads the script's options as abbreviations of its own, and refuses those that fit two."""
    from torch.distributed.run import get_args_parser

    for parser in (train.make_parser(), qat.make_parser()):
        for action in parser._actions:
            for option in action.option_strings:
                # The other name of --start-from, which is the reason for that one.
                if option != "--start":
                    assert get_args_parser().parse_args(["-m", "x", option, "y"]).training_script_args == [option, "y"]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("cat", "dog", "cow"), "no boxes of cow to train on"),
        (("cat", "fox"), "class 'fox' is not in the file"),
    ],
)
def test_fine_tuning_needs_boxes_of_each_class(classes, expected, complaint, coco_folder, tmp_path):
    path = float_checkpoint(tmp_path / "three.pt", classes)
    words = (path, "--data", coco_folder, "--output", tmp_path / "build" / "run", "--workers", 1)
    status, line = complaint(qat, *words)
    assert status == 2 and expected in line
    assert not previous(tmp_path / "build" / "run" / "checkpoint.pt").exists()


def test_what_a_run_says(coco_folder, checkpoint, tmp_path, capsys):
    """What it does, how long it will take, where the result is; short lines, and the settings in a file."""
    output = tmp_path / "build" / "run"
    words = training(coco_folder, output, "--iterations", 8, "--save-every", 4)
    assert train.main([str(word) for word in words]) == 0
    assert f"done: {output / 'checkpoint.pt'}" in capsys.readouterr().out
    log = (output / "log.txt").read_text()
    assert "network tiny, photos to 64x64 (stretch)" in log and "2 photos with 2 boxes of cat, dog" in log
    assert "new run: 8 steps of 2 photos, each photo about 8.0 times" in log
    assert "s a step, about " in log and "to go" in log
    assert max(map(len, log.splitlines())) < 250
    assert json.loads((output / "settings.json").read_text())["training"]["iterations"] == 8
    quantized = tmp_path / "build" / "quantized"
    words = (checkpoint, "--data", coco_folder, "--output", quantized, "--workers", 1, "--batch", 2, "--iterations", 1)
    assert qat.main([str(word) for word in words]) == 0
    assert "calibrating activation ranges on 16 photos, then quantizing to W4A8" in (quantized / "log.txt").read_text()


def test_a_young_network_says_how_far_it_is(coco_folder, checkpoint, capsys):
    """Average precision 0 may be a network that sees nothing or one whose scores are low."""
    assert evaluate.main([str(checkpoint), "--data", str(coco_folder)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "best score" in line)
    assert "none reaches 0.3, the threshold of codenet detect" in line
