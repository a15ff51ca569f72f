# SPDX-License-Identifier: Apache-2.0
"""The network's shapes and sizes, and trunk weights in it."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.network.backbone import shuffle
from models.network.blocks import set_slope
from models.network.config import CONFIGS, NetworkConfig, get_config, normalize
from models.network.detector import CoDeNet
from models.pretrained.shufflenet import IMAGENET_MEAN, IMAGENET_STD, load_backbone_weights
from tests.models.common import TINY, TINY_II

ANIMALS = ("person", "cat", "dog", "horse", "sheep", "cow")


@pytest.mark.parametrize("config", [TINY, TINY_II], ids=lambda config: config.name)
def test_output_shapes(config):
    network = CoDeNet(config, ("a", "b", "c")).eval()
    outputs = network(torch.zeros(2, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "heatmap": (2, 3, 16, 16),
        "size": (2, 2, 16, 16),
        "offset": (2, 2, 16, 16),
    }


def multiplications(config):
    """Multiply-accumulates of all convolutions of a configuration, counted on the meta device."""
    total = 0

    def count(module, _inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    with torch.device("meta"):
        network = CoDeNet(config, tuple(str(n) for n in range(20))).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    # The depthwise deformable convolution is not a module of torch; dilations have no values on the meta device.
    network.backbone(torch.empty(1, 3, config.size, config.size, device="meta"))
    return total


# Backbone only; the paper's totals (0.29, 0.29, 1.14, 3.54, 3.58 G with decoder and heads) are above these.
@pytest.mark.parametrize(("name", "upper"), [("a", 0.29e9), ("b", 0.29e9), ("c", 1.14e9), ("d", 3.54e9), ("e", 3.58e9)])
def test_backbone_macs_fit_the_paper(name, upper):
    assert 0.4 * upper < multiplications(CONFIGS[name]) < upper


def test_parameters_of_configuration_a_fit_the_paper():
    # 0.76 MB of 4-bit weights, 20 classes.
    weights = sum(p.numel() for p in CoDeNet(CONFIGS["a"], tuple("x" * 20)).parameters() if p.ndim > 1)
    assert weights / 2 == pytest.approx(0.76e6, rel=0.05)


def test_shuffle_by_hand():
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffle(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_slope_changes_negative_activations_only():
    network = CoDeNet(TINY, ("a",)).eval()
    x = torch.tensor([[[[-2.0, 3.0]]]])
    relu = network.backbone.stem.relu
    assert relu(x.clone()).flatten().tolist() == [0, 3]
    set_slope(network, 0.1)
    assert relu(x.clone()).flatten().tolist() == pytest.approx([-0.2, 3])


def test_normalization_of_grey_is_zero():
    pixels = np.array([[[[114, 178, 50]]]], np.uint8)
    assert normalize(pixels).flatten().tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 100}, "input size is 100"),
        ({"size": 0}, "input size is 0"),
        ({"stem": "s8"}, "stem is 's8'"),
        ({"deform": "iii"}, "deform is 'iii'"),
        ({"channels": (24, 116, 233, 464, 1024)}, "233 is odd"),
        ({"channels": (24, 116)}, r"channels are \(24, 116\), expected 5 numbers from 1 to 4096"),
        ({"channels": (24, 116, 232, 464, 65536)}, "channels are .*, expected 5 numbers from 1 to 4096"),
        ({"units": (4, 8, 65)}, "units are .*, expected 3 numbers from 1 to 64"),
        ({"units": (4, True, 4)}, "units are .*, expected 3 numbers"),
        ({"decoder": (256, 128, -64)}, "widths of the decoder are .*, expected 3 numbers from 1 to 4096"),
        ({"head": 0}, r"widths of a head are \(0,\), expected 1 numbers"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(CodenetError, match=message):
        CONFIGS["a"].replace(**changes)


def test_configuration_by_name_and_as_plain_values():
    assert get_config("d").channels == (24, 244, 488, 976, 2153)
    with pytest.raises(CodenetError, match="'h', expected one of a, b, c, d, e, f, g"):
        get_config("h")
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(TINY).items()}
    assert NetworkConfig.from_dict(values) == TINY


def test_trunk_computes_the_same_function(real_data):
    path = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    network = CoDeNet(CONFIGS["b"].replace(size=64), ANIMALS).eval()
    load_backbone_weights(network.backbone, path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    stem = network.backbone.stem
    ours = stem.norm(stem.conv(normalize(pixels)))
    with np.load(path) as archive:
        weight, gamma, beta, mean, var = (
            torch.from_numpy(archive[key])
            for key in ("conv1.0.weight", *(f"conv1.1.{n}" for n in ("weight", "bias", "running_mean", "running_var")))
        )
        assert np.array_equal(
            network.backbone.stages[1][5].branch2[1].conv.weight.detach().numpy(), archive["stage3.5.branch2.3.weight"]
        )
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(
        IMAGENET_STD
    ).view(3, 1, 1)
    theirs = F.batch_norm(F.conv2d(x, weight, stride=2, padding=1), mean, var, gamma, beta)
    # Padding has another colour: the first row and column differ.
    assert torch.allclose(ours[..., 1:, 1:], theirs[..., 1:, 1:], atol=1e-4)
