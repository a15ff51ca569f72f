# SPDX-License-Identifier: Apache-2.0
"""Several processes compute what one does."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from models.data import cached_images, load_data
from models.network.blocks import ConvNorm, set_slope
from models.network.checkpoints import float_identity, load_checkpoint, write_checkpoint
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.quantization.convert import calibrate, quantize
from models.quantization.untrained import _normalize_on, synthetic_photo
from models.training import distributed
from models.training.batches import Batches
from models.training.config import TrainConfig
from models.training.distributed import first_of_machine, from_first, gather, pick_device, rank, start_workers, world
from models.training.losses import detection_loss, divisors
from models.training.trainer import Trainer
from tests.models.common import TINY

CLASSES = ("cat", "dog")
CONFIG = TrainConfig(iterations=4, batch=4, warmup=2, cache_size=64, clip=1e9, decay=0.0)


def make_network(kind):
    torch.manual_seed(3)
    network = CoDeNet(TINY, CLASSES)
    if kind == "no norm":
        for module in network.modules():
            if isinstance(module, ConvNorm):
                module.norm = nn.Identity()
    if kind == "quantized":
        photos = normalize(np.stack([synthetic_photo(64, n) for n in range(2)]))
        _normalize_on(network, photos)
        return quantize(network, calibrate(network, [photos]))
    return network


def make_batches(folder, worker=0, workers=1):
    data = load_data(folder, "train", CLASSES)
    return Batches(data, cached_images(data, 64, folder / "cache"), CONFIG, TINY, worker, workers)


def job(kind, folder, output, worker, workers):
    """Train a few steps; the first process keeps what it got."""
    batches = make_batches(folder, worker, workers)
    trainer = Trainer(make_network(kind), CONFIG, {})
    trainer.network.train()
    losses, gradients = [], {}
    while trainer.step < CONFIG.iterations:
        losses.append(trainer.train_step(batches[trainer.step]))
        if trainer.step == 1:
            gradients = {name: p.grad.clone() for name, p in trainer.network.named_parameters()}
    assert gather(worker) == list(range(world())) and rank() == worker
    assert from_first({"from": worker}) == {"from": 0}
    same = [torch.equal(value, p) for value, p in zip(*gather_weights(trainer), strict=True)]
    totals = gather([part["total"] for part in losses])
    if worker == 0:
        torch.save(
            {"losses": np.mean(totals, axis=0).tolist(), "gradients": gradients, "same": all(same)},
            output / "result.pt",
        )


def gather_weights(trainer):
    every = gather([p.detach() for p in trainer.network.parameters()])
    return every[0], every[-1]


def trained(kind, folder, output, workers):
    output.mkdir()
    start_workers(functools.partial(job, kind, folder, output), output, workers)
    return torch.load(output / "result.pt")


def difference(a, b):
    """Largest difference of two lots of gradients, in units of the largest gradient."""
    largest = max(value.abs().max() for value in a.values())
    return (max((a[name] - b[name]).abs().max() for name in a) / largest).item()


@pytest.mark.slow
def test_two_processes_compute_what_one_does(coco_folder, tmp_path):
    """Without batch norm all of a step is a sum over images."""
    one, two = (trained("no norm", coco_folder, tmp_path / str(workers), workers) for workers in (1, 2))
    assert difference(one["gradients"], two["gradients"]) < 1e-5
    # Adam's steps make rounding errors larger where gradients are near zero.
    assert two["losses"] == pytest.approx(one["losses"], rel=2e-3)
    assert two["same"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["norm", "quantized"])
def test_statistics_and_rounding_are_of_each_part(kind, coco_folder, tmp_path):
    """The gradient is that of both halves computed one after the other in this process, each with its own batch norm
    statistics.
    """
    result = trained(kind, coco_folder, tmp_path / "two", 2)
    network = make_network(kind).train()
    set_slope(network, CONFIG.negative_slope(0))
    whole = make_batches(coco_folder)[0]
    for worker in range(2):
        # Sums over a half, divided by what the whole batch contains.
        part = make_batches(coco_folder, worker, 2)[0]
        detection_loss(network(part.images), part, divisors(whole.totals()))["total"].backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert difference(gradients, result["gradients"]) < 1e-5
    assert result["same"]
    if kind == "norm":
        network.zero_grad()
        detection_loss(network(whole.images), whole)["total"].backward()
        joint = {name: p.grad for name, p in network.named_parameters()}
        assert difference(joint, result["gradients"]) > 1e-3


def fail(worker, workers):
    raise CodenetError(f"nothing to do for process {worker % 1}")


@pytest.mark.slow
def test_an_error_of_all_workers_is_raised_once_by_the_one_who_started_them(tmp_path, capfd):
    with pytest.raises(CodenetError, match="^nothing to do for process 0$"):
        start_workers(fail, tmp_path, 2)
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_torchrun_gives_the_same_bits_as_workers(coco_folder, tmp_path):
    results, start = {}, tmp_path / "start.pt"
    network = make_network("norm")
    write_checkpoint({**float_identity(network), "network": {}, "average": network.state_dict()}, start)
    launch = {
        "workers": [sys.executable, "-m", "tests.models.training.tiny_train", "--workers", "2"],
        "torchrun": [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "tests.models.training.tiny_train"),
        ],
    }
    for name, command in launch.items():
        output = tmp_path / name / "run"
        command += ["--data", str(coco_folder), "--output", str(output), "--classes", "cat", "dog"]
        command += [
            "--start-from",
            str(start),
            "--iterations",
            "6",
            "--batch",
            "4",
            "--no-mixed",
            "--save-every",
            "2",
            "--evaluate-every",
            "2",
        ]
        run = subprocess.run([*command, "--no-tensorboard"], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        results[name] = load_checkpoint(output / "checkpoint.pt"), (output / "history.jsonl").read_text()
        # One process writes.
        assert len(results[name][1].splitlines()) == 3
    (first, lines), (second, other_lines) = results.values()
    assert lines == other_lines and '"ap50"' in lines
    for key in ("network", "average"):
        assert all(torch.equal(value, second[key][name]) for name, value in first[key].items())


def test_alone_there_is_nothing_to_wait_for():
    with first_of_machine():
        assert (rank(), world()) == (0, 1)
    assert gather("x") == ["x"] and from_first("x") == "x"


@pytest.mark.parametrize(("gpus", "device", "expected"), [(0, "auto", 2), (3, "auto", 3), (3, "cpu", 2)])
def test_workers_are_one_a_gpu_unless_given(gpus, device, expected, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.multiprocessing, "spawn", lambda function, arguments, count, join: started.append(count))
    monkeypatch.setattr(distributed, "_wait_for", lambda processes: None)
    start_workers(fail, tmp_path, None, device)
    assert started == [expected]
    with pytest.raises(CodenetError, match="workers is 0, expected 1 or more"):
        start_workers(fail, tmp_path, 0)


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(CodenetError, match="device is 'gpu', expected auto, cpu, cuda or cuda:NUMBER"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        assert pick_device("auto") == torch.device("cpu")
        with pytest.raises(CodenetError, match="device is 'cuda:1', but PyTorch .* sees no such device"):
            pick_device("cuda:1")
