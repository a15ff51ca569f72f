# SPDX-License-Identifier: Apache-2.0
"""Precisions and sets of dilations: the same integers in PyTorch, the golden model and the compiled program."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn

from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from codenet.golden.interpreter import run
from codenet.graph import Convolution, Depthwise, Graph
from codenet.vision.image import to_activation
from models.network.config import ALL_DILATIONS, CONFLICT_FREE_OR_ZERO, normalize
from models.network.deform import round_dilation
from models.network.detector import CoDeNet
from models.network.graph_builder import GraphBuilder, integer_weight
from models.quantization import load_precision, load_quantized, quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.modules import quant_conv
from models.quantization.precision import Exemption, Precision, add_arguments, from_arguments
from models.quantization.untrained import synthetic_photo
from models.training import TrainConfig, Trainer
from models.training.fine_tune import _check_resumed
from tests.codenet.compiler.compiling import check
from tests.models.common import TINY, TINY_II
from tests.models.exact import mismatches, prepared

RUNNABLE = [
    Precision(activations=4),
    Precision(weights=8),
    Precision(weights=8, activations=4, stem=4),
    Precision(mixed=(Exemption("decoder", 8), Exemption("heads", 8, 4), Exemption("backbone.stages.1", 4, 4))),
]


def quantized(config, precision):
    network, photos = prepared(config)
    return quantize(network, calibrate(network, [normalize(photos)]), precision), photos


@pytest.mark.parametrize("precision", RUNNABLE, ids=str)
def test_every_tensor_equals_the_golden_models(precision):
    network, photos = quantized(TINY, precision)
    bad, compared, graph = mismatches(network, photos)
    assert bad == [] and compared > 50
    tensors = run(graph, to_activation(photos[0]))
    for operation in graph.operations:
        if isinstance(operation, Convolution):
            bits = precision.weight_bits(operation.name)
            assert operation.weight_bits == bits, operation.name
            assert (np.abs(operation.weights).max() > 7) == (bits == 8), operation.name
        if isinstance(operation, Convolution | Depthwise) and graph.tensors[operation.name].dtype == "int8":
            levels = 8 if operation.name.endswith("dilation") else 1 << precision.activation_bits(operation.name)
            values = tensors[operation.name]
            assert int(values.max()) - int(values.min()) < levels
            assert operation.requantize.hi - operation.requantize.lo == levels - 1


@pytest.mark.parametrize("precision", RUNNABLE[1:], ids=str)
def test_program_computes_the_graph(precision):
    graph, _ = to_graph(quantized(TINY_II, precision)[0], "test")
    check(graph, AcceleratorConfig())


SETS = [
    (TINY, CONFLICT_FREE_OR_ZERO),
    (TINY_II, CONFLICT_FREE_OR_ZERO),
    (TINY, (0, 3, 7)),
    (TINY, (2, 3, 4)),
    (TINY_II, (5,)),
]


@pytest.mark.parametrize(("base", "dilations"), SETS, ids=lambda value: getattr(value, "name", str(value)))
def test_sets_of_dilations(base, dilations):
    network, photos = quantized(base.replace(dilations=dilations), Precision())
    bad, _, graph = mismatches(network, photos)
    assert bad == []
    names = [name for name in graph.tensors if name.endswith("deform.dilation")]
    assert len(names) == 3
    found = [run(graph, to_activation(photo), names)[name].ravel() for photo in photos for name in names]
    assert set(np.concatenate(found).tolist()) == set(dilations)
    check(graph, AcceleratorConfig())


def test_deformable_backbone():
    """The units of stride 1, one in each stage of this network, sample as the decoder does."""
    network, photos = quantized(TINY.replace(deform_backbone=True, dilations=CONFLICT_FREE_OR_ZERO), Precision())
    bad, _, graph = mismatches(network, photos)
    assert bad == []
    assert len([op for op in graph.operations if isinstance(op, Depthwise) and len(op.inputs) == 2]) == 6
    check(graph, AcceleratorConfig())


@pytest.mark.parametrize("dilations", [ALL_DILATIONS, CONFLICT_FREE_OR_ZERO], ids=str)
def test_dilations_before_training(dilations):
    """All weights of the dilations are 0, and every dilation 1."""
    network = CoDeNet(TINY.replace(dilations=dilations), ("cat",))
    photos = np.stack([synthetic_photo(64, 1)])
    graph, _ = to_graph(quantize(network, calibrate(network, [normalize(photos)])), "test")
    tensors = run(graph, to_activation(photos[0]))
    found = [tensor for name, tensor in tensors.items() if name.endswith("dilation")]
    assert len(found) == 3 and all((tensor == 1).all() for tensor in found)


def test_dilation_at_its_thresholds():
    """A value of s = q / 2 for an image of the codes q: halves, exactly, at and beside every threshold."""
    conv = quant_conv(nn.Conv2d(3, 1, 1), 4).double()
    with torch.no_grad():
        conv.weight_quant.tensor_quant.scaling_impl.value.copy_(torch.log2(torch.tensor(7 * 32.0)))
        conv.weight.copy_(torch.tensor([32.0, 0.0, 0.0]).view(1, 3, 1, 1))
        conv.bias.fill_(0.0)
    builder = GraphBuilder(nn.Identity(), (32, 32), "stretch")
    builder.dilation("d", conv, "image", CONFLICT_FREE_OR_ZERO)
    graph = Graph("test", tuple(builder.operations), {"dilation": "d"})
    assert [op.name for op in graph.operations] == ["image", "d.code", "d"]
    # Input scale 1/64 and weight 32: s = (q + 14) / 2, and the snapped bias adds half of the last place.
    assert integer_weight(conv).ravel().tolist() == [1, 0, 0]
    codes = np.arange(-18, 14).repeat(32).reshape(32, 32, 1).repeat(3, axis=2).astype(np.int8)
    found = run(graph, codes)["d"][:, 0, 0]
    s = (np.arange(-18, 14) + 14) / 2
    expected = [min(CONFLICT_FREE_OR_ZERO, key=lambda d: (abs(d - value), -d)) for value in s]
    assert found.tolist() == expected
    assert round_dilation(torch.tensor(s), CONFLICT_FREE_OR_ZERO).tolist() == expected


def test_eight_bit_depthwise_runs_in_pytorch_only():
    network, photos = quantized(TINY, Precision(weights=8, depthwise=8))
    depthwise = network.backbone.stages[0][0].branch1[0].conv
    assert np.abs(integer_weight(depthwise)).max() > 7
    assert torch.isfinite(network(normalize(photos))["heatmap"]).all()
    with pytest.raises(CodenetError, match="branch1.0: depthwise weights have 8 bits, .* --depthwise 4"):
        to_graph(network, "test")


def test_eight_bits_are_nearer_to_floating_point():
    network, photos = prepared(TINY)
    x = normalize(photos)
    ranges, exact = calibrate(network, [x]), network.backbone(x)

    def error(precision):
        return (quantize(network, ranges, precision).backbone(x) - exact).square().mean().item()

    best = error(Precision(weights=8, depthwise=8))
    for fewer in (Precision(weights=4, depthwise=8), Precision(weights=8), Precision(8, 4, depthwise=8)):
        assert best < error(fewer) / 2, fewer


def test_one_width_in_a_stage():
    with pytest.raises(CodenetError, match=r"activations of \[4, 8\] bits in backbone.stages.1"):
        quantized(TINY, Precision(mixed=(Exemption("backbone.stages.1.0", 8, 4),)))


def test_exemption_for_no_module():
    with pytest.raises(CodenetError, match="head=W8 covers no module"):
        quantized(TINY, Precision(mixed=(Exemption("head", 8),)))


def test_other_convolutions_are_refused_before_quantization():
    with pytest.raises(CodenetError, match="square sampling"):
        quantized(TINY.replace(sampling="square"), Precision())


@pytest.mark.parametrize("text", ["heads", "heads=8", "heads=W8A", "=W8", "heads=W8A8 "])
def test_exemptions_that_are_none(text):
    with pytest.raises(CodenetError, match="expected a module and its bits"):
        Exemption.parse(text)


@pytest.mark.parametrize(
    "values", [{"weights": 3}, {"activations": 5}, {"stem": 16}, {"mixed": (Exemption("heads", 2),)}]
)
def test_widths_without_a_grid(values):
    with pytest.raises(CodenetError, match="bits, expected one of"):
        Precision(**values)


def test_arguments_text_and_values():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert from_arguments(parser.parse_args([])) == Precision()
    words = "--weights 4 --activations 4 --stem 4 --depthwise 8 --exceptions heads=W8A8 decoder=W8".split()
    precision = from_arguments(parser.parse_args(words))
    assert precision == Precision(4, 4, 4, 8, (Exemption("heads", 8, 8), Exemption("decoder", 8)))
    assert str(precision) == "W4A4 stem W4 depthwise W8 heads=W8A8 decoder=W8"
    assert Precision.from_dict(precision.to_dict()) == precision
    for other in (precision, Precision(weights=8)):
        assert from_arguments(parser.parse_args(other.to_arguments())) == other


def save(path, precision):
    network, photos = quantized(TINY, precision)
    Trainer(network, TrainConfig(), quantized_identity(network, precision)).save(path)
    return network, photos


def test_checkpoints_have_their_precision(tmp_path):
    path = tmp_path / "q.pt"
    network, photos = save(path, RUNNABLE[3])
    assert load_precision(path) == RUNNABLE[3]
    restored = load_quantized(path)
    x = normalize(photos)
    assert torch.equal(restored(x)["heatmap"], network.eval()(x)["heatmap"])
    _check_resumed(path, RUNNABLE[3])
    with pytest.raises(CodenetError, match=r"q.pt: precision is W4A8 decoder=W8 .*, expected W4A8"):
        _check_resumed(path, Precision())


def test_checkpoints_from_before_there_was_a_choice(tmp_path):
    path = tmp_path / "q.pt"
    network, _ = save(path, Precision())
    assert "precision" not in quantized_identity(network)
    assert load_precision(path) == Precision()
