# SPDX-License-Identifier: Apache-2.0
"""Networks of the paper's ablation: shapes, gradients, what the accelerator refuses."""

import pytest
import torch

from codenet.config import CONFLICT_FREE
from codenet.errors import CodenetError
from models.network.backbone import load_plain
from models.network.config import CONFIGS, CONFLICT_FREE_OR_ZERO, SAMPLINGS, NetworkConfig
from models.network.detector import CoDeNet
from tests.models.common import TINY, TINY_II

VARIANTS = [
    *({"sampling": sampling, "depthwise": depthwise} for sampling in SAMPLINGS for depthwise in (True, False)),
    *({"sampling": "regular", "kernel": kernel} for kernel in (5, 7, 9)),
    {"dilations": CONFLICT_FREE_OR_ZERO},
    {"deform_backbone": True},
    {"fpn": True},
    {"skips": True},
    {"skips": True, "fpn": True, "sampling": "original", "units": (1, 1, 1)},
    {"skips": True, "depthwise": False},
    {"sampling": "square", "deform_backbone": True, "fpn": True},
]


@pytest.mark.parametrize("base", [TINY, TINY_II], ids=lambda config: config.name)
@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items()))
def test_variant_has_outputs_and_gradients_everywhere(base, changes):
    network = CoDeNet(base.replace(**changes), ("a", "b"))
    outputs = network(torch.randn(2, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "heatmap": (2, 2, 16, 16),
        "size": (2, 2, 16, 16),
        "offset": (2, 2, 16, 16),
    }
    sum(value.square().sum() for value in outputs.values()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items()))
def test_variant_as_plain_values(changes):
    config = TINY.replace(**changes)
    assert NetworkConfig.from_dict(config.to_dict()) == config


def test_checkpoints_from_before_the_variants():
    old = {
        "name": "a",
        "size": 256,
        "stem": "s4",
        "channels": (24, 116, 232, 464, 1024),
        "units": (4, 8, 4),
        "decoder": (256, 128, 64),
        "head": 64,
        "deform": "i",
    }
    assert CONFIGS["a"].to_dict() == old
    assert NetworkConfig.from_dict(old) == CONFIGS["a"]
    keys = CoDeNet(TINY, ("a",)).state_dict().keys()
    for key in ("weight", "dilation.weight", "dilation.bias"):
        assert f"decoder.2.deform.{key}" in keys
    assert "decoder.0.deform.norm.bias" in CoDeNet(TINY_II, ("a",)).state_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "random"}, "sampling is 'random'"),
        ({"kernel": 5}, "kernel is 5 with rounded sampling"),
        ({"sampling": "regular", "kernel": 4}, "kernel is 4 with regular"),
        ({"dilations": ()}, "dilations are \\(\\)"),
        ({"dilations": (1, 8)}, "dilations are \\(1, 8\\), expected a sorted subset of 0 to 7"),
        ({"dilations": (2, 1)}, "dilations are \\(2, 1\\)"),
        ({"dilations": (1, 1)}, "dilations are \\(1, 1\\)"),
        ({"sampling": "square", "dilations": (0, 1)}, "sampling is 'square' with a set"),
        ({"sampling": "regular", "deform_backbone": True}, "deformable backbone with regular"),
    ],
)
def test_options_that_do_not_fit_together(changes, message):
    with pytest.raises(CodenetError, match=message):
        TINY.replace(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "regular", "kernel": 9}, "regular sampling"),
        ({"sampling": "original"}, "original sampling"),
        ({"sampling": "bounded"}, "bounded sampling"),
        ({"sampling": "square"}, "square sampling"),
        ({"depthwise": False}, "full deformable convolutions"),
        ({"fpn": True}, "feature pyramid"),
    ],
)
def test_the_accelerator_refuses(changes, message):
    network = CoDeNet(TINY.replace(**changes), ("a",))
    with pytest.raises(CodenetError, match=f"network tiny: it has .*{message}.*floating point only"):
        network.describe(None)  # type: ignore[arg-type]


def test_the_accelerator_takes_the_rest():
    for config in (
        *CONFIGS.values(),
        TINY.replace(dilations=CONFLICT_FREE_OR_ZERO),
        TINY.replace(deform_backbone=True),
        TINY.replace(skips=True),
    ):
        config.check_accelerator()


def test_pyramid_adds_the_tensor_of_each_resolution():
    network = CoDeNet(TINY.replace(fpn=True), ("a",)).eval()
    x = torch.randn(1, 3, 64, 64)
    levels = network.backbone.pyramid(x)
    assert [tuple(level.shape[1:]) for level in levels] == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 2, 2)]
    assert torch.equal(levels[3], network.backbone(x))
    expected = levels[3]
    for number, level in enumerate((2, 1, 0)):
        expected = network.decoder[number](expected) + network.laterals[number](levels[level])
    assert torch.equal(network(x)["size"], network.heads["size"](expected))


@pytest.mark.parametrize("units", [(2, 2, 2), (1, 1, 1)])
def test_skips_join_what_the_last_unit_computed(units):
    network = CoDeNet(TINY.replace(skips=True, units=units), ("a",)).eval()
    found = {}
    for number, stage in enumerate(network.backbone.stages):
        stage[-1].branch2.register_forward_hook(lambda _m, _i, output, number=number: found.update({number: output}))
    for number, stage in enumerate(network.decoder):
        stage.register_forward_hook(lambda _m, inputs, output, n=number: found.update({f"d{n}": (inputs[0], output)}))
    network(torch.randn(1, 3, 64, 64))
    for number in (1, 2):
        assert torch.equal(found[f"d{number}"][0], torch.cat([found[f"d{number - 1}"][1], found[2 - number]], dim=1))


def test_skips_have_no_part_in_the_dilation():
    stage = CoDeNet(TINY.replace(skips=True), ("a",)).decoder[1]
    assert stage.deform.weight.shape[0] == 24 + 16 and stage.deform.dilation.in_channels == 24


def test_plain_trunk_in_a_deformable_backbone_computes_the_same():
    plain = CoDeNet(TINY, ("a",)).backbone.eval()
    network = CoDeNet(TINY.replace(deform_backbone=True), ("a",)).eval()
    load_plain(network.backbone, plain)
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(network.backbone(x), plain(x), atol=1e-5)
    with pytest.raises(CodenetError, match="backbone weights"):
        load_plain(network.backbone, CoDeNet(TINY.replace(units=(2, 3, 2)), ("a",)).backbone)


def test_sets_of_dilations_by_the_cycles_that_they_cost():
    """Trained networks depend on the members; the window's own tests measure the cycles."""
    assert CONFLICT_FREE == (1, 2, 4, 5, 7)
    assert CONFLICT_FREE_OR_ZERO == (0, 1, 2, 4, 5, 7)
