# SPDX-License-Identifier: Apache-2.0
"""The cycle model against calculations by hand and against RTL simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.errors import ConfigError
from codenet.golden import interpreter
from codenet.isa import PEAK_BYTES, DepthwiseOp
from codenet.registers import BY_NAME, ProfileCounter
from codenet.vision.image import load, resize, to_activation
from hw.arithmetic import Array, Requantizer
from hw.axi import BurstReader
from hw.depthwise import Depthwise
from hw.lib import READ_LATENCY
from hw.pointwise import Pointwise
from hw.pointwise.drain import LOOK_UP
from hw.window.axis import WindowAxis
from hw.window.beats import WindowBeats
from sim.cycles import dilation_maps, latency, predict
from sim.cycles.bandwidth import FETCH, LOAD, WRITE, Bandwidth
from sim.cycles.dilation import dilation_sources, window_beats
from sim.cycles.fetch import Fetch
from sim.cycles.flow import Flow
from sim.cycles.work import work_of
from sim.frame import run_frame
from sim.networks import CONFIGURATIONS, PHOTO, load_graph
from sim.timing import DramTiming
from sim.verilator.board import RtlDevice
from tests import networks
from tests.rtl import SECONDS, load_step, start
from tests.steps import random_step

SMALL = AcceleratorConfig.small()
STEADY = DramTiming(refresh_interval=0)
"""Without refresh, whose 40 cycles fall into a step of some hundreds or not."""

FRAME, STEP = 0.01, 0.02
"""Agreement that is asked for."""

STEP_CYCLES = 30
"""Agreement of steps so short that 2 % of them are less."""

EXPANDED_CYCLES = 90
"""The same with an expansion, where a piece of a row, tens of cycles of work, comes at once and the model lets it
flow.
"""

SMALL_FRAME = 0.015
"""Agreement of frames of such steps: some cycles each."""


@pytest.fixture(scope="module")
def program():
    return compiler.compile(networks.network(64), SMALL)


def shares(*channels: int, timing: DramTiming = STEADY) -> list[float]:
    return list(Bandwidth(timing).shares()[sum(1 << channel for channel in channels)])


def test_shares_of_the_memory():
    """10 bytes a cycle are 5 beats in 4 cycles: one each for three of them, two in the fourth. Turns decide who has the
    single ones.
    """
    assert shares(LOAD) == [1, 0, 0]
    # Of three turns the writer is first of the two in two: 2/3 of the three single beats, and one of the pair.
    assert shares(LOAD, WRITE) == pytest.approx([2 / 4, 0, 3 / 4])
    assert shares(LOAD, FETCH) == pytest.approx([3 / 4, 2 / 4, 0])
    assert shares(LOAD, FETCH, WRITE) == pytest.approx([5 / 12, 5 / 12, 5 / 12])
    refreshed = shares(LOAD, WRITE, timing=DramTiming())
    assert refreshed == pytest.approx([0.5 * 1130 / 1170, 0, 0.75 * 1130 / 1170])
    wide = DramTiming(refresh_interval=0, bytes_per_cycle=24)
    assert shares(LOAD, FETCH, WRITE, timing=wide) == [1, 1, 1]


def test_bursts_in_flight():
    """Eight bursts of 16 beats hide 60 cycles; eight of two beats (a row of one pixel) do not."""
    assert Bandwidth(STEADY).burst_limit(128) == (128, 1.0)
    assert Bandwidth(STEADY).burst_limit(2) == (16, pytest.approx(16 / 70))


def test_random_pauses_are_refused(program):
    with pytest.raises(ConfigError, match=r"stall = 0\.25: expected 0"):
        predict(program, DramTiming(stall=0.25))


def test_window_beats():
    """0, 3 and 6 take nine cycles, the others one."""
    assert window_beats(np.array([[0, 1], [2, 3], [4, 5], [6, 7]])).tolist() == [[9, 1], [1, 9], [1, 1], [9, 1]]
    assert window_beats(np.array([1, 0, 0, 1, 0, 0, 1, 1])).tolist() == [[7]]
    assert window_beats(None).tolist() == [[(3 * 9 + 5) / 8]]


@pytest.mark.parametrize(
    "dilations", [np.zeros(7), np.full((2, 2), 8), np.zeros((2, 2, 2), int), np.zeros(8), np.full((1, 1), -1)]
)
def test_dilations_that_are_none(program, dilations):
    number = next(n for n, step in enumerate(program.descriptors) if step.dilated)
    with pytest.raises(ConfigError, match=r"expected a map \[H, W\] of values 0 to 7 or 8 frequencies"):
        predict(program, dilations={number: dilations})


def test_latencies_are_those_of_the_components():
    """Where a delay is one of the RTL's own numbers."""
    pixels = 1 + READ_LATENCY + 2 + WindowAxis.LATENCY
    banks_and_padding = READ_LATENCY + 2
    window = pixels + 3 + WindowBeats.LATENCY + banks_and_padding
    assert latency.ROW_TO_ARRAY == window + Depthwise(SMALL).latency + 1
    weights, accumulators = READ_LATENCY + 1, 3
    requantize = LOOK_UP + Requantizer.LATENCY
    assert latency.RESULTS == weights + Array(SMALL).latency + accumulators + requantize + 9
    assert latency.EXPANDED == 1 + weights + Array(SMALL).latency + accumulators + requantize + 4
    reader = BurstReader()
    assert (latency.LOAD_QUEUE, latency.BURSTS_IN_FLIGHT) == (reader.depth, reader.outstanding)
    assert latency.RESULT_QUEUE == Pointwise(SMALL).queue_depth


def test_work_of_a_step(program):
    """By hand: stage 1's stride-2 unit, depthwise 3x3 over 16 x 16 pixels and one plane, then 1x1 to one plane in two
    groups of 8.
    """
    step = program.descriptors[1]
    assert (step.depthwise_op, step.stride2, step.input_planes, step.groups) == (DepthwiseOp.MAC, 1, 1, 2)
    work = work_of(step, SMALL)
    assert (work.rows, work.row_beats, work.load_beats) == (16, 32, 512)
    assert work.active_cycles == 8 * 2
    assert (work.output_beats, work.store_beats, work.block_beats) == (16, 128, 32)
    # One cycle a pixel is less than the pauses between rows.
    assert work.window_cycles == (*((row, 13) for row in range(1, 8)), (8, 8))
    assert [work.rows_needed(y) for y in (0, 1, 7)] == [2, 4, 16]


def test_causes_sum_to_the_cycles(program):
    frame = predict(program)
    assert len(frame.steps) == len(program.descriptors)
    for step in frame.steps:
        assert step.cycles == sum(step.causes.values()) and min(step.causes.values()) >= 0
        assert step.cycles >= step.work.active_cycles * step.work.output_rows
    assert frame.cycles == sum(frame.causes.values())
    assert frame.utilization == pytest.approx(program.graph_macs / (16 * 8 * frame.cycles))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (dict(latency=20), dict(latency=200)),
        (dict(bytes_per_cycle=24), dict(bytes_per_cycle=8)),
        (dict(refresh_interval=0), dict()),
        (dict(), dict(jitter=40)),
        (dict(outstanding=8), dict(outstanding=1)),
    ],
)
def test_worse_memory_is_slower(program, better, worse):
    fast, slow = (predict(program, DramTiming(**values)) for values in (better, worse))
    assert fast.cycles < slow.cycles
    for one, other in zip(fast.steps, slow.steps, strict=True):
        assert one.cycles <= other.cycles + 2, one.name


def test_dilations_that_conflict_are_slower(program):
    steps = [n for n, step in enumerate(program.descriptors) if step.dilated]
    free, mixed, conflicts = (
        predict(program, dilations=dict.fromkeys(steps, frequencies))
        for frequencies in (np.eye(8)[1], np.ones(8), np.eye(8)[3])
    )
    assert free.cycles < mixed.cycles < conflicts.cycles
    assert predict(program).cycles == mixed.cycles and predict(program).assumed_dilations
    assert not mixed.assumed_dilations
    changed = {n for n, (a, b) in enumerate(zip(free.steps, conflicts.steps, strict=True)) if a.cycles != b.cycles}
    assert changed <= {*steps, *(n + 1 for n in steps)}


def test_dilations_are_found_behind_a_copy():
    """With skips, stages 1 and 2 read a copy of their dilations at full size."""
    graph = networks.network(64, skips=True)
    program = compiler.compile(graph, SMALL)
    assert [placed.name for placed in dilation_sources(program).values()] == [f"decoder{n}.dilation" for n in range(3)]
    maps = dilation_maps(program, interpreter.run(graph, networks.random_image(64, 64)))
    assert [dilations.shape for dilations in maps.values()] == [(2, 2), (4, 4), (8, 8)]


def test_larger_arrays_are_faster():
    graph = networks.codenet("a", size=64)
    cycles = [predict(compiler.compile(graph, AcceleratorConfig(outputs=n))).cycles for n in (8, 16, 32)]
    # Not in proportion: at this size the weights take longer to fetch than to use.
    assert cycles[0] > cycles[1] > cycles[2]


def measure(graph, config, photo, timing):
    """A frame in RTL simulation, and the model's, given the frame's dilations."""
    program = compiler.compile(graph, config)
    activation = to_activation(resize(load(photo), program.input.height, program.input.width))
    maps = dilation_maps(program, interpreter.run(graph, activation))
    with RtlDevice(config, timing) as device:
        result = run_frame(device, program, graph, photo, name=graph.name, threshold=0.3)
    assert not result.mismatches
    return result, predict(program, timing, maps)


def check_counts(result, frame):
    """What does not depend on time is exact: operations, and beats moved, peak records aside."""
    for measured, predicted in zip(result.profile, frame.steps, strict=True):
        assert measured[ProfileCounter.ACTIVE] == predicted.causes[ProfileCounter.ACTIVE], measured.name
    read, written = (
        8 * sum(step[counter] for step in result.profile)
        for counter in (ProfileCounter.READ_BEATS, ProfileCounter.WRITE_BEATS)
    )
    assert read == frame.read_bytes
    peaks, rest = divmod(written - frame.write_bytes, PEAK_BYTES)
    assert rest == 0 and 0 <= peaks <= frame.program.descriptors[-1].peak_capacity


def check_cycles(result, frame, step_cycles, frame_part=FRAME):
    peaks = result.profile[-1]
    total = sum(step.cycles for step in result.profile)
    assert abs(frame.cycles - total) <= frame_part * total, f"frame: {total} cycles, model {frame.cycles}"
    for measured, predicted in zip(result.profile, frame.steps, strict=True):
        short = max(step_cycles, EXPANDED_CYCLES) if predicted.work.step.expand else step_cycles
        allowed = max(STEP * measured.cycles, short)
        if measured is peaks:
            # Peaks are data: each record takes its beat at the memory from up to two others, and without any there is
            # no write to wait for.
            records = measured[ProfileCounter.WRITE_BEATS]
            allowed += 2 * records if records else DramTiming().latency + STEP_CYCLES
        difference = predicted.cycles - measured.cycles
        assert abs(difference) <= allowed, f"{measured.name}: {measured.cycles} cycles, model {predicted.cycles}"


NETWORKS = {
    "stride-4 stem": dict(size=64),
    "stride-2 stem and max pool": dict(size=32, stem="s2max"),
    "pointwise before deformable": dict(size=32, deform="ii"),
    "merged heads": dict(size=32, equal_heads=True),
    "four times the pixels": dict(size=128),
    "skips": dict(size=64, skips=True),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_small_networks(kind, photo):
    graph = networks.network(**NETWORKS[kind], seed=len(kind))
    result, frame = measure(graph, SMALL, photo, STEADY)
    check_counts(result, frame)
    check_cycles(result, frame, STEP_CYCLES, SMALL_FRAME)


def test_with_refresh(photo):
    """A refresh more or less in a step is 40 cycles."""
    timing = DramTiming()
    result, frame = measure(networks.network(64, seed=1), SMALL, photo, timing)
    check_counts(result, frame)
    check_cycles(result, frame, STEP_CYCLES + timing.refresh_cycles, SMALL_FRAME)


@pytest.mark.parametrize("timing", [dict(latency=100), dict(bytes_per_cycle=8), dict(bytes_per_cycle=20, latency=20)])
def test_other_memories(photo, timing):
    """The mechanisms, not one memory's numbers."""
    values = dataclasses.replace(STEADY, **timing)
    result, frame = measure(networks.network(64, seed=2), SMALL, photo, values)
    check_counts(result, frame)
    check_cycles(result, frame, 2 * STEP_CYCLES, 2 * FRAME)


# Not every kind of step agrees this well: docs/performance.md lists those that do not.
STEPS = {
    "pointwise": dict(height=7, width=9, planes=3, chunks=4),
    "one pixel": dict(height=1, width=1, planes=1, chunks=2),
    "many planes": dict(height=4, width=5, planes=15, chunks=8),
    "stride 2": dict(height=9, width=11, planes=2, chunks=2, stride2=True),
    "stem": dict(height=16, width=17, planes=3, chunks=4, wide_weights=True, packed=True, pitch_extra=8),
    "full 3x3": dict(height=8, width=9, planes=2, full=True, chunks=4),
    "upsampled": dict(height=12, width=10, planes=2, op=DepthwiseOp.MAC, chunks=4, upsample=True),
    "rows loaded twice": dict(
        height=10, width=6, planes=2, op=DepthwiseOp.MAC, upsample=True, repeat=True, window_rows=3
    ),
    "without pointwise": dict(height=7, width=8, planes=3, op=DepthwiseOp.MAC),
    "window of the fewest rows": dict(height=32, width=16, planes=4, op=DepthwiseOp.MAC, chunks=2, window_rows=3),
    "fewest rows, 1x1": dict(height=32, width=16, planes=4, chunks=2, window_rows=3),
    "fewest rows, stride 2": dict(
        height=32, width=16, planes=4, op=DepthwiseOp.MAC, chunks=2, window_rows=3, stride2=True
    ),
    "fewest rows, full 3x3": dict(height=20, width=8, planes=2, full=True, chunks=2, window_rows=3),
}


@pytest.fixture(scope="module")
def board():
    with RtlDevice(SMALL, STEADY) as device:
        yield device


def measured_and_predicted(board, step, dilations=None):
    load_step(board, step)
    start(board)
    board.wait(SECONDS)
    bandwidth = Bandwidth(STEADY)
    waiting = Fetch(step.descriptor.parameter_beats, bandwidth).run_alone()
    flow = Flow(work_of(step.descriptor, SMALL, dilations), bandwidth, Fetch(None, bandwidth))
    return board.read(BY_NAME["FRAME_CYCLES"].offset), waiting + sum(flow.run().values())


@pytest.mark.parametrize("kind", STEPS)
def test_single_steps(kind, board):
    measured, predicted = measured_and_predicted(board, random_step(SMALL, **STEPS[kind], seed=3))
    assert abs(predicted - measured) <= max(STEP * measured, STEP_CYCLES)


def test_nine_cycle_pixels_side_by_side_starve_the_array(board):
    """As in decoder.1 of configuration b: the mean of a row is not enough to know its time."""
    halves = np.repeat([[0, 1]], 12, axis=1).repeat(6, axis=0)
    spread = np.tile([0, 1], (6, 12))
    cycles = []
    for dilations in (halves, spread):
        step = random_step(SMALL, 6, 24, 8, op=DepthwiseOp.MAC, dilated=True, chunks=4, dilations=dilations, seed=4)
        measured, predicted = measured_and_predicted(board, step, dilations)
        assert abs(predicted - measured) <= STEP * measured
        cycles.append(measured)
    assert cycles[0] > 1.05 * cycles[1]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_default_configurations(configuration):
    graph = load_graph(configuration)
    result, frame = measure(graph, AcceleratorConfig(), PHOTO, DramTiming())
    check_counts(result, frame)
    check_cycles(result, frame, DramTiming().refresh_cycles)
