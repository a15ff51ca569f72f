# SPDX-License-Identifier: Apache-2.0
"""Distillation of features and outputs."""

import copy
import math

import pytest
import torch

from codenet.errors import CodenetError
from models.network.blocks import set_slope
from models.network.config import CONFIGS
from models.network.detector import CoDeNet
from models.pretrained.shufflenet import load_backbone_weights
from models.quantization.convert import calibrate, quantize
from models.training.distill import (
    TEACHER_SLOPE,
    Distillation,
    EnsembleDistillation,
    FloatDistillation,
    mean_outputs,
    normalized_error,
    soft_focal_loss,
)
from tests.models.common import TINY

BOX = ("size", "offset")


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
    load_backbone_weights(network.backbone, trunk)
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


def test_soft_focal_loss_by_hand():
    logits, target = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    p = 1 / (1 + math.exp(-2))
    entropy = -(0.5 * math.log(p) + 0.5 * math.log(1 - p))
    # The sum of squared probabilities, 0.5, counts as one.
    assert soft_focal_loss(logits, target).item() == pytest.approx((p - 0.5) ** 2 * entropy, rel=1e-5)


def test_quantized_network_learns_from_its_original():
    torch.manual_seed(0)
    network = CoDeNet(TINY, ("a", "b"))
    x = torch.randn(4, 3, 64, 64)
    network(x)  # for statistics
    network.eval()
    twin_student = copy.deepcopy(network)
    same = FloatDistillation(twin_student, network)
    twin_student(x)
    assert same.loss(x).item() == pytest.approx(0, abs=1e-6)
    assert not same.kept and not same.targets
    quantized = quantize(network, calibrate(network, [x])).train()
    distillation = FloatDistillation(quantized, network)
    optimizer = torch.optim.Adam(quantized.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        quantized(x)
        optimizer.zero_grad()
        loss = distillation.loss(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert 0 < losses[-1] < losses[0]
    assert all(p.grad is None for p in network.parameters())


def test_means_are_of_probabilities_and_of_boxes_as_sure_as_they_are():
    outputs = [
        {"heatmap": torch.tensor(logits).view(1, 2, 1, 2)} | {name: torch.full((1, 2, 1, 2), value) for name in BOX}
        for logits, value in (([2.0, -9.0, 0.0, -9.0], 1.0), ([-2.0, -9.0, 0.0, -9.0], 5.0))
    ]
    mean = mean_outputs(outputs)
    # sigmoid(2) + sigmoid(-2) = 1
    assert mean["heatmap"].flatten().tolist() == pytest.approx([0.0, -9.0, 0.0, -9.0], abs=0.02)
    first, second = 1 / (1 + math.exp(-2)), 0.5
    expected = (first**2 * 1 + second**2 * 5) / (first**2 + second**2)
    for name in BOX:
        assert mean[name][0, :, 0, 0].tolist() == pytest.approx([expected, expected], rel=1e-4)
        assert mean[name][0, :, 0, 1].tolist() == pytest.approx([3.0, 3.0], rel=1e-4)


def test_a_network_learns_from_others():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64)
    student, *teachers = (CoDeNet(TINY, ("a", "b")) for _ in range(3))
    twins = EnsembleDistillation(student, [copy.deepcopy(student)] * 2)
    student.eval()(x)
    assert twins.loss(x).item() == pytest.approx(0, abs=1e-6)
    distillation = EnsembleDistillation(student.train(), teachers)
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        student(x)
        optimizer.zero_grad()
        loss = distillation.loss(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert 0 < losses[-1] < losses[0] / 2
    assert all(p.grad is None for teacher in teachers for p in teacher.parameters())


@pytest.mark.parametrize(
    "config, classes, message",
    [
        (TINY, ("a", "c"), "teacher tiny: classes are a, c, expected a, b"),
        (TINY.replace(size=96), ("a", "b"), r"teacher tiny: input size is \(96, 96\), expected \(64, 64\)"),
    ],
)
def test_a_teacher_of_another_task(config, classes, message):
    with pytest.raises(CodenetError, match=message):
        EnsembleDistillation(CoDeNet(TINY, ("a", "b")), [CoDeNet(config, classes)])
