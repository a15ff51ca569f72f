# SPDX-License-Identifier: Apache-2.0
"""The graph of a network's shapes is that of the network, but for values."""

import dataclasses

import numpy as np
import pytest

from codenet import compiler
from codenet.config import CONFLICT_FREE
from codenet.errors import CodenetError
from codenet.graph import Requantize
from models.network import CoDeNet, get_config
from models.quantization import Precision, quantize
from models.quantization.convert import quantized_outputs
from models.quantization.graph import to_graph
from models.quantization.outline import outline
from models.quantization.precision import W4A8, Exemption
from models.quantization.untrained import untrained
from sim.cycles import predict
from tests.models.common import TINY, TINY_II

CLASSES = ("cat", "dog", "cow")
WIDE_HEADS = Precision(mixed=(Exemption("decoder", 8), Exemption("heads", 8)))


def structure(operation):
    """All of an operation but the values of its weights, multipliers, biases, shift and scale."""
    found = {"kind": operation.kind}
    for field in dataclasses.fields(operation):
        value = getattr(operation, field.name)
        if isinstance(value, np.ndarray):
            value = (value.shape, value.dtype)
        elif isinstance(value, Requantize):
            value = (value.m.shape, value.m.dtype, value.b.shape, value.b.dtype, value.lo, value.hi)
        if field.name != "scale":
            found[field.name] = value
    return found


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        (TINY, W4A8),
        (TINY_II, W4A8),
        (TINY.replace(skips=True), WIDE_HEADS),
        (TINY_II.replace(skips=True, dilations=CONFLICT_FREE), Precision(weights=8, activations=4)),
    ],
    ids=["i", "ii", "skips", "set"],
)
def test_all_but_the_values_is_the_networks(config, precision):
    network = CoDeNet(config, CLASSES)
    ranges = {name: 4.0 for name, _ in quantized_outputs(network)}
    expected, _ = to_graph(quantize(network, ranges, precision), "tiny")
    found = outline(config, CLASSES, precision)
    assert [structure(operation) for operation in found.operations] == list(map(structure, expected.operations))
    assert found.outputs == expected.outputs and found.classes == expected.classes
    programs = [compiler.compile(graph) for graph in (found, expected)]
    assert programs[0].step_names == programs[1].step_names
    cycles = [[step.cycles for step in predict(program).steps] for program in programs]
    assert cycles[0] == cycles[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "g"])
def test_cycles_are_those_of_an_untrained_network(name):
    cycles = [predict(compiler.compile(graph)).cycles for graph in (outline(get_config(name)), untrained(name))]
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize(
    ("config", "precision", "message"),
    [
        (TINY.replace(fpn=True), W4A8, "feature pyramid"),
        (TINY, Precision(depthwise=8), "depthwise weights have 8 bits"),
        (TINY, Precision(mixed=(Exemption("decodr", 8),)), "covers no module"),
    ],
)
def test_what_the_accelerator_cannot_run_is_refused(config, precision, message):
    with pytest.raises(CodenetError, match=message):
        outline(config, CLASSES, precision)
