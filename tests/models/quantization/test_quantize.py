# SPDX-License-Identifier: Apache-2.0
"""The quantized network, and that its integers are exact."""

import numpy as np
import pytest
import torch
from torch import nn

from codenet.checkout import ROOT
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from codenet.golden.interpreter import run
from codenet.graph import Convolution, Depthwise, Graph, walk
from codenet.vision.image import load, resize, to_activation
from models.network.config import CONFIGS, normalize
from models.network.detector import CoDeNet
from models.network.graph_builder import Grid, choose_shift, integer_weight, snap, snap_multipliers
from models.quantization import load_quantized, quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.modules import QuantBlock, best_scale, fold_norm, quant_conv
from models.quantization.precision import Exemption, Precision
from models.quantization.untrained import _normalize_on, synthetic_photo, untrained
from models.training import TrainConfig, Trainer
from tests.codenet.compiler.compiling import check
from tests.models.common import TINY, TINY_II
from tests.models.exact import CLASSES, mismatches, prepared

PHOTOS = ROOT / "docs" / "photos"


def test_best_scale_beats_the_largest_magnitude():
    weight = torch.randn(5, 8, 1, 1)
    top = weight.flatten(1).abs().amax(1) / 7

    def error(scale):
        step = scale.view(-1, 1, 1, 1)
        return ((weight / step).round().clamp(-7, 7) * step - weight).square().flatten(1).sum(1)

    assert (error(best_scale(weight, 7)) <= error(top) + 1e-9).all()
    assert (best_scale(torch.zeros(2, 3, 1, 1), 7) > 0).all()


def test_folded_norm_computes_the_same():
    norm = nn.BatchNorm2d(6)
    nn.init.normal_(norm.weight)  # gains of both signs
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    norm.weight.data[3] = 0.0
    block = QuantBlock(quant_conv(nn.Conv2d(4, 6, 3, padding=1, bias=False), 4), norm, nn.Identity()).double().eval()
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64)
    before, weight = block(x), integer_weight(block.conv)
    fold_norm(block)
    assert block.norm is None
    assert torch.allclose(block(x), before, atol=1e-7)
    assert np.array_equal(np.abs(integer_weight(block.conv)), np.abs(weight))


@pytest.mark.parametrize(("largest", "s"), [(1.0, 14), (0.999, 15), (2.0**-20, 34), (1.5, 14), (32767 / 32768, 15)])
def test_shift_uses_fifteen_bits(largest, s):
    assert choose_shift(largest) == s
    assert 2**14 <= round(largest * 2**s) < 2**15


def test_shift_at_the_edges():
    assert choose_shift(np.nextafter(1.0, 0)) == 14  # rounds up to 2**15 with shift 15
    assert choose_shift(2.0**-60) == 47
    for bad in (0.0, float("nan"), float("inf"), 2.0**14):
        with pytest.raises(CodenetError, match="scale ratio"):
            choose_shift(bad)


def test_multipliers_are_at_least_one():
    assert snap_multipliers(np.array([0.0, 1e-9, 0.5]), 10).tolist() == [1, 1, 512]


def test_snapping_by_hand():
    conv = quant_conv(nn.Conv2d(2, 1, 1), 4).double()
    with torch.no_grad():
        conv.weight_quant.tensor_quant.scaling_impl.value.copy_(torch.log2(torch.tensor(7 * 0.3)))
        conv.weight.copy_(torch.tensor([1.2, -0.6]).view(1, 2, 1, 1))
        conv.bias.fill_(0.77)
    # M = 0.5 * 0.3 / 0.25 = 0.6; m = round(0.6 * 2**4) = 10; n = floor(0.77 / (0.25 / 16)) = 49.
    requantize = snap(conv, Grid(0.5, -128, -128, 127), Grid(0.25, -128, -128, 127), 4)
    assert integer_weight(conv).flatten().tolist() == [4, -2]
    assert requantize.m.tolist() == [10]
    assert requantize.b.tolist() == [49 + 8 - 128 * 16 + 128 * 2 * 10]
    assert conv.bias.item() == (49 + 0.5) * 0.25 / 16
    assert conv.quant_weight().scale.item() == pytest.approx(10 * 0.25 / (0.5 * 16), rel=1e-14)


def test_bias_beyond_48_bits_is_refused():
    conv = quant_conv(nn.Conv2d(1, 1, 1), 4).double()
    with torch.no_grad():
        conv.bias.fill_(1e9)
    with pytest.raises(CodenetError, match="bias is .* expected less than"):
        snap(conv, Grid(1.0, 0, -128, 127), Grid(1.0, 0, -128, 127), 40)


@pytest.mark.parametrize(
    "config",
    [TINY, TINY_II, *(config.replace(name=f"{config.name}-skips", skips=True) for config in (TINY, TINY_II))],
    ids=lambda config: config.name,
)
def test_every_tensor_equals_the_golden_models(config):
    network, photos = prepared(config)
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    bad, compared, graph = mismatches(quantized, photos)
    assert bad == [] and compared > 50
    dilations = [name for name in graph.tensors if name.endswith("dilation")]
    assert len(dilations) == 3
    values = [run(graph, to_activation(photo), dilations)[name].ravel() for photo in photos for name in dilations]
    assert len(np.unique(np.concatenate(values))) >= 6
    check(graph, AcceleratorConfig.small())


@pytest.mark.parametrize("deform", ["i", "ii"])
def test_what_a_deformable_stage_joins_has_one_scale(deform):
    network, photos = prepared(TINY.replace(skips=True, deform=deform))
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    last = {"i": "point", "ii": "deform"}[deform]
    for stage, before in ((1, 0), (0, 1)):
        own = getattr(quantized.decoder[before], last).act
        assert own is quantized.backbone.stages[stage][-1].branch2[-1].act
    assert getattr(quantized.decoder[2], last).act is not own
    mixed = Precision(mixed=(Exemption("decoder", 4, 4),))
    with pytest.raises(CodenetError, match=r"\[4, 8\] bits in backbone.stages.0 and decoder.1, expected one width"):
        quantize(network, calibrate(network, [normalize(photos)]), mixed)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["i", "ii"])
def test_every_tensor_of_configuration_a_on_real_photos(variant):
    config = CONFIGS["a"].replace(deform=variant)
    pictures = [resize(load(PHOTOS / name), config.size, config.size) for name in ("chelsea.jpg", "astronaut.jpg")]
    torch.manual_seed(0)
    network = CoDeNet(config, CLASSES)
    x = normalize(np.stack(pictures))
    _normalize_on(network, x)
    bad, compared, _ = mismatches(quantize(network, calibrate(network, [x])), np.stack(pictures))
    assert bad == [] and compared > 100


def test_comparison_notices_one_unit(monkeypatch):
    network, photos = prepared(TINY)
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    real = run

    def off_by_one(graph, image, keep=None):
        tensors = real(graph, image, keep)
        tensors["backbone.stages.1.0.branch2.1"].flat[17] += 1
        return tensors

    monkeypatch.setitem(mismatches.__globals__, "run", off_by_one)
    assert mismatches(quantized, photos)[0] == [
        (0, "backbone.stages.1.0.branch2.1"),
        (1, "backbone.stages.1.0.branch2.1"),
    ]


def test_trained_scales_stay_exact(tmp_path):
    """Training moves weights, scales and biases anywhere; the checkpoint's average is still exact."""
    network, photos = prepared(TINY, seed=3)
    x = normalize(photos)
    quantized = quantize(network, calibrate(network, [x]))
    trainer = Trainer(quantized, TrainConfig(ema=0.5), quantized_identity(quantized))
    quantized.train()
    for _ in range(5):
        loss = sum(value.square().mean() for value in quantized(x).values())
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
        trainer.step += 1
        trainer._update_average()
    trainer.save(tmp_path / "q.pt")
    restored = load_quantized(tmp_path / "q.pt")
    assert torch.equal(restored.state_dict()["backbone.stem.conv.weight"], trainer.average["backbone.stem.conv.weight"])
    assert mismatches(restored, photos)[0] == []


def test_gradients_reach_weights_and_scales():
    network, photos = prepared(TINY)
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    outputs = quantized(normalize(photos))
    sum(value.square().mean() for value in outputs.values()).backward()
    missing = [name for name, p in quantized.named_parameters() if p.grad is None]
    assert missing == []


def test_a_stage_shares_one_scale():
    network, photos = prepared(TINY)
    quantized = quantize(network, calibrate(network, [normalize(photos)]))
    for stage in quantized.backbone.stages:
        acts = {id(unit.branch2[2].act) for unit in stage} | {id(stage[0].branch1[1].act)}
        assert len(acts) == 1


def test_graph_has_the_contract_ranges():
    graph = untrained(TINY, CLASSES)
    stem = graph["backbone.stem"]
    assert isinstance(stem, Convolution) and stem.weight_bits == 8
    for layer in ("point", "depth", "out"):
        assert len({graph[f"heads.{role}.{layer}"].requantize.s for role in graph.outputs}) == 1
    for role in ("heatmap", "size", "offset"):
        tensor = graph.tensors[graph.outputs[role]]
        assert (tensor.dtype, tensor.scale, tensor.zero_point) == ("int16", 2**-8, 0)
    for operation, tensor in walk(graph):
        if isinstance(operation, Convolution | Depthwise):
            r = operation.requantize
            assert r.m.min() >= 1
            assert r.s == 47 or operation.name.startswith("heads") or 2**14 <= r.m.max()
            if tensor.name.endswith("dilation"):
                assert (tensor.scale, tensor.zero_point, r.lo, r.hi) == (1.0, 0, 0, 7)
            elif tensor.dtype == "int8":
                assert tensor.zero_point in (0, -128) and (r.lo, r.hi) == (-128, 127)


def test_floating_point_network_is_not_exported():
    with pytest.raises(CodenetError, match="in floating point"):
        to_graph(CoDeNet(TINY, CLASSES), "x")


def test_calibration_needs_images():
    with pytest.raises(CodenetError, match="no calibration images"):
        calibrate(CoDeNet(TINY, CLASSES), [])


def test_untrained_network_is_lively_and_repeatable(tmp_path):
    graph = untrained(TINY, CLASSES, seed=4)
    assert graph.metadata == {"untrained": True, "seed": 4}
    tensors = run(graph, to_activation(synthetic_photo(64, 4)))
    for name, values in tensors.items():
        assert values.std() > 0.5 or values.size <= 4, name
    heatmap = tensors[graph.outputs["heatmap"]]
    assert 1 <= (heatmap > 0).sum() < heatmap.size / 10
    graph.save(tmp_path / "a.cdg")
    again = untrained(TINY, CLASSES, seed=4)
    loaded = Graph.load(tmp_path / "a.cdg")
    for operation in again.operations:
        if hasattr(operation, "weights"):
            assert np.array_equal(operation.weights, loaded[operation.name].weights)
            assert np.array_equal(operation.requantize.b, loaded[operation.name].requantize.b)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("variant", ["i", "ii"])
def test_configurations_export(name, variant):
    graph = untrained(CONFIGS[name].replace(deform=variant))
    assert graph.input.shape == (CONFIGS[name].size, CONFIGS[name].size, 3)
    assert graph.tensors[graph.outputs["heatmap"]].shape == (CONFIGS[name].size // 4,) * 2 + (6,)
