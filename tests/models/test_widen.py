# SPDX-License-Identifier: Apache-2.0
"""Wider networks compute what the narrow ones do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from codenet.errors import CodenetError
from models import widen
from models.network import CONFIGS, CoDeNet, float_identity, load_checkpoint, load_network, write_checkpoint
from models.network.blocks import ConvNorm
from tests.models.common import TINY, TINY_II

CLASSES = ("cat", "dog", "cow")
WIDER = {"channels": (12, 44, 70, 128, 40), "decoder": (30, 16, 20), "head": 24}


def spread_out(config):
    """A network whose channels, dilations and norms all differ."""
    network = CoDeNet(config, CLASSES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        for name in ("dilation", "offsets"):
            if isinstance(getattr(module, name, None), nn.Conv2d):
                nn.init.normal_(getattr(module, name).weight, 0.0, 0.3)
    return network.double().eval()


def same_outputs(narrow, wide, size):
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        outputs = [network.double()(x) for network in (narrow, wide)]
    return all(torch.allclose(outputs[0][name], outputs[1][name], rtol=1e-6, atol=1e-6) for name in outputs[0])


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        TINY_II,
        TINY.replace(units=(3, 5, 3)),
        TINY.replace(deform_backbone=True),
        TINY.replace(sampling="square", fpn=True),
        TINY.replace(sampling="original"),
        TINY.replace(depthwise=False),
        TINY.replace(skips=True),
        TINY_II.replace(skips=True),
    ],
    ids=str,
)
def test_wider_networks_compute_the_same(config):
    narrow = spread_out(config)
    wide = widen.widen(narrow, config.replace(name="wide", **WIDER))
    assert sum(p.numel() for p in wide.parameters()) > 1.5 * sum(p.numel() for p in narrow.parameters())
    assert same_outputs(narrow, wide, config.size)


@pytest.mark.parametrize("changes", [{}, WIDER], ids=["as wide", "wider"])
@pytest.mark.parametrize(
    "config",
    [TINY, TINY_II, TINY.replace(deform_backbone=True, fpn=True), TINY.replace(depthwise=False, sampling="original")],
    ids=str,
)
def test_more_units_and_skips_compute_the_same(config, changes):
    narrow = spread_out(config)
    wide = widen.widen(narrow, config.replace(name="large", units=(2, 4, 3), skips=True, **changes))
    assert same_outputs(narrow, wide, config.size)


def test_added_units_and_skips_learn():
    """In training, batch norms included, an added unit is nearly the identity, and all that is new has a gradient."""
    torch.manual_seed(1)
    narrow = spread_out(TINY)
    large = widen.widen(narrow, TINY.replace(name="large", units=(2, 3, 2), skips=True)).double().train()
    found = []
    large.backbone.stages[1][2].register_forward_hook(lambda _m, inputs, output: found.extend([inputs[0], output]))
    outputs = large(torch.randn(8, 3, 64, 64).double())
    first, second = found[0].chunk(2, dim=1)
    assert torch.equal(found[1][:, 0::2], first)
    correlation = torch.corrcoef(torch.stack([found[1][:, 1::2].flatten(), second.flatten()]))[0, 1]
    assert correlation > 0.95
    sum(output.square().mean() for output in outputs.values()).backward()
    for stage, inputs in ((1, 24), (2, 16)):
        weight = large.decoder[stage].point.conv.weight
        assert not weight[:, inputs:].any() and (weight.grad[:, inputs:] != 0).any(dim=0).all()


def test_pruning_keeps_what_matters():
    """Channels that do not matter, and only these, can go without a trace."""
    narrow = spread_out(TINY)
    for norm, keep in (
        (narrow.backbone.last.norm, 20),
        (narrow.decoder[0].point.norm, 9),
        (narrow.decoder[1].point.norm, 9),
        (narrow.decoder[2].point.norm, 9),
        *((head.depth.norm, 7) for head in narrow.heads.values()),
    ):
        gone = torch.randperm(len(norm.weight))[keep:]
        norm.weight.data[gone], norm.bias.data[gone] = 0.0, 0.0
    config = TINY.replace(name="pruned", channels=(8, 16, 32, 48, 20), decoder=(9, 9, 9), head=7)
    assert same_outputs(narrow, widen.widen(narrow, config, prune=True), 64)
    fewer = widen.widen(narrow, config.replace(decoder=(9, 2, 9), skips=True, units=(2, 3, 2)), prune=True)
    assert not same_outputs(narrow, fewer, 64)
    with pytest.raises(CodenetError, match="channels are .*, expected none below those of tiny"):
        widen.widen(narrow, config.replace(channels=(8, 16, 24, 48, 32)), prune=True)


def test_strength_of_a_channel():
    """Root mean square behind the ReLU, of normally distributed values, times the readers' norms."""
    norm = nn.BatchNorm1d(3)
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.5, -1.0, 3.0])
    values = (torch.randn(1_000_000, 3) * norm.weight + norm.bias).clamp(min=0)
    mean, variance = widen._moments(norm)
    assert torch.allclose(mean.float(), values.mean(0), atol=0.01)
    assert torch.allclose(variance.float(), values.var(0), atol=0.02)
    readers = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([[2.0], [1.0], [1.0]])
    expected = values.square().mean(0).sqrt() * torch.tensor([10.0, 1.0, 0.0])
    assert torch.allclose(widen._strength(norm, *readers).float(), expected, atol=0.05)


@pytest.mark.parametrize(("small", "large"), [("a", "f"), ("c", "g")])
def test_shaped_configurations_from_shipped_networks(small, large, tmp_path):
    """f from a, g from c: the command with --prune; the same function where nothing has to be narrower."""
    zoo = Path(widen.__file__).parent / "zoo" / f"codenet-{small}.pt"
    output = tmp_path / "start.pt"
    assert widen.main([str(zoo), "--config", large, "-o", str(output)]) == 2
    assert widen.main([str(zoo), "--config", large, "--prune", "-o", str(output)]) == 0
    assert load_network(output).config == CONFIGS[large]
    narrow, config = load_network(zoo), CONFIGS[small]
    kept = {"channels": (*CONFIGS[large].channels[:4], config.channels[4]), "decoder": config.decoder}
    assert same_outputs(narrow, widen.widen(narrow, CONFIGS[large].replace(**kept)), 96)


@pytest.mark.parametrize("changes", [{}, {"channels": (24, 128, 256, 512, 1024)}], ids=["2x", "128, 256, 512"])
@pytest.mark.parametrize(("small", "large"), [("c", "d"), ("b", "e")])
def test_configurations(small, large, changes):
    """d from c, e from b, and widths that fill the accelerator's lanes; weights do not depend on the input's size."""
    narrow = spread_out(CONFIGS[small])
    wide = widen.widen(narrow, CONFIGS[large].replace(**changes))
    assert wide.config.size == 512 and same_outputs(narrow, wide, 96)


def test_copies_learn_different_things():
    """Equal copies that are read with equal weights would have equal gradients for ever."""
    narrow = spread_out(TINY)
    wide = widen.widen(narrow, TINY.replace(name="wide", **WIDER)).double().train()
    sum(output.square().mean() for output in wide(torch.randn(2, 3, 64, 64).double()).values()).backward()
    conv = wide.backbone.last.conv
    assert torch.equal(conv.weight[0] != 0, conv.weight[32] != 0)  # channel 32 copies channel 0
    assert not torch.allclose(conv.weight.grad[0], conv.weight.grad[32])
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in wide.parameters())


def test_what_cannot_be_widened():
    network = CoDeNet(TINY, CLASSES)
    for changes, message in (
        ({"channels": (8, 16, 30, 48, 32)}, r"channels are \(8, 16, 30, 48, 32\), expected none below those of tiny"),
        ({"decoder": (24, 8, 16)}, "decoder are .*, or --prune$"),
        ({"channels": (8, 16, 32, 48, 24)}, "channels are .*, or --prune$"),
        ({"deform": "ii"}, "deform is 'ii', expected 'i'"),
        ({"head": 8}, "head is 8, expected 16 or more"),
        ({"units": (2, 1, 2)}, r"units are \(2, 1, 2\), expected none below those of tiny, \(2, 2, 2\)$"),
        ({"stem": "s2max"}, "stem is 's2max', expected 's4'"),
    ):
        with pytest.raises(CodenetError, match=f"widening to x: {message}"):
            widen.widen(network, TINY.replace(name="x", **changes))
    with pytest.raises(CodenetError, match="skips is False, expected True as in tiny"):
        widen.widen(CoDeNet(TINY.replace(skips=True), CLASSES), TINY.replace(name="x"))


def test_channels_that_units_pass_on():
    """Of 8 channels a unit computes with 4 to 7, and moves 1 to 2, 2 to 4, 3 to 6; 0 stays."""
    assert widen._passes(8).tolist() == [widen._ALWAYS, 2, 1, 1, 0, 0, 0, 0]
    assert np.all(widen._Places(8, 16).branch(1)[-4:] >= 2)  # originals 2 and 3 become channels 5 and 7


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(CONFIGS, "d", TINY.replace(name="d", **WIDER))
    monkeypatch.setitem(CONFIGS, "a", TINY.replace(name="a", channels=(8, 16, 24, 48, 32)))
    narrow = spread_out(TINY).float()
    state = narrow.state_dict()
    start, output = tmp_path / "narrow.pt", tmp_path / "new" / "wide.pt"
    write_checkpoint({**float_identity(narrow), "network": state, "average": state}, start)
    words = [str(start), "--config", "d", "-o", str(output)]
    assert widen.main(words) == 0
    assert f"--start-from {output}" in capsys.readouterr().out
    assert load_checkpoint(output)["classes"] == list(CLASSES)
    assert same_outputs(narrow, load_network(output), 64)
    assert widen.main(words) == 2
    assert "wide.pt: exists, expected a new file" in capsys.readouterr().err
    assert widen.main([str(start), "--config", "a", "-o", str(tmp_path / "a.pt")]) == 2
    assert "error: widening to a: channels are" in capsys.readouterr().err
    assert not (tmp_path / "a.pt").exists()


def test_blocks_are_all_of_the_kinds_that_are_known():
    """A new kind of module with weights would be left at random."""
    kinds = {type(m) for m in CoDeNet(TINY, CLASSES).modules() if list(m.parameters(recurse=False))}
    assert {kind.__name__ for kind in kinds} == {"Conv2d", "BatchNorm2d", "DeformConv"} and ConvNorm not in kinds
