# SPDX-License-Identifier: Apache-2.0
"""Channels to planes: hand-made cases, and that no lane is used twice, whoever reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codenet.compiler.ir import IMAGE, Branch, Kind, Node, View
from codenet.compiler.layout import MAX_ATOMS, Readers, _aligned, _plane_cost, arrange, find_readers, gather
from codenet.config import LANES, AcceleratorConfig
from codenet.graph import Convolution, Requantize

CONFIG = AcceleratorConfig()
READ_COST = 1000


def producer(channels: int, wide: bool = False) -> Node:
    """Node 0: a convolution with ``channels`` outputs."""
    requantize = Requantize(np.ones(channels, np.int16), np.zeros(channels, np.int64), 0, -128, 127)
    weights = np.ones((channels, 1, 1, 16), np.int8)
    operation = Convolution(name="x", weights=weights, requantize=requantize, scale=1.0, zero_point=0, wide=wide)
    branch = Branch(View.of_node(IMAGE, 16), convolution=operation)
    return Node(0, Kind.POINTWISE, (branch,), (8, 8), (8, 8), wide=wide)


def planes(
    ranges: dict[int, range], channels: int, *, wide: bool = False, dilations: tuple[int, ...] = ()
) -> list[list[int]]:
    """Arrangement of ``channels`` of which reader ``r`` reads ``ranges[r]``."""
    signatures = [frozenset(reader for reader, wanted in ranges.items() if c in wanted) for c in range(channels)]
    readers = Readers({0: signatures}, dict.fromkeys(ranges, READ_COST), {0: frozenset(dilations)})
    return arrange(producer(channels, wide), readers, CONFIG)


def cost(arrangement: list[list[int]], parts: dict[int, range]) -> int:
    """Cycles: 128 for each plane that the producer writes, 1000 for each that a reader takes."""
    return 128 * len(arrangement) + READ_COST * sum(read(arrangement, part) for part in parts.values())


def read(arrangement: list[list[int]], wanted: range) -> int:
    """Planes that a reader of ``wanted`` takes."""
    return sum(any(channel in wanted for channel in plane) for plane in arrangement)


def test_one_reader_keeps_the_order() -> None:
    assert planes({1: range(40)}, 40) == [list(range(16)), list(range(16, 32)), list(range(32, 40))]


def test_shufflenet_halves() -> None:
    """58 channels: 29 for the next unit, then 14, 8, 7, and all for the next stage: no reader takes a surplus plane."""
    parts = {1: range(29, 58), 2: range(15, 29), 3: range(7, 15), 9: range(58)}
    arrangement = planes(parts, 58)
    assert [read(arrangement, part) for part in parts.values()] == [2, 1, 1, 4]


def test_little_for_many_shares_planes() -> None:
    """Eight readers of two channels each: one plane, which is what one reader of all takes too."""
    parts = {reader: range(2 * reader, 2 * reader + 2) for reader in range(8)} | {9: range(16)}
    assert len(planes(parts, 16)) == 1


def test_more_readers_than_can_be_weighed() -> None:
    parts = {reader: range(3 * reader, 3 * reader + 3) for reader in range(30)}
    arrangement = planes(parts, 90)
    assert sorted(sum(arrangement, [])) == list(range(90))
    assert len(arrangement) <= 8


def test_dilations_have_lane_0() -> None:
    arrangement = planes({1: range(20)}, 20, dilations=(3, 11))
    assert arrangement[:2] == [[3], [11]] and len(arrangement) == 4


def test_wide_results_never_share_a_plane_with_others() -> None:
    arrangement = planes({1: range(0, 3)}, 5, wide=True)
    assert arrangement == [[0, 1, 2], [3, 4]]
    assert planes({1: range(20)}, 20, wide=True)[2] == [16, 17, 18, 19]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_every_channel_has_a_lane(channels: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.sort(rng.integers(0, channels + 1, (count, 2)), axis=1)
    parts = {reader: range(*map(int, pair)) for reader, pair in enumerate(bounds)}
    arrangement = planes(parts, channels)
    assert sorted(sum(arrangement, [])) == list(range(channels))
    assert all(0 < len(plane) <= LANES for plane in arrangement)
    naive = [list(range(first, min(first + LANES, channels))) for first in range(0, channels, LANES)]
    assert cost(arrangement, parts) <= cost(naive, parts)


def test_gather_takes_each_plane_once_and_repeats_channels() -> None:
    plane_of, lane_of = {7: np.array([0, 0, 1, 2])}, {7: np.array([0, 1, 0, 5])}
    view = View(np.full(4, 7), np.array([3, 0, 1, 0]))
    slots = gather(view, plane_of, lane_of)
    assert slots.planes == [(7, 0), (7, 0), (7, 2)]
    assert slots.slot.tolist() == [2, 0, 0, 1]
    assert slots.lane.tolist() == [5, 0, 1, 0]


def test_rests_of_too_many_atoms_are_joined_in_order_of_channels() -> None:
    """Whatever reads them, here fewer and fewer: two atoms more than are weighed, so that two pairs are joined. Of the
    other seven the pairs that cost least leave the last one alone.
    """
    signatures = [frozenset({20}), frozenset({21}), *(frozenset(range(count)) for count in range(9, 0, -1))]
    assert len(signatures) == MAX_ATOMS + 2
    planes = _aligned([(readers, [n]) for n, readers in enumerate(signatures)], 2, 1, dict.fromkeys(range(22), 100))
    assert sorted(planes) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]


def test_atoms_of_one_size_stay_in_order_of_channels() -> None:
    """Six times nine channels, each read by some of six readers: four planes, whatever the readers are called."""
    counts = [2, 1, 5, 3, 4, 6]
    signatures = [frozenset(range(count)) for count in counts for _ in range(9)]
    readers = Readers({0: signatures}, dict.fromkeys(range(6), READ_COST), {0: frozenset()})
    assert arrange(producer(54), readers, CONFIG) == [
        [*range(first, min(first + 16, 54))] for first in range(0, 54, 16)
    ]


def test_rests_that_cannot_be_joined_get_planes_of_their_own() -> None:
    """Atoms of nine channels, of which no two share a plane, and more of them than are weighed."""
    atoms = [(frozenset({n}), [*range(9 * n, 9 * n + 9)]) for n in range(MAX_ATOMS + 2)]
    assert sorted(_aligned(atoms, LANES, 1, dict.fromkeys(range(MAX_ATOMS + 2), 1))) == [part for _, part in atoms]


def test_cycles_of_a_plane_more_to_read() -> None:
    """Of 64 pixels: the array takes one for each group of 32 outputs and pixel, loading two beats of each."""
    assert _plane_cost(producer(33), CONFIG) == 2 * 64  # two groups
    assert _plane_cost(producer(8), CONFIG) == 2 * 64  # one group, so that loading takes longer
    assert _plane_cost(producer(65), CONFIG) == 3 * 64  # three planes more than two groups
    assert _plane_cost(producer(20, wide=True), CONFIG) == 2 * 64
    assert _plane_cost(producer(97, wide=True), CONFIG) == 4 * 64
    # An expansion makes the channels that are filtered, here 65 in five planes, and not those of the result.
    many = replace(producer(97), branches=(replace(producer(97).branches[0], view=View.of_node(1, 65)),))
    assert _plane_cost(replace(many, expansion=producer(65)), CONFIG) == 3 * 64
    assert _plane_cost(many, CONFIG) == 4 * 64


def test_the_smallest_rests_are_joined() -> None:
    """Whoever reads them: two single channels join one of eight atoms that fill more than half a plane each."""
    large = [(frozenset({n}), [*range(9 * n, 9 * n + 9)]) for n in range(MAX_ATOMS - 1)]
    small = [(frozenset(range(first, first + 5)), [72 + first]) for first in range(2)]
    planes = _aligned([*large, *small], LANES, 1000, dict.fromkeys(range(MAX_ATOMS), 1))
    assert sorted(map(len, planes)) == [9] * 7 + [11]


def test_readers_are_steps_and_what_they_expand() -> None:
    """A step with an expansion reads the channels that the expansion filters, and is laid out as if it stood alone."""
    made, expanded = producer(20), replace(producer(8), id=1)
    expanded = replace(expanded, branches=(replace(expanded.branches[0], view=View.of_node(0, 12)),))
    reader = replace(expanded, id=2, branches=(replace(expanded.branches[0], view=View.of_node(1, 8)),))
    readers = find_readers([made, replace(reader, expansion=expanded)], CONFIG)
    assert readers.signatures[0] == [frozenset({1, 2})] * 12 + [frozenset()] * 8
    assert readers.signatures[1] == [frozenset({2})] * 8 and set(readers.weights) == {0, 1, 2}


def test_a_plane_more_where_it_saves_its_readers_more() -> None:
    """Three readers of ten channels each: two planes would cost each of two readers a second one."""
    ranges = {n: range(10 * n, 10 * n + 10) for n in range(3)}
    assert planes(ranges, 30) == [[*part] for part in ranges.values()]


def test_joined_rests_are_read_by_the_readers_of_both() -> None:
    """An atom more than is weighed: those of one lane are joined, and share a plane with whom one of both readers, the
    second, reads anyway.
    """
    readers = [{0}, {1}, {2}, {1}, *({n} for n in range(3, 9))]
    assert len(readers) == MAX_ATOMS + 1
    atoms = [(frozenset(who), [n] if n < 2 else [*range(10 * n, 10 * n + 9)]) for n, who in enumerate(readers)]
    arranged = _aligned(atoms, LANES, 1, dict.fromkeys(range(9), 100))
    assert sorted(map(len, arranged)) == [9] * 7 + [11]
    assert {0, 1, *range(30, 39)} in map(set, arranged)
