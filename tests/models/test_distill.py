"""Feature distillation."""

import pytest
import torch

from models.blocks import set_slope
from models.configs import CONFIGS
from models.detector import CoDeNet
from models.distill import TEACHER_SLOPE, Distillation, normalized_error
from models.weights import load_trunk


def test_error_is_in_units_of_variance():
    target = torch.randn(2, 3, 8, 8) * torch.tensor([0.1, 1.0, 10.0]).view(1, 3, 1, 1)
    assert normalized_error(target, target) == 0
    mean = target.mean(dim=(0, 2, 3), keepdim=True).expand_as(target)
    assert normalized_error(mean, target).item() == pytest.approx(1.0, abs=0.02)


def test_constant_channels_do_not_count():
    target = torch.randn(2, 2, 4, 4)
    target[:, 1] = 3.0
    features = target.clone()
    features[:, 1] = 100.0
    assert normalized_error(features, target) == 0


def student(stem, trunk):
    network = CoDeNet(CONFIGS["a"].replace(size=64, stem=stem), ("cat",)).eval()
    load_trunk(network.backbone, trunk)
    set_slope(network, TEACHER_SLOPE)
    return network


def test_the_teacher_itself_makes_no_error(real_data):
    trunk = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    x = torch.randn(2, 3, 64, 64)
    network = student("s2max", trunk)
    distillation = Distillation(network, trunk)
    network(x)
    assert distillation.loss(x).item() == pytest.approx(0, abs=1e-6)


def test_another_stem_does_and_learns_from_it(real_data):
    trunk = real_data / "weights" / "shufflenetv2_1.0x_nanodet-m.npz"
    x = torch.randn(2, 3, 64, 64)
    network = student("s4", trunk)
    distillation = Distillation(network, trunk)
    network(x)
    loss = distillation.loss(x)
    loss.backward()
    assert loss.item() > 0.5 and network.backbone.stem.conv.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in distillation.teacher.parameters())
