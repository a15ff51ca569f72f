# SPDX-License-Identifier: Apache-2.0
"""Trunk weights: layouts, and the original ShuffleNetV2 checkpoints' against a network written from their
definition.
"""

import zipfile

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from codenet.errors import CodenetError
from models.network.config import CONFIGS, PIXEL_OFFSET, PIXEL_SCALE
from models.network.detector import CoDeNet
from models.pretrained.megvii import _Stage
from models.pretrained.shufflenet import load_backbone_weights, read_arrays

UNITS = (4, 8, 4)


class Original:
    """Stem and stages of the original ShuffleNetV2 with random weights, by its state dict's names."""

    def __init__(self, channels):
        self.generator = torch.Generator().manual_seed(1)
        self.channels, self.state = channels, {}
        self.conv("first_conv.0", channels[0], 3, 3)
        self.norm("first_conv.1", channels[0])
        inputs, number = channels[0], 0
        for outputs, units in zip(channels[1:4], UNITS, strict=True):
            half = outputs // 2
            for unit in range(units):
                taken = inputs if unit == 0 else half
                main = f"features.{number}.branch_main"
                self.block(f"{main}.0", half, taken, 1)
                self.block(f"{main}.3", half, 1, 3)
                self.block(f"{main}.5", outputs - taken, half, 1)
                if unit == 0:
                    self.block(f"features.{number}.branch_proj.0", inputs, 1, 3)
                    self.block(f"features.{number}.branch_proj.2", inputs, inputs, 1)
                inputs, number = outputs, number + 1

    def random(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def conv(self, name, outputs, inputs, kernel):
        self.state[f"{name}.weight"] = self.random(outputs, inputs, kernel, kernel) / (inputs * kernel**2) ** 0.5

    def norm(self, name, width):
        self.state |= {f"{name}.{key}": self.random(width) * 0.2 for key in ("bias", "running_mean")}
        self.state |= {f"{name}.{key}": 1 + 0.3 * self.random(width).clamp(-2, 2) for key in ("weight", "running_var")}

    def block(self, name, outputs, inputs, kernel):
        prefix, _, position = name.rpartition(".")
        self.conv(name, outputs, inputs, kernel)
        self.norm(f"{prefix}.{int(position) + 1}", outputs)

    def apply(self, name, x, stride=1, padding=0, groups=1, relu=True):
        prefix, _, position = name.rpartition(".")
        x = F.conv2d(x, self.state[f"{name}.weight"], stride=stride, padding=padding, groups=groups)
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(self.state[f"{prefix}.{int(position) + 1}.{key}"] for key in keys))
        return F.relu(x) if relu else x

    def stem(self, pixels):
        """For RGB ``[N, 3, H, W]`` in 0 to 255, which the network takes as BGR; the border continues with grey 114."""
        x = F.pad(pixels.flip(1), (1, 1, 1, 1), value=float(PIXEL_OFFSET))
        return F.max_pool2d(self.apply("first_conv.0", x, stride=2), 3, stride=2, padding=1)

    def unit(self, number, x, first):
        name, stride = f"features.{number}", 2 if first else 1
        one, two = (x, x) if first else (x[:, 0::2], x[:, 1::2])
        if first:
            one = self.apply(f"{name}.branch_proj.0", one, 2, 1, one.shape[1], relu=False)
            one = self.apply(f"{name}.branch_proj.2", one)
        two = self.apply(f"{name}.branch_main.0", two)
        two = self.apply(f"{name}.branch_main.3", two, stride, 1, two.shape[1], relu=False)
        return torch.cat([one, self.apply(f"{name}.branch_main.5", two)], dim=1)

    def stages(self, pixels):
        """Outputs of the stages."""
        x, outputs, number = self.stem(pixels), [], 0
        for units in UNITS:
            for unit in range(units):
                x = self.unit(number, x, unit == 0)
                number += 1
            outputs.append(x)
        return outputs


def stem(network, pixels):
    """Output of our stem and pool for the same."""
    x = network.backbone.eval().stem((pixels - PIXEL_OFFSET) / PIXEL_SCALE)
    return F.max_pool2d(x, 3, stride=2, padding=1)


def stages(network, pixels):
    """Outputs of our stages."""
    x, outputs = stem(network, pixels), []
    for stage in network.backbone.stages:
        x = stage(x)
        outputs.append(x)
    return outputs


def by_mean(x):
    """Channels of one image in the order of their means."""
    return x[0][x[0].mean(dim=(1, 2)).argsort()]


def pixels(seed=0, size=64):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, size, size)).astype(np.float32))


def network_of(channels, name="b"):
    torch.manual_seed(7)
    return CoDeNet(CONFIGS[name].replace(channels=channels, size=64, stem="s2max"), ("cat",))


# The first stage's input as wide as its branches: nothing is lost. 29 channels a branch never halve evenly.
@pytest.mark.parametrize("channels", [(8, 16, 32, 64, 32), (29, 58, 116, 232, 32), (58, 116, 232, 464, 32)], ids=str)
def test_original_checkpoints_compute_the_same(channels, tmp_path):
    original = Original(channels)
    path = tmp_path / "original.pth.tar"
    torch.save({"state_dict": {f"module.{key}": value for key, value in original.state.items()}}, path)
    network = network_of(channels)
    load_backbone_weights(network.backbone, path)
    with torch.no_grad():
        for ours, theirs in zip(stages(network, pixels()), original.stages(pixels()), strict=True):
            assert theirs.std() > 0.1
            assert torch.allclose(by_mean(ours), by_mean(theirs), atol=2e-4)


def test_channels_without_a_place_become_constants(tmp_path, caplog):
    """The 1.0x network's first unit: 24 and 92 channels there, 58 and 58 here."""
    channels = (24, 116, 232, 464, 32)
    original = Original(channels)
    torch.save(original.state, tmp_path / "original.pth")
    network = network_of(channels)
    load_backbone_weights(network.backbone, tmp_path / "original.pth")
    assert "34 of 116 channels have no place" in caplog.text
    unit = network.backbone.stages[0][0]
    with torch.no_grad():
        ours = unit(stem(network, pixels()))[0]
        theirs = original.unit(0, original.stem(pixels()), True)[0]
    # The first branch's channels are the even ones after the shuffle.
    constant = torch.zeros(116, dtype=torch.bool)
    constant[0::2] = unit.branch1[1].norm.weight == 0
    assert constant.sum() == 34 and (ours[constant].std(dim=(1, 2)) < 1e-6).all()
    assert (ours[constant].mean(dim=(1, 2)) > 0).all()
    known = ours[~constant]
    distance = (known[:, None] - theirs[None]).abs().amax(dim=(2, 3))
    assert (distance.min(dim=1).values < 2e-4).all()
    alive = known.std(dim=(1, 2)) > 0
    assert alive.sum() > 50 and len(set(distance.argmin(dim=1)[alive].tolist())) == alive.sum()


def test_constants_are_the_expected_values():
    original = Original((24, 116, 232, 464, 32))
    stage = _Stage({key: value.numpy() for key, value in original.state.items()}, 0, 4, 58, np.arange(24))
    mean, variance = stage._moments()
    samples = torch.randn(200_000, 1, generator=original.generator)
    gamma, beta = (original.state[f"features.0.branch_main.6.{key}"] for key in ("weight", "bias"))
    values = F.relu(samples * gamma + beta)
    assert np.allclose(mean, values.mean(dim=0), atol=0.01) and np.allclose(variance, values.var(dim=0), atol=0.02)


def test_missing_keys_of_original_checkpoints_are_named(tmp_path):
    original = Original((8, 16, 32, 64, 32))
    network = network_of(original.channels)
    for key in ("first_conv.1.bias", "features.5.branch_main.6.running_var", "features.4.branch_proj.2.weight"):
        torch.save({name: value for name, value in original.state.items() if name != key}, tmp_path / "part.pth")
        with pytest.raises(CodenetError, match=f"{key} is missing"):
            load_backbone_weights(network.backbone, tmp_path / "part.pth")


@pytest.mark.parametrize("name", ["a", "d"])
def test_another_width_is_refused(name, tmp_path):
    torch.save(Original((8, 16, 32, 64, 32)).state, tmp_path / "narrow.pth")
    with pytest.raises(
        CodenetError, match="narrow.pth: features.0.branch_main.0.weight is .* fit configurations a, b and c"
    ):
        load_backbone_weights(CoDeNet(CONFIGS[name], ("cat",)).backbone, tmp_path / "narrow.pth")


def test_another_width_of_torchvision_layout(real_data):
    path = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    with pytest.raises(CodenetError, match="stages have \\(116, 232, 464\\) channels, expected \\(244, 488, 976\\)"):
        load_backbone_weights(CoDeNet(CONFIGS["d"], ("cat",)).backbone, path)


def test_archive_and_state_dict_are_the_same(real_data, tmp_path):
    path = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    state = {f"module.{key}": torch.from_numpy(value) for key, value in read_arrays(path).items()}
    torch.save(state, tmp_path / "weights.pth")
    networks = [CoDeNet(CONFIGS["a"], ("cat",)).backbone for _ in range(2)]
    load_backbone_weights(networks[0], path)
    load_backbone_weights(networks[1], tmp_path / "weights.pth")
    for key, value in networks[0].state_dict().items():
        if not key.startswith("last"):
            assert torch.equal(value, networks[1].state_dict()[key]), key


def test_damaged_archives(tmp_path):
    """Bits of a compressed archive that are others, and a member that is no array."""
    np.savez_compressed(tmp_path / "whole.npz", **{"conv1.0.weight": np.arange(999.0)})
    whole = (tmp_path / "whole.npz").read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            found = read_arrays(tmp_path / "damaged.npz")
        except CodenetError as error:
            assert "damaged.npz: no NumPy archive" in str(error), position
        else:  # Dates and names are no data.
            assert [np.array_equal(value, np.arange(999.0)) for value in found.values()] == [True], position
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as archive:
        archive.writestr("conv1.0.weight", b"no array")
    with pytest.raises(CodenetError, match="bytes.npz: no NumPy archive of plain arrays"):
        read_arrays(tmp_path / "bytes.npz")


def test_files_that_are_no_backbone_weights(tmp_path):
    backbone = CoDeNet(CONFIGS["a"], ("cat",)).backbone
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.pth").write_text("no archive")
    for name in ("text.npz", "text.pth", "missing.pth"):
        with pytest.raises(
            CodenetError, match=f"{name}: (cannot be read: No such file|no PyTorch file|no NumPy archive)"
        ):
            load_backbone_weights(backbone, tmp_path / name)
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    with pytest.raises(CodenetError, match="other.npz: layout is unknown, keys \\['x'\\]"):
        load_backbone_weights(backbone, tmp_path / "other.npz")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CodenetError, match="list.pth: no arrays by name"):
        load_backbone_weights(backbone, tmp_path / "list.pth")
    torch.save({"layer0.0.weight": torch.zeros(1)}, tmp_path / "authors.pth")
    with pytest.raises(CodenetError, match="give it as --start-authors"):
        load_backbone_weights(backbone, tmp_path / "authors.pth")
    torch.save({"conv1.0.weight": torch.zeros(24, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(CodenetError, match="conv1.1.weight is missing"):
        load_backbone_weights(backbone, tmp_path / "part.pth")
