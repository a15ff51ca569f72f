# SPDX-License-Identifier: Apache-2.0
"""1x1 convolutions fused with the depthwise convolutions that read them: where, where not, and that no integer
changes.
"""

from __future__ import annotations

import dataclasses

import pytest

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.program import Program
from tests import networks
from tests.codenet.compiler.compiling import check
from tests.networks import Builder

SMALL = AcceleratorConfig.small()


def builder(height: int = 16, width: int = 12, channels: int = 20) -> tuple[Builder, str]:
    net = Builder(4 * height, 4 * width)
    return net, net.convolution("stem", "image", channels, kernel=3, stride=4, bits=8)


def expanded(program: Program) -> list[str]:
    return [name for name, step in zip(program.step_names, program.descriptors, strict=True) if step.expand]


def test_unit_is_one_step() -> None:
    net, x = builder()
    x = net.convolution("pw2", net.depthwise("dw", net.convolution("pw1", x, 40)), 24)
    program = check(net.graph("unit", {"out": x}), SMALL)
    assert program.step_names == ("stem", "pw1 + dw + pw2")
    assert {tensor.name for tensor in program.tensors} == {"stem", "pw2"}
    step = program.descriptors[1]
    assert (step.expand_planes, step.input_planes, step.expand_groups, step.expand_words) == (2, 3, 6, 12)
    assert program.step_macs[1] == 16 * 12 * (20 * 40 + 9 * 40 + 40 * 24)


def test_depthwise_alone_stride_and_upsampling() -> None:
    net, x = builder(height=13, width=9)
    net.depthwise("down", net.convolution("pw", x, 33), stride=2, relu=True)
    net.depthwise("up.dw", net.upsample("up", net.convolution("low", x, 17)), relu=True)
    program = check(net.graph("alone", {"down": "down", "up.dw": "up.dw"}), SMALL, every_step=True)
    assert expanded(program) == ["pw + down", "low + up.dw"]
    assert [step.upsample for step in program.descriptors] == [0, 0, 1]


def test_heads_share_their_convolution_of_one_input() -> None:
    """Sibling convolutions would be one step; here each depthwise convolution computes the channels that it reads."""
    net, x = builder()
    outputs = {}
    for name, channels in (("a", 24), ("b", 40), ("c", 9)):
        net.depthwise(f"{name}.dw", net.convolution(f"{name}.pw", x, channels), relu=True)
        outputs[name] = net.wide(name, f"{name}.dw", 11)
    program = check(net.graph("heads", outputs), SMALL)
    assert expanded(program) == ["a.pw + a.dw + a", "b.pw + b.dw + b", "c.pw + c.dw + c"]
    assert [step.input_planes for step in program.descriptors[1:]] == [2, 3, 1]


@pytest.mark.parametrize("kind", ["output", "other reader", "deformable", "8 bit", "8 bit behind", "maximum", "shared"])
def test_not_fused(kind: str) -> None:
    net, x = builder()
    outputs = {}
    y = net.convolution("pw", x, 24, bits=8 if kind == "8 bit" else 4)
    if kind == "output":
        outputs["pw"] = y
    if kind == "other reader":
        outputs["other"] = net.convolution("other", y, 8)
    if kind == "shared":
        y = net.concat("both", y, x)
    if kind == "maximum":
        outputs["last"] = net.max_pool("max", y)
    else:
        z = net.depthwise("dw", y, dilation=net.dilation("d", x) if kind == "deformable" else None)
        outputs["last"] = net.convolution("last", z, 16, bits=8 if kind == "8 bit behind" else 4)
    program = check(net.graph(kind, outputs), SMALL)
    assert not expanded(program)


@pytest.mark.parametrize(
    ("limit", "channels"),
    [
        ({"expand_depth": 16}, (24, 16)),
        ({"chunk_depth": 8}, (48, 24)),
        ({"chunk_depth": 16}, (80, 64)),
        ({"weight_depth": 64}, (40, 56)),
        ({"depthwise_depth": 8}, (136, 16)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_two_steps_where_one_has_no_room(limit: dict[str, int], channels: tuple[int, int]) -> None:
    """The same graph is fused on an accelerator whose memory is twice the size, and not on the smaller one."""
    net, x = builder(width=9)
    x = net.convolution("pw2", net.depthwise("dw", net.convolution("pw1", x, channels[0])), channels[1])
    graph = net.graph("full", {"out": x})
    larger = dataclasses.replace(AcceleratorConfig.small(), window_depth=512, weight_depth=1024, expand_depth=256)
    assert expanded(compile(graph, larger))
    program = check(graph, dataclasses.replace(larger, **limit))
    assert not expanded(program)


def test_filtering_apart_needs_no_room_for_results_of_all_planes() -> None:
    """17 planes to filter, 8 of which one step can; their results, 34 beats a pixel, are never made by one step."""
    net, x = builder(height=3, width=3, channels=17 * 16)
    graph = net.graph("many", {"out": net.convolution("out", net.depthwise("dw", x), 16)})
    config = dataclasses.replace(AcceleratorConfig(), depthwise_depth=8, store_depth=64)
    program = check(graph, config)
    assert [step.input_planes for step in program.descriptors if step.depthwise_op] == [5, 6, 6]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_filtering_behind_which_rows_are_repeated(times: int) -> None:
    """A 1x1 convolution takes what was upsampled once in the step that filters; more often, in one of its own."""
    net, x = builder(height=4, width=5)
    x = net.depthwise("dw", x, relu=True)
    for number in range(times):
        x = net.upsample(f"up{number}", x)
    check(net.graph("repeated", {"out": net.convolution("out", x, 16)}), SMALL)


def test_one_reader_has_no_room() -> None:
    """Two readers of one convolution, of which one is too large for a fused step: what both read is then in memory,
    once.
    """
    net, x = builder()
    small = net.depthwise("small.dw", net.convolution("small", x, 16), relu=True)
    large = net.depthwise("large.dw", net.convolution("large", x, 200), relu=True)
    config = dataclasses.replace(SMALL, weight_depth=64)
    for order in ((small, large), (large, small)):
        program = check(net.graph("two", {name: name for name in order}), config)
        assert expanded(program) in ([], ["small + small.dw"])


def test_every_unit_of_the_network() -> None:
    """Configuration a: the 13 units of stride 1 and the 3 of stride 2, and the heads, whose last convolutions are one
    step.
    """
    # With room for all weights of a unit; the default memory has none for the last one.
    program = compile(networks.codenet("a"), AcceleratorConfig(weight_depth=1024))
    assert len(expanded(program)) == 13 + 3 + 1
