# SPDX-License-Identifier: Apache-2.0
"""The memories of an accelerator against what a step needs: the most that fits, and one more, of each by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codenet.compiler.ir import Kind, Node, View
from codenet.compiler.limits import back_limit, expansion_fits, front_limit, planes_per_step
from codenet.config import AcceleratorConfig
from tests.codenet.compiler.compiling import node

LARGE = AcceleratorConfig(
    outputs=32,
    window_depth=4096,
    weight_depth=8192,
    vector_depth=4096,
    store_depth=16384,
    plane_depth=256,
    depthwise_depth=256,
    chunk_depth=512,
    dilation_depth=65536,
)

DILATED = replace(node(Kind.DEPTHWISE), dilation=View.of_node(0, 1))


@pytest.mark.parametrize(
    ("limit", "of", "depthwise", "lanewise", "most", "reason"),
    [
        ({"plane_depth": 8}, node(Kind.POINTWISE), False, False, 8, "9 input planes: expected at most 8 (plane_depth)"),
        ({"plane_depth": 8}, DILATED, True, True, 7, "9 input planes: expected at most 8 (plane_depth)"),
        (
            {"plane_depth": 8},
            replace(DILATED, kind=Kind.POINTWISE),
            False,
            False,
            8,
            "9 input planes: expected at most 8 (plane_depth)",
        ),
        (
            {"vector_depth": 32},
            node(Kind.POINTWISE),
            False,
            False,
            16,
            "17 vectors a pixel: expected at most 16 (half of vector_depth)",
        ),
        (
            {"vector_depth": 64},
            node(Kind.FULL),
            False,
            False,
            3,
            "36 vectors a pixel: expected at most 32 (half of vector_depth)",
        ),
        # Rows of 12 columns lie in three banks, four vectors of each plane in one.
        (
            {"window_depth": 64},
            node(Kind.DEPTHWISE),
            True,
            True,
            16,
            "68 vectors in a window bank (3 rows of 17 planes): expected at most 64 (window_depth)",
        ),
        (
            {"window_depth": 64},
            DILATED,
            True,
            True,
            4,
            "80 vectors in a window bank (12 rows of 5 planes): expected at most 64 (window_depth)",
        ),
        (
            {"depthwise_depth": 8},
            node(Kind.DEPTHWISE),
            True,
            False,
            8,
            "9 planes to filter: expected at most 8 (depthwise_depth)",
        ),
        (
            {"store_depth": 64},
            node(Kind.DEPTHWISE),
            True,
            True,
            16,
            "34 beats of results a pixel: expected at most 32 (half of store_depth)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_most_input_planes(
    limit: dict[str, int], of: Node, depthwise: bool, lanewise: bool, most: int, reason: str
) -> None:
    config = replace(LARGE, **limit)
    assert front_limit(config, of, most, depthwise=depthwise, lanewise=lanewise) is None
    assert front_limit(config, of, most + 1, depthwise=depthwise, lanewise=lanewise) == f"needs {reason}"
    assert front_limit(LARGE, of, most + 1, depthwise=depthwise, lanewise=lanewise) is None


def test_results_that_do_not_stay_in_their_lanes_need_no_room_for_each_input_plane() -> None:
    config = replace(LARGE, store_depth=64)
    assert front_limit(config, node(Kind.DEPTHWISE), 200, depthwise=True, lanewise=False) is None


def test_planes_to_filter_count_where_the_step_filters() -> None:
    config = replace(LARGE, depthwise_depth=8)
    assert front_limit(config, node(Kind.DEPTHWISE), 9, depthwise=False, lanewise=True) is None
    assert front_limit(config, node(Kind.MAX), 9, depthwise=True, lanewise=True) is None


def test_dilations_of_all_rows_of_the_window() -> None:
    """The row itself and seven above and below it."""
    wide = replace(DILATED, source=(20, 18))
    assert front_limit(replace(LARGE, dilation_depth=512), wide, 1, depthwise=True, lanewise=True) is None
    assert front_limit(replace(LARGE, dilation_depth=256), wide, 1, depthwise=True, lanewise=True) == (
        f"needs {18 * 15} dilations (15 rows): expected at most 256 (dilation_depth)"
    )


@pytest.mark.parametrize(
    ("limit", "of", "vectors", "wide_weights", "most", "reason"),
    [
        # Two planes of 16 channels are a group of 32 outputs.
        (
            {"weight_depth": 64},
            node(Kind.POINTWISE),
            8,
            False,
            8,
            "40 words of weights for 9 output planes: expected at most 32 (half of weight_depth)",
        ),
        (
            {"weight_depth": 64},
            node(Kind.POINTWISE),
            8,
            True,
            4,
            "48 words of weights for 5 output planes: expected at most 32 (half of weight_depth)",
        ),
        (
            {"chunk_depth": 16},
            node(Kind.POINTWISE),
            1,
            False,
            8,
            "18 chunks of 8 channels for 9 output planes: expected at most 16 (chunk_depth)",
        ),
        (
            {"chunk_depth": 16},
            replace(node(Kind.POINTWISE), wide=True),
            1,
            False,
            16,
            "17 chunks of 8 channels for 17 output planes: expected at most 16 (chunk_depth)",
        ),
        (
            {"plane_depth": 16},
            node(Kind.POINTWISE),
            1,
            False,
            16,
            "17 output planes for 17 output planes: expected at most 16 (plane_depth)",
        ),
        (
            {"store_depth": 64},
            node(Kind.POINTWISE),
            1,
            False,
            16,
            "34 beats of results a pixel for 17 output planes: expected at most 32 (half of store_depth)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_most_output_planes(
    limit: dict[str, int], of: Node, vectors: int, wide_weights: bool, most: int, reason: str
) -> None:
    config = replace(LARGE, **limit)
    assert back_limit(config, of, most, vectors, wide_weights) is None
    assert back_limit(config, of, most + 1, vectors, wide_weights) == f"needs {reason}"
    assert back_limit(LARGE, of, most + 1, vectors, wide_weights) is None


@pytest.mark.parametrize(
    ("outputs", "most", "total", "size"),
    [
        (32, 256, 9, 9),  # all
        (32, 8, 9, 6),  # two steps as even as whole groups of two planes let them be: 6 and 3
        (32, 8, 20, 8),  # three steps: of 7 they would be even, but 7 is three groups and a half
        (24, 8, 10, 6),  # groups of three half planes: whole ones are three planes
        (128, 4, 9, 4),  # fewer than a group
    ],
)
def test_planes_of_a_step_are_even_and_whole_groups(outputs: int, most: int, total: int, size: int) -> None:
    config = replace(LARGE, outputs=outputs, chunk_depth=2 * most)
    assert planes_per_step(config, node(Kind.POINTWISE), total, 1, False) == size


@pytest.mark.parametrize(
    ("kind", "limit", "fits", "not_"),
    [
        # read, planes, outputs. An expansion of 5 planes has 10 chunks, 3 output planes 6.
        (Kind.POINTWISE, {"chunk_depth": 16}, (2, 5, 3), (2, 5, 4)),
        (Kind.POINTWISE, {"chunk_depth": 16}, (2, 6, 2), (2, 7, 2)),
        (Kind.DEPTHWISE, {"chunk_depth": 16}, (2, 8, 8), (2, 9, 9)),
        # Words: two planes a group; 3 groups of 2 vectors and 2 groups of 6.
        (Kind.POINTWISE, {"weight_depth": 32}, (2, 5, 3), (2, 5, 5)),
        (Kind.DEPTHWISE, {"weight_depth": 32}, (4, 8, 8), (4, 9, 9)),
        (Kind.POINTWISE, {"plane_depth": 8}, (8, 4, 4), (9, 4, 4)),
        (Kind.POINTWISE, {"plane_depth": 8}, (4, 4, 8), (4, 4, 9)),
        (Kind.POINTWISE, {"plane_depth": 8}, (4, 8, 4), (4, 9, 4)),
        (Kind.POINTWISE, {"store_depth": 64}, (4, 4, 16), (4, 4, 17)),
        (Kind.DEPTHWISE, {"store_depth": 64}, (4, 16, 16), (4, 17, 17)),
        (Kind.POINTWISE, {"depthwise_depth": 8}, (4, 8, 4), (4, 9, 4)),
    ],
)
def test_room_for_an_expansion(
    kind: Kind, limit: dict[str, int], fits: tuple[int, int, int], not_: tuple[int, int, int]
) -> None:
    config = replace(LARGE, **limit)
    of = node(kind)
    assert expansion_fits(config, of, *fits)
    assert not expansion_fits(config, of, *not_)
    assert expansion_fits(LARGE, of, *not_)
