# SPDX-License-Identifier: Apache-2.0
"""Random graphs: every tensor exact for as long as it is said to live, and no two live planes on the same bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codenet.compiler import memory
from codenet.compiler.ir import Plane, Step
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Graph
from codenet.isa import PEAK_BYTES, PLANE_ALIGNMENT, DepthwiseOp
from codenet.isa.parameters import unpack_parameters
from codenet.program import Program
from tests.codenet.compiler.compiling import check
from tests.networks import Builder

CONFIGS = [
    AcceleratorConfig.small(),
    AcceleratorConfig(),
    AcceleratorConfig(outputs=24, window_depth=256, weight_depth=64),
]


def _grow(net: Builder, pool: list[str], sizes: dict[str, tuple[int, int]], name: str) -> None:
    """Append a random operation to the graph."""
    rng = net.rng
    x = pool[rng.integers(len(pool))]
    height, width = sizes[x]
    channels, half = net.channels[x], (-(-height // 2), -(-width // 2))
    kind = rng.choice(["pw", "pw", "pw", "full", "dw", "dw", "deform", "max", "up", "concat", "slice", "shuffle", "s2"])
    size = (height, width)
    if kind == "pw":
        net.convolution(name, x, int(rng.integers(1, 41)), relu=bool(rng.integers(2)), bits=int(rng.choice([4, 4, 8])))
    elif kind == "s2":
        size = half
        net.convolution(name, x, int(rng.integers(1, 20)), stride=2, kernel=int(rng.choice([1, 3])))
    elif kind == "full":
        net.convolution(name, x, int(rng.integers(1, 30)), kernel=3)
    elif kind == "dw":
        stride = int(rng.integers(1, 3))
        size = half if stride == 2 else size
        net.depthwise(name, x, stride=stride, relu=bool(rng.integers(2)))
    elif kind == "deform":
        same = [other for other in pool if sizes[other] == size]
        source = same[rng.integers(len(same))]
        net.depthwise(name, x, dilation=net.dilation(f"{name}.d", source))
    elif kind == "max" and net.zero_points[x] == -128:
        stride = int(rng.integers(1, 3))
        size = half if stride == 2 else size
        net.max_pool(name, x, stride)
    elif kind == "up" and max(size) <= 24:
        size = (2 * height, 2 * width)
        net.upsample(name, x)
    elif kind == "concat":
        same = [other for other in pool if sizes[other] == size and net.zero_points[other] == net.zero_points[x]]
        net.concat(name, x, *(same[rng.integers(len(same))] for _ in range(rng.integers(1, 3))))
    elif kind == "shuffle" and channels % 2 == 0:
        net.shuffle(name, x)
    else:
        start = int(rng.integers(channels))
        net.slice(name, x, start, int(rng.integers(start, channels)) + 1)
    sizes[name] = size
    pool.append(name)


def random_graph(seed: int, operations: int) -> Graph:
    """Any operations in any order; outputs are what nobody reads and some others, and often a heatmap."""
    rng = np.random.default_rng(seed)
    stride = int(rng.choice([2, 4]))
    height, width = (stride * int(n) for n in rng.integers(1, 9, 2))
    net = Builder(height, width, seed)
    pool = [net.convolution("stem", "image", int(rng.integers(1, 40)), kernel=3, stride=stride, bits=8)]
    sizes = {"stem": (height // stride, width // stride)}
    for number in range(operations):
        _grow(net, pool, sizes, f"op{number}")
    used = {name for operation in net.operations for name in operation.inputs}
    outputs = {name: name for name in pool if name not in used or rng.random() < 0.1}
    classes = 0
    if rng.integers(2):
        x = pool[-1]
        classes = int(rng.integers(1, 12))
        outputs["heatmap"] = net.wide("heatmap", x, classes)
        net.wide("size", x, 2)
        outputs["size"] = "size"
    return net.graph(f"random {seed}", outputs, classes)


def ranges(program: Program) -> list[list[tuple[int, int, str]]]:
    """Bytes that each step reads, then those that it writes, from its tables."""
    found: list[list[tuple[int, int, str]]] = []
    for step in program.descriptors:
        parameters = unpack_parameters(
            program.image[step.parameter_address : step.parameter_address + 8 * step.parameter_beats],
            step,
            program.config.outputs,
        )
        size = 16 * step.output_pixels
        found.append([(int(offset), int(offset) + size, "plane") for offset in parameters.output_table])
    return found


def assert_disjoint(blocks: list[tuple[int, int, str]]) -> None:
    blocks = sorted(blocks)
    for (start, end, what), (other_start, other_end, other) in zip(blocks[:-1], blocks[1:], strict=True):
        assert end <= other_start, f"{what} {start}:{end} overlaps {other} {other_start}:{other_end}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.sampled_from(CONFIGS))
def test_random_graphs(seed: int, operations: int, config: AcceleratorConfig) -> None:
    graph = random_graph(seed, operations)
    try:
        program = check(graph, config, seed % 7, every_step=True)
    except CompileError:
        # Some are too large for small memories; none is for the default ones.
        assert config != AcceleratorConfig()
        assume(False)
    assert_fixed_areas(program)


def assert_fixed_areas(program: Program) -> None:
    """Descriptors, parameters, image, peaks and outputs never share bytes with anything; planes stay inside and
    aligned.
    """
    fixed = [(0, 128 * len(program.descriptors), "descriptors")]
    for step in program.descriptors:
        end = step.parameter_address + 8 * step.parameter_beats
        fixed.append((step.parameter_address, end, "parameters"))
        assert step.parameter_address % PLANE_ALIGNMENT == 0
    fixed.append((program.input.offset, program.input.offset + program.input.size, "image"))
    if program.peak_step is not None:
        start = program.peak_step.peak_address
        fixed.append((start, start + PEAK_BYTES * program.peak_step.peak_capacity, "peaks"))
    assert all(end <= program.memory_bytes for _, end, _ in fixed)
    assert_disjoint(fixed)
    for written in ranges(program):
        assert_disjoint(fixed + written)
        assert all(start % PLANE_ALIGNMENT == 0 and end <= program.memory_bytes for start, end, _ in written)
    for tensor in program.outputs.values():
        size = 16 * (tensor.height >> tensor.upsample) * (tensor.width >> tensor.upsample)
        mine = {(offset, offset + size, "plane") for offset in tensor.planes}
        for written in ranges(program)[tensor.step + 1 :]:
            for block in written:
                assert_disjoint([*mine, block])


def copy_step(number: int, inputs: list[Plane], outputs: list[Plane]) -> Step:
    return Step(
        name=str(number), inputs=inputs, outputs=outputs, source=(8, 8), output=(8, 8), window_rows=9, dilation=None,
        depthwise_op=DepthwiseOp.OFF, full=False, packed=False, upsample=0, repeat=False, stride2=False, reach=0, pad=0,
        expansion=None, macs=0,
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_plan_never_overlaps_live_planes(seed: int) -> None:
    """The planner alone, on random lifetimes and sizes."""
    rng = np.random.default_rng(seed)
    planes: list[Plane] = []
    steps = []
    for number in range(rng.integers(1, 20)):
        inputs = [planes[n] for n in rng.integers(0, len(planes), rng.integers(1, 5))] if planes else []
        outputs = [Plane(int(rng.integers(1, 2000))) for _ in range(rng.integers(1, 6))]
        planes += outputs
        steps.append(copy_step(number, inputs, outputs))
    kept = [plane for plane in planes if rng.random() < 0.1]
    memory.find_lifetimes(steps, kept)
    start = 128 * int(rng.integers(4))
    end = memory.plan(steps, start)
    for number in range(len(steps)):
        live = [plane for plane in planes if plane.written <= number <= plane.last]
        assert_disjoint([(plane.offset, plane.offset + plane.size, f"plane of step {plane.written}") for plane in live])
    assert all(start <= plane.offset and plane.offset + plane.size <= end for plane in planes)
    assert all(plane.last == len(steps) for plane in kept)


def test_dead_memory_is_used_again() -> None:
    """A chain of equal tensors needs room for two of them."""
    planes = [Plane(1024) for _ in range(10)]
    steps = [copy_step(n, planes[n - 1 : n], [plane]) for n, plane in enumerate(planes)]
    memory.find_lifetimes(steps, [])
    assert memory.plan(steps, 256) == 256 + 2 * 1024
