# SPDX-License-Identifier: Apache-2.0
"""``python -m models.restem``: the beginning learns what the original's computes, the rest stays."""

import pytest
import torch
from torch import nn

from models import restem
from models.data import Augmentation, cached_images
from models.network import CONFIGS, CoDeNet, load_network
from models.training.distill import normalized_error
from models.training.resident import Views, resident_photos, with_stem
from models.training.run import training_data
from models.zoo.shelve import save_compact
from tests.models.common import TINY

CLASSES = ("cat", "dog")
POOLED = TINY.replace(name="pooled", stem="s2max")


@pytest.fixture
def original(monkeypatch, tmp_path):
    """File of a network ``tiny``; the configurations ``tiny`` and ``pooled`` are known."""
    for config in (TINY, POOLED):
        monkeypatch.setitem(CONFIGS, config.name, config)
    torch.manual_seed(2)
    network, path = CoDeNet(TINY, CLASSES), tmp_path / "tiny.pt"
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = None
    with torch.no_grad():
        network(torch.randn(8, 3, 64, 64))  # Norms fit what passes through them, as a trained network's do.
    save_compact(network, path)
    return path


@pytest.fixture
def command(original, coco_folder, tmp_path, capfd):
    """Runs the command; gives its status, standard error and the checkpoint it writes."""

    def run(*words):
        output = tmp_path / "out"
        fixed = ["--data", str(coco_folder), "--output", str(output), "--device", "cpu", "--batch", "4"]
        return restem.main([str(original), *fixed, *words]), capfd.readouterr().err, output / "float.pt"

    return run


@pytest.mark.parametrize("stages", [1, 2])
def test_beginning_learns_what_the_originals_computes(command, original, coco_folder, tmp_path, stages):
    status, error, path = command("--config", "pooled", "--steps", "200", "--stages", str(stages))
    assert status == 0, error
    network, teacher = load_network(path), load_network(original)
    assert network.config == POOLED and network.classes == CLASSES
    data = training_data([str(coco_folder)], CLASSES)
    photos = resident_photos(data, cached_images(data, 64, tmp_path / "cache"), torch.device("cpu"))
    still = Augmentation(scale=(1.0, 1.0), aspect=1.0, flip=0.0, jitter=0.0)
    images, _ = Views(photos, still, 64).single(torch.arange(len(photos)))

    def error_of(network):
        results = [n.backbone.levels(images, stages)[-1] for n in (network.eval(), teacher)]
        return float(normalized_error(*results))

    with torch.no_grad():
        before = error_of(with_stem(teacher, POOLED))
        assert error_of(network) < 0.7 * before, before
    for key, value in teacher.state_dict().items():
        same = torch.equal(value, network.state_dict()[key])
        learnt = key.startswith(("backbone.stem", *(f"backbone.stages.{number}." for number in range(stages))))
        assert same or learnt, key
        assert not (same and learnt and value.is_floating_point() and value.ndim), key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny", "another stem for tiny: stem is 's4', expected another than tiny has"),
        ("b", "another stem for b: size is 256, expected 64 as in tiny"),
    ],
)
def test_a_network_that_differs_in_more_or_nothing(command, name, message):
    status, error, path = command("--config", name)
    assert status == 2 and f"models.restem: error: {message}" in error and not path.exists()


def test_output_that_is_the_checkpoint(original, coco_folder, capfd):
    """Nothing is read of the data, and the checkpoint stays."""
    whole = original.rename(original.with_name("float.pt"))
    content = whole.read_bytes()
    words = ["--config", "pooled", "--data", str(coco_folder), "--output", str(whole.parent), "--device", "cpu"]
    assert restem.main([str(whole), *words]) == 2
    assert "float.pt" in capfd.readouterr().err and whole.read_bytes() == content
