# SPDX-License-Identifier: Apache-2.0
"""Distillation from another detector's features."""

import pytest
import torch

from codenet.errors import CodenetError
from models.network import CoDeNet
from models.training import distill_detector
from models.training.distill_detector import DetectorDistillation, feature_names, weighted_error
from tests.models.common import TINY
from tests.models.pretrained.tiny_onnx import yolox
from tests.models.pretrained.tiny_yolox import SIZE, silent, write_onnx


@pytest.fixture
def teacher(monkeypatch, tmp_path):
    monkeypatch.setattr(distill_detector, "TEACHER_SIZE", 96)
    return yolox(tmp_path / "teacher.onnx")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CoDeNet(TINY, ("cat", "dog")).train()


def test_error_is_in_units_of_variance_and_weighted():
    torch.manual_seed(0)
    target = torch.randn(2, 3, 16, 16) * torch.tensor([0.1, 1.0, 10.0]).view(1, 3, 1, 1)
    one = torch.ones(2, 1, 16, 16)
    assert weighted_error(target, target, one) == 0
    mean = target.mean(dim=(0, 2, 3), keepdim=True).expand_as(target)
    assert weighted_error(mean, target, one).item() == pytest.approx(1.0, abs=0.02)
    found, weight = target.clone(), one.clone()
    found[:, :, :8] = mean[:, :, :8]
    weight[:, :, 8:] = 3
    assert weighted_error(found, target, weight).item() == pytest.approx(0.25, abs=0.02)


def test_features_are_in_front_of_scores_and_boxes(teacher):
    assert feature_names(teacher)[1] == ("cls1", "reg1", "cls_pred1", "obj_pred1")


def test_decoder_learns_the_features(network, teacher):
    distillation = DetectorDistillation(network, teacher)
    optimizer = torch.optim.Adam([*network.parameters(), *distillation.adapters.parameters()], lr=3e-2)
    images = torch.randn(2, 3, TINY.size, TINY.size)
    losses = []
    for _ in range(150):
        network(images)
        loss = distillation.loss(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(stage.point.conv.weight.grad.abs().sum() > 0 for stage in network.decoder)
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())


def test_teacher_sees_blue_green_red_in_bytes(network, teacher):
    """Zero is the padding grey; a picture that is all red at 255 differs from grey in the last of its planes alone."""
    distillation = DetectorDistillation(network, teacher)
    seen = []
    distillation.teacher.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    images = torch.zeros(1, 3, TINY.size, TINY.size)
    images[:, 0] = (255 - 114) / 64
    network(images)
    distillation.loss(images)
    assert seen[0].shape == (1, 3, 96, 96)
    assert [plane.round().unique().tolist() for plane in seen[0][0]] == [[114], [114], [255]]


def test_teachers_of_another_layout_or_without_the_classes(network, tmp_path):
    with pytest.raises(CodenetError, match=r"has no convolution head\.cls_preds\.0\.weight, expected YOLOX's layout"):
        DetectorDistillation(network, write_onnx(tmp_path / "other.onnx", silent(SIZE)))
    with pytest.raises(CodenetError, match=r"has no convolution head\.obj_preds\.2\.weight"):
        DetectorDistillation(network, yolox(tmp_path / "renamed.onnx", **{"head.obj_preds.2": "other"}))
    with pytest.raises(CodenetError, match="does not know raccoon; its classes are COCO's"):
        DetectorDistillation(CoDeNet(TINY, ("raccoon",)), yolox(tmp_path / "teacher.onnx"))
