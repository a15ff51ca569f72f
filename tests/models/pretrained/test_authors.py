# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints: a state dict of their layout, and a detector written from that layout with plain
functions.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.network.config import normalize
from models.pretrained.authors import NORMALIZATIONS, distances, load_authors, to_rounded
from tests.models.common import TINY

CLASSES = ("a", "b", "c")
GENERATOR = torch.Generator().manual_seed(5)
CONFIG = TINY.replace(stem="s2max")


def random(*shape):
    return torch.randn(shape, generator=GENERATOR)


def conv(state, name, outputs, inputs, kernel):
    state[f"{name}.weight"] = random(outputs, inputs, kernel, kernel) * (2 / (inputs * kernel**2)) ** 0.5


def norm(state, name, width):
    state |= {f"{name}.{key}": random(width) * 0.2 for key in ("bias", "running_mean")}
    state |= {f"{name}.{key}": 1 + 0.3 * random(width).clamp(-2, 2) for key in ("weight", "running_var")}
    state[f"{name}.num_batches_tracked"] = torch.tensor(3)


def authors_state(config, classes):
    """A random state dict with the keys of PAPER's table."""
    GENERATOR.manual_seed(5)
    state, channels = {}, config.channels

    def block(name, outputs, inputs, kernel):
        prefix, _, position = name.rpartition(".")
        conv(state, name, outputs, inputs, kernel)
        norm(state, f"{prefix}.{int(position) + 1}", outputs)

    block("layer0.0", channels[0], 3, 3)
    for stage, (inputs, outputs) in enumerate(zip(channels[:3], channels[1:4], strict=True), start=1):
        half = outputs // 2
        for unit in range(config.units[stage - 1]):
            name = f"layer{stage}.{unit}"
            if unit == 0:
                block(f"{name}.b1.0", inputs, 1, 3)
                block(f"{name}.b1.2", half, inputs, 1)
            block(f"{name}.b2.0", half, inputs if unit == 0 else half, 1)
            block(f"{name}.b2.3", half, 1, 3)
            block(f"{name}.b2.5", half, half, 1)
    block("layer4.0", channels[4], channels[3], 1)
    for n, (inputs, outputs) in enumerate(zip((channels[4], *config.decoder), config.decoder, strict=False)):
        name = f"deconv_layers.{4 * n}"
        conv(state, f"{name}.conv_scale", 1, inputs, 1)
        # Distances of both signs, some beyond the bounds.
        state[f"{name}.conv_scale.weight"] *= 4
        state[f"{name}.conv_scale.bias"] = torch.tensor([(4.0, -3.0, 1.0)[n]])
        conv(state, f"{name}.conv", inputs, 1, 3)
        conv(state, f"{name}.conv_channel", outputs, inputs, 1)
        norm(state, f"deconv_layers.{4 * n + 1}", outputs)
    for head, outputs in (("hm", classes), ("wh", 2), ("reg", 2)):
        block(f"{head}.0", config.head, config.decoder[-1], 1)
        block(f"{head}.3", config.head, 1, 3)
        conv(state, f"{head}.6", outputs, config.head, 1)
        state[f"{head}.6.bias"] = random(outputs)
    return state


def at(x, row, column):
    """Bilinear sample of ``[C, H, W]`` at one place, zero outside of the image, by the four pixels around it."""
    total = torch.zeros(x.shape[0])
    top, left = int(np.floor(row)), int(np.floor(column))
    for y in (top, top + 1):
        for z in (left, left + 1):
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                total = total + x[:, y, z] * (1 - abs(row - y)) * (1 - abs(column - z))
    return total


class Authors:
    """Forward pass of their detector, from PAPER's description."""

    def __init__(self, state, config):
        self.state, self.config = state, config

    def apply(self, name, x, stride=1, padding=0, groups=1, relu=True):
        prefix, _, position = name.rpartition(".")
        x = F.conv2d(x, self.state[f"{name}.weight"], stride=stride, padding=padding, groups=groups)
        return self.norm(f"{prefix}.{int(position) + 1}", x, relu)

    def norm(self, name, x, relu):
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(self.state[f"{name}.{key}"] for key in keys))
        return F.relu(x) if relu else x

    def unit(self, name, x, first):
        a, b = (x, x) if first else x.chunk(2, dim=1)
        stride = 2 if first else 1
        if first:
            a = self.apply(f"{name}.b1.2", self.apply(f"{name}.b1.0", a, 2, 1, a.shape[1], relu=False))
        b = self.apply(f"{name}.b2.0", b)
        b = self.apply(f"{name}.b2.5", self.apply(f"{name}.b2.3", b, stride, 1, b.shape[1], relu=False))
        return torch.stack([a, b], dim=2).flatten(1, 2)  # shuffled: a and b by turns

    def deform(self, name, x):
        """Depthwise, each tap at ``s`` times its distance, one pixel after the other."""
        s = F.conv2d(x, self.state[f"{name}.conv_scale.weight"], self.state[f"{name}.conv_scale.bias"]).clamp(-7, 8)
        weight = self.state[f"{name}.conv.weight"][:, 0]
        out = torch.zeros_like(x)
        for y in range(x.shape[2]):
            for z in range(x.shape[3]):
                for i in range(3):
                    for j in range(3):
                        reach = s[0, 0, y, z].item()
                        out[0, :, y, z] += weight[:, i, j] * at(x[0], y + reach * (i - 1), z + reach * (j - 1))
        return F.conv2d(out, self.state[f"{name}.conv_channel.weight"])

    def __call__(self, rgb, normalization):
        """Outputs for a photo, uint8 ``[1, H, W, 3]``; the border continues with grey 114."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in NORMALIZATIONS[normalization])
        bgr = torch.from_numpy(rgb[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        x = (F.pad(bgr, (1, 1, 1, 1), value=114.0) / 255 - mean) / std
        x = self.apply("layer0.0", x, 2 if self.config.stem == "s2max" else 4)
        if self.config.stem == "s2max":
            x = F.max_pool2d(x, 3, 2, 1)
        for stage, units in enumerate(self.config.units, start=1):
            for unit in range(units):
                x = self.unit(f"layer{stage}.{unit}", x, unit == 0)
        x = self.apply("layer4.0", x)
        for n in range(3):
            x = self.norm(f"deconv_layers.{4 * n + 1}", self.deform(f"deconv_layers.{4 * n}", x), True)
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        outputs = {}
        for ours, theirs in (("heatmap", "hm"), ("size", "wh"), ("offset", "reg")):
            y = self.apply(f"{theirs}.3", self.apply(f"{theirs}.0", x), 1, 1, self.config.head)
            outputs[ours] = F.conv2d(y, self.state[f"{theirs}.6.weight"], self.state[f"{theirs}.6.bias"])
        return outputs


def photo(count=1, seed=2):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model_last.pth"

    def write(state):
        torch.save({"epoch": 90, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
        return path

    return write


@pytest.mark.parametrize("normalization", ["voc", "coco"])
@pytest.mark.parametrize("stem", ["s2max", "s4"])
def test_outputs_are_theirs(checkpoint, normalization, stem):
    config = CONFIG.replace(stem=stem)
    state = authors_state(config, len(CLASSES))
    network = load_authors(checkpoint(state), config, CLASSES, normalization)
    assert network.config.sampling == "square"
    expected = Authors(state, config)(photo(), normalization)
    reach = torch.cat(distances(network, photo()))
    assert (reach < -1).any() and (reach > 2).any() and (reach.frac().abs() > 0.1).any()
    with torch.no_grad():
        outputs = network(normalize(photo()))
    for name, value in outputs.items():
        assert expected[name].std() > 0.05
        assert torch.allclose(value, expected[name], atol=2e-3), name


def test_normalization_follows_the_number_of_classes(checkpoint):
    weights = {}
    for count in (20, 80):
        path = checkpoint(authors_state(CONFIG, count))
        names = tuple(str(n) for n in range(count))
        stems = [load_authors(path, CONFIG, names, key).backbone.stem.conv.weight for key in (None, "voc", "coco")]
        weights[count] = [torch.equal(stems[0], other) for other in stems[1:]]
    assert weights == {20: [True, False], 80: [False, True]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.1.b2.5.weight"), "layer2.1.b2.5.weight is missing"),
        (lambda s: s.pop("deconv_layers.4.conv_scale.bias"), "deconv_layers.4.conv_scale.bias is missing"),
        (lambda s: s.pop("wh.4.running_var"), "wh.4.running_var is missing"),
        (lambda s: s.pop("hm.6.weight"), "hm.6.weight is missing, expected the layout"),
        (
            lambda s: s.update({"layer4.0.weight": torch.zeros(3, 3, 1, 1)}),
            "layer4.0.weight is \\(3, 3, 1, 1\\), expected",
        ),
        (lambda s: s.update({"hm.6.weight": torch.zeros(9, 16, 1, 1)}), "heatmap has 9 classes, expected 3: a, b, c"),
        (lambda s: s.update({"fc.weight": torch.zeros(1)}), "fc.weight is not in the layout"),
        (lambda s: s.update({"layer0.1.1.x_min": torch.zeros(1)}), "of a quantized network"),
    ],
)
def test_bad_checkpoints_are_named(checkpoint, change, message):
    state = authors_state(CONFIG, len(CLASSES))
    change(state)
    with pytest.raises(CodenetError, match=message):
        load_authors(checkpoint(state), CONFIG, CLASSES)


def test_integer_distances_keep_the_function_even_if_negative(checkpoint):
    """Stages at distances 3 and -2, whole numbers: rounding changes nothing once the negative one is turned."""
    state = authors_state(CONFIG, len(CLASSES))
    for n, distance in enumerate((3.0, -2.0, 1.0)):
        state[f"deconv_layers.{4 * n}.conv_scale.weight"].zero_()
        state[f"deconv_layers.{4 * n}.conv_scale.bias"].fill_(distance)
    network = load_authors(checkpoint(state), CONFIG, CLASSES)
    rounded = to_rounded(network, photo(2))
    assert rounded.config == network.config.replace(sampling="rounded")
    assert [stage.deform.dilation.bias.item() for stage in rounded.decoder] == [3.0, 2.0, 1.0]
    with torch.no_grad():
        before, after = network(normalize(photo())), rounded(normalize(photo()))
    for name in before:
        assert torch.allclose(before[name], after[name], atol=1e-3), name
    # The network that was given is as it was.
    assert network.decoder[1].deform.dilation.bias.item() == -2.0
