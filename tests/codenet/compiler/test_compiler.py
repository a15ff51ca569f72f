# SPDX-License-Identifier: Apache-2.0
"""Whole networks: every tensor of the compiled program equals the graph's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.graph import Graph
from codenet.isa import DepthwiseOp
from codenet.program import Program
from tests import networks
from tests.codenet.compiler.compiling import check

CONFIGS = {
    "small": AcceleratorConfig.small(),
    "default": AcceleratorConfig(),
    "outputs24": AcceleratorConfig(outputs=24, window_depth=256, weight_depth=128, store_depth=128, vector_depth=64),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stem": "s2max", "seed": 1},
        {"deform": "ii", "seed": 2},
        {"stem": "s2max", "deform": "ii", "equal_heads": True, "seed": 3},
        {"size": (44, 100), "classes": 9, "seed": 4},
        {"size": (4, 4), "seed": 5},
        {"size": (4, 4), "stem": "s2max", "classes": 1, "seed": 6},
        {"size": (36, 4), "channels": (5, 34, 38, 66, 70), "units": (3, 3, 3), "seed": 7},
        {"skips": True, "seed": 8},
        {"skips": True, "deform": "ii", "size": (96, 64), "seed": 9},
        {"skips": True, "decoder": (70, 33, 16), "size": 128, "seed": 10},
    ],
    ids=lambda settings: ",".join(f"{key}={value}" for key, value in settings.items()) or "plain",
)
def test_small_networks(settings: dict[str, Any], config: AcceleratorConfig) -> None:
    check(networks.network(**settings), config, every_step=True)


@pytest.mark.parametrize("deform", ["i", "ii"])
@pytest.mark.parametrize("name", networks.CONFIGURATIONS)
def test_configurations_at_small_size(name: str, deform: str) -> None:
    """Real channel counts of the paper, of which the number of steps and all weights depend, on a small photo."""
    graph = networks.codenet(name, size=128, deform=deform, equal_heads=deform == "ii")
    program = check(graph, AcceleratorConfig())
    assert program.peak_step is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.CONFIGURATIONS)
def test_configurations(name: str) -> None:
    check(networks.codenet(name), AcceleratorConfig())


def _program(config: AcceleratorConfig | None = None, **settings: Any) -> tuple[Graph, Program]:
    graph = networks.codenet("a", **settings)
    return graph, compile(graph, config or AcceleratorConfig())


def test_only_addresses_for_concat_slice_shuffle_and_upsample() -> None:
    """Every step of configuration a is a fused convolution; 23 units, 3 deformable stages, heads and peaks."""
    # With room for all weights of a convolution, so that none is cut.
    graph, program = _program(AcceleratorConfig(weight_depth=1024), equal_heads=True)
    kinds = [(bool(step.pointwise), DepthwiseOp(step.depthwise_op)) for step in program.descriptors]
    assert kinds.count((True, DepthwiseOp.MAC)) == 3 * 2 + 13 + 3 + 1
    assert kinds[-1] == (False, DepthwiseOp.PEAKS)
    assert all(pointwise for pointwise, _ in kinds[:-1])
    names = {tensor.name for tensor in program.tensors}
    assert {"stage1.0.shuffle", "stage2.3.left", "decoder2.upsample", "heatmap"} <= names
    assert "stage1.0.b1.dw" not in names, "fused: never in memory"


def test_upsampling_moves_behind_pointwise() -> None:
    """Dilations and the first convolutions of the heads are computed at the low resolution."""
    graph, program = _program()
    sizes = {tensor.name: tensor.upsample for tensor in program.tensors}
    assert sizes["decoder1.dilation"] == 1
    assert sizes["decoder0.dilation"] == sizes["heatmap"] == 0
    # These are fused with what reads them, but computed before the window doubles their pixels.
    heads = {"heatmap.pw", "size.pw", "offset.pw"}
    (step,) = (
        step
        for step, name in zip(program.descriptors, program.step_names, strict=True)
        if name.startswith("heatmap.pw,size.pw,offset.pw + ")
    )
    assert (step.expand, step.upsample) == (1, 1)
    moved = heads | {name for name, upsample in sizes.items() if upsample}
    saved = sum(3 * macs // 4 for name, macs in graph.macs().items() if name in moved)
    assert sum(program.step_macs) == program.graph_macs - saved == sum(graph.macs().values()) - saved


def test_heads_are_merged_if_they_agree_and_it_is_not_slower() -> None:
    """Three lonely groups of 24 channels become one; 80 classes fill their groups alone."""
    last = "heatmap.dw,size.dw,offset.dw + heatmap,size,offset"
    _, merged = _program(equal_heads=True, classes=20)
    assert f"heatmap.pw,size.pw,offset.pw + {last}" in merged.step_names
    _, many = _program(equal_heads=True, classes=80, size=64)
    assert "heatmap.pw + heatmap.dw + heatmap" in many.step_names
    graph = networks.codenet("a", size=64, equal_heads=True)
    different = [
        networks.with_shift(op, op.requantize.s - 1) if op.name == "size.dw" else op  # type: ignore[attr-defined]
        for op in graph.operations
    ]
    program = check(Graph(graph.name, tuple(different), graph.outputs, graph.classes), AcceleratorConfig())
    names = [name.partition(" + ")[2] for name in program.step_names]
    assert "heatmap.dw,offset.dw + heatmap,offset" in names and "size.dw + size" in names


def test_unused_lanes_of_the_heatmap_are_never_peaks() -> None:
    """With a heatmap of one class, seven lanes are unused: at the lowest threshold they still do not count."""
    graph = networks.network(16, classes=1)
    program = compile(graph, AcceleratorConfig.small(), score=1e-9)
    assert program.peak_step is not None
    assert program.threshold_for(1e-300) == -32767
    check(graph, AcceleratorConfig.small())


def test_peak_records_beyond_the_capacity_are_dropped() -> None:
    graph = networks.network(64, classes=3)
    program = compile(graph, peak_capacity=1)
    assert program.peak_step is not None and program.peak_step.peak_capacity == 1


@pytest.mark.parametrize(("size", "room"), [(64, 1024), (256, 1024), (512, 4096)])
def test_room_for_peaks_grows_with_the_heatmap(size: int, room: int) -> None:
    """A network of 512 pixels found 3368 peaks above 0.01 in a photo, of which 1024 were kept: its boxes low in the
    photo were lost.
    """
    program = compile(networks.network(size, name="tiny"))
    assert program.peak_step is not None and program.peak_step.peak_capacity == room


def test_operations_that_nobody_needs_are_left_out() -> None:
    net = networks.Builder(16, 16)
    x = net.convolution("stem", "image", 8, kernel=3, stride=4, bits=8)
    net.convolution("unused", x, 8)
    net.convolution("out", x, 8)
    program = check(net.graph("dead", {"out": "out"}), AcceleratorConfig.small())
    assert program.step_names == ("stem", "out")
    assert program.peak_step is None


def test_same_graph_same_program() -> None:
    a, b = (compile(networks.network(32)) for _ in range(2))
    assert a.image == b.image
    assert [t.planes for t in a.tensors] == [t.planes for t in b.tensors]


def test_full_convolutions_and_wide_weights() -> None:
    """3x3 on planes, stride 1 and 2, 4 and 8 bit, before and behind upsampling; strided 1x1."""
    net = networks.Builder(24, 28)
    x = net.convolution("stem", "image", 20, kernel=3, stride=2, bits=8)
    full = net.convolution("full", x, 17, kernel=3)
    strided = net.convolution("strided", full, 33, kernel=3, stride=2, bits=8)
    up = net.upsample("up", strided)
    net.convolution("behind", up, 9, kernel=3)
    net.convolution("point", net.convolution("point8", up, 40, bits=8), 3, stride=2)
    net.wide("wide", strided, 11)
    outputs = {name: name for name in ("behind", "point", "wide", "up")}
    program = check(net.graph("full", outputs), CONFIGS["outputs24"], every_step=True)
    by_name = {name.split(" [")[0]: step for name, step in zip(program.step_names, program.descriptors, strict=True)}
    assert by_name["full"].full and by_name["full"].vectors == 18
    assert by_name["strided"].wide_weights and by_name["strided"].stride2
    assert by_name["behind"].upsample and by_name["point"].stride2 and not by_name["point8"].upsample


def test_repeated_and_mixed_concatenation() -> None:
    """A tensor beside itself takes its planes twice; one stored at half size is first written at full size."""
    net = networks.Builder(16, 16)
    x = net.convolution("stem", "image", 12, kernel=3, stride=2, bits=8)
    low = net.convolution("low", x, 12, stride=2)
    twice = net.concat("twice", x, x)
    mixed = net.concat("mixed", twice, net.upsample("up", low))
    net.convolution("out", mixed, 16)
    net.depthwise("dw", mixed, relu=True)
    program = check(net.graph("concat", {"out": "out", "dw": "dw"}), AcceleratorConfig.small(), every_step=True)
    assert "copy" in program.step_names


def test_dilation_from_another_resolution() -> None:
    """Dilations stored at half size, for a tensor stored at full size, and one channel of many as dilation.

    The copy keeps the lane of what it copies, which must be lane 0.
    """
    net = networks.Builder(32, 32)
    x = net.convolution("stem", "image", 16, kernel=3, stride=2, bits=8)
    low = net.max_pool("low", x)
    net.dilation("d0", low)
    both = net.concat("both", "d0", net.dilation("d1", low, 3))
    up = net.upsample("up", net.slice("d", both, 2, 3))
    net.depthwise("deform", x, dilation=up)
    net.convolution("out", net.depthwise("deform2", x, dilation=up, relu=True), 8)
    check(net.graph("dilation", {"out": "out", "deform": "deform"}), AcceleratorConfig.small(), every_step=True)


def test_dilation_ring_limits_the_window() -> None:
    """24 columns: the window would hold 33 rows, the ring of 512 dilations only 21."""
    net = networks.Builder(4 * 32, 4 * 24)
    x = net.convolution("stem", "image", 8, kernel=3, stride=4, bits=8)
    net.depthwise("deform", x, dilation=net.dilation("d", x), relu=True)
    program = check(net.graph("ring", {"out": "deform"}), AcceleratorConfig.small())
    assert [step.window_rows for step in program.descriptors] == [15, 33, 21]


@pytest.mark.parametrize(("planes", "rows", "repeat"), [(7, 18, 0), (8, 15, 1)])
def test_upsampled_rows_are_loaded_twice_where_pairs_do_not_fit(planes: int, rows: int, repeat: int) -> None:
    """16 columns, 6 a bank: a bank of 256 vectors holds 18 rows of 7 planes, but only 15 of 8."""
    config = dataclasses.replace(AcceleratorConfig.small(), window_depth=256, vector_depth=128)
    net = networks.Builder(64, 32)
    x = net.convolution("stem", "image", 16 * planes, kernel=3, stride=4, bits=8)
    up = net.upsample("up", x)
    net.convolution("out", net.depthwise("deform", up, dilation=net.upsample("d2", net.dilation("d", x)), relu=True), 8)
    program = check(net.graph("repeat", {"out": "out"}), config)
    deform = program.descriptors[-1]
    assert (deform.window_rows, deform.repeat, deform.upsample) == (rows, repeat, 1)


@pytest.mark.parametrize("seed", range(3))
def test_results_do_not_depend_on_what_memory_held(seed: int) -> None:
    check(networks.network(32, seed=seed), AcceleratorConfig.small(), seed=seed)


def test_accelerator_size_changes_steps_not_results() -> None:
    graph = networks.codenet("a", size=64)
    tensors = {}
    for name, config in (("wide", AcceleratorConfig()), ("narrow", AcceleratorConfig(outputs=16, weight_depth=256))):
        program = check(graph, config)
        tensors[name] = len(program.descriptors)
    assert tensors["narrow"] > tensors["wide"]


def test_split_depthwise_exists_in_memory() -> None:
    """Configuration c at full width: the window does not hold 15 rows of 64 planes, so the filtered planes are
    stored.
    """
    program = check(networks.codenet("c"), AcceleratorConfig())
    names = [name for name in program.step_names if name.startswith("decoder0.dw [")]
    assert names == ["decoder0.dw [1/2]", "decoder0.dw [2/2]"]
    tensor = next(tensor for tensor in program.tensors if tensor.name == "decoder0.dw")
    assert tensor.channels == 1024 and len(tensor.planes) == 64 and np.unique(tensor.index).size == 1024


def test_steps_do_the_multiplications_of_the_graph() -> None:
    """All of them, and none twice, where nothing is upsampled; operations without any count for none."""
    net = networks.Builder(32, 48)
    x = net.convolution("stem", "image", 20, kernel=3, stride=2, bits=8)
    x = net.max_pool("pool", x)
    net.depthwise("alone", x, stride=2)
    net.convolution("dense", net.depthwise("dw", x), 24)
    graph = net.graph("macs", {"alone": "alone", "dense": "dense"})
    program = check(graph, AcceleratorConfig.small())
    assert sum(program.step_macs) == program.graph_macs
    assert program.graph_macs == 16 * 24 * 20 * 27 + 4 * 6 * 20 * 9 + 8 * 12 * 20 * (9 + 24)


def test_output_planes_of_a_step_are_whole_groups() -> None:
    """24 outputs are one and a half planes: 8 planes fit, of 10 the first step takes 6, that is 4 groups."""
    config = AcceleratorConfig(outputs=24, chunk_depth=16)
    net = networks.Builder(16, 16)
    graph = net.graph(
        "wide", {"y": net.convolution("y", net.convolution("x", "image", 16, kernel=3, stride=2, bits=8), 160)}
    )
    program = check(graph, config)
    assert [step.output_planes for step in program.descriptors] == [1, 6, 4]


def test_upsampled_tensors_side_by_side_are_not_copied() -> None:
    """All of one resolution in memory: the reader takes planes of both. With one that is not, rows are written out."""
    for doubled in (True, False):
        net = networks.Builder(32, 32)
        x = net.convolution("stem", "image", 16, kernel=3, stride=4, bits=8)
        low = [net.upsample(f"up{n}", net.depthwise(f"low{n}", x, stride=2, relu=True)) for n in range(2)]
        both = net.concat("both", *(low if doubled else (low[0], x)))
        program = check(net.graph("pair", {"out": net.convolution("out", both, 16)}), AcceleratorConfig.small())
        assert sum("copy" in name for name in program.step_names) == (0 if doubled else 1)
