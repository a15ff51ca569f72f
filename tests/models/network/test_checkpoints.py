# SPDX-License-Identifier: Apache-2.0
"""Checkpoints survive a kill at any moment."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from models.network import checkpoints
from models.network.checkpoints import load_checkpoint, load_newest, previous, write_checkpoint
from models.training.progress import read_history

#: Length of the runs that are killed.
STEPS = 30


def state(step):
    parts = {"kind": "float", "network": {}, "average": {}, "config": {}, "classes": []}
    return {**parts, "step": step, "x": torch.full((1000,), step)}


class Killed(BaseException):
    pass


def test_a_bit_of_the_weights_that_is_another_is_refused(tmp_path):
    """PyTorch loads such a file without a word."""
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(state(7), path)
    assert load_checkpoint(path)["step"] == 7
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((100,), 7).numpy().tobytes()) + 50] ^= 4
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["step"] == 7
    with pytest.raises(CodenetError, match=r"checkpoint\.pt: no PyTorch file, or a damaged one"):
        load_checkpoint(path)


# Moments of a write: nothing written, half of the file, before it is on the disk, before and between the two changes of
# name.
@pytest.mark.parametrize(
    ("moment", "left"), [("save", 2), ("half", 2), ("sync", 2), ("rename 1", 2), ("rename 2", 2), ("end", 3)]
)
def test_a_kill_while_writing_leaves_a_whole_checkpoint(moment, left, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        write_checkpoint(state(step), path)
    rename, renames = Path.replace, []

    def torn_sync(number):
        os.ftruncate(number, os.fstat(number).st_size // 2)
        raise Killed

    def torn_rename(self, target):
        renames.append(target)
        if len(renames) == int(moment[-1]):
            raise Killed
        return rename(self, target)

    def killed(*_):
        raise Killed

    if moment == "save":
        monkeypatch.setattr(checkpoints.torch, "save", killed)
    elif moment in ("half", "sync"):
        monkeypatch.setattr(checkpoints.os, "fsync", torn_sync if moment == "half" else killed)
    elif moment != "end":
        monkeypatch.setattr(Path, "replace", torn_rename)
    try:
        write_checkpoint(state(3), path)
    except Killed:
        assert moment != "end"
    monkeypatch.undo()
    found = load_newest(path)
    assert found is not None and found[1]["step"] == left and (found[1]["x"] == left).all()
    # The next write is not disturbed by what the kill left.
    write_checkpoint(state(4), path)
    assert load_checkpoint(path)["step"] == 4


def test_the_older_checkpoint_stands_in_for_an_unreadable_one(tmp_path, caplog):
    path = tmp_path / "checkpoint.pt"
    assert load_newest(path) is None
    for step in (1, 2):
        write_checkpoint(state(step), path)
    path.write_bytes(path.read_bytes()[:500])
    found = load_newest(path)
    assert found is not None and found[0] == previous(path) == tmp_path / "checkpoint.previous.pt"
    assert found[1]["step"] == 1 and "checkpoint.pt: no PyTorch file, or a damaged one" in caplog.text
    previous(path).write_bytes(b"")
    with pytest.raises(CodenetError, match="checkpoint.pt: no PyTorch file.*start anew with --overwrite"):
        load_newest(path)


def command(folder, output, workers, *more):
    arguments = ["--data", str(folder), "--output", str(output), "--classes", "cat", "dog", "--workers", str(workers)]
    arguments += [
        "--iterations",
        str(STEPS),
        "--batch",
        "4",
        "--save-every",
        "1",
        "--evaluate-every",
        "10",
        "--mosaic",
        "0.5",
    ]
    arguments += ["--no-mixed", "--no-tensorboard"]
    return [sys.executable, "-m", "tests.models.training.tiny_train", *arguments, *more]


def start(words):
    return subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(1, 3), (2, 2)])
def test_a_killed_run_ends_as_an_uninterrupted_one(workers, kills, coco_folder, tmp_path):
    """Killed with SIGKILL at random moments, resumed, and compared bit for bit."""
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    assert start(command(coco_folder, whole, workers)).wait(600) == 0
    rng = np.random.default_rng(workers)
    steps = [0]
    for _ in range(kills):
        process = start(command(coco_folder, killed, workers, "--resume"))
        # Let it get further than it was, by some steps and a random part of one.
        goal = min(STEPS, steps[-1] + int(rng.integers(2, 9)))
        while process.poll() is None and noted_step(killed) < goal:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.1))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        found = load_newest(killed / "checkpoint.pt")
        assert found is not None
        steps.append(found[1]["step"])
        # A step is noted, then saved; the interval is one step: no more than the last one is lost.
        assert steps[-1] >= goal - 1
    assert steps[1] < STEPS
    assert start(command(coco_folder, killed, workers, "--resume")).wait(600) == 0
    expected, last = load_checkpoint(whole / "checkpoint.pt"), load_checkpoint(killed / "checkpoint.pt")
    assert last["step"] == STEPS and last["best"] == expected["best"]
    for key in ("network", "average"):
        assert all(torch.equal(value, last[key][name]) for name, value in expected[key].items()), steps
    for number, values in expected["optimizer"]["state"].items():
        assert all(torch.equal(value, last["optimizer"]["state"][number][key]) for key, value in values.items())
    assert (killed / "history.jsonl").read_text() == (whole / "history.jsonl").read_text()
    best = [load_checkpoint(folder / "best.pt") for folder in (whole, killed)]
    assert all(torch.equal(value, best[1]["average"][name]) for name, value in best[0]["average"].items())


def noted_step(output):
    """Step of the last whole line of a run's table; 0 without one."""
    lines = read_history(output / "history.jsonl")
    return lines[-1]["step"] if lines else 0
