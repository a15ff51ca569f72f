# SPDX-License-Identifier: Apache-2.0
"""Parameter blocks: hand-made bit patterns, and unpacking as the inverse of packing."""

import numpy as np
import pytest

from codenet.config import LANES
from codenet.errors import DamagedError, FormatError
from codenet.isa import DepthwiseOp, Descriptor
from codenet.isa import parameters as packing

RNG = np.random.default_rng(1)


def test_requantize_bits() -> None:
    assert packing.pack_requantize(np.array([1]), np.array([2]))[0] == 0x0000_0000_0002_0001
    assert packing.pack_requantize(np.array([-1]), np.array([-1]))[0] == 0xFFFF_FFFF_FFFF_FFFF
    assert packing.pack_requantize(np.array([-(2**15)]), np.array([2**47 - 1]))[0] == 0x7FFF_FFFF_FFFF_8000


def test_requantize_round_trip() -> None:
    m = np.concatenate([[-(2**15), 2**15 - 1, 0], RNG.integers(-(2**15), 2**15, 100)])
    b = np.concatenate([[2**47 - 1, -(2**47), 0], RNG.integers(-(2**47), 2**47, 100)])
    got_m, got_b = packing.unpack_requantize(packing.pack_requantize(m, b))
    assert got_m.dtype == np.int16 and got_b.dtype == np.int64
    np.testing.assert_array_equal(got_m, m)
    np.testing.assert_array_equal(got_b, b)


@pytest.mark.parametrize(("m", "b", "name"), [(2**15, 0, "m"), (0, 2**47, "b"), (0, -(2**47) - 1, "b")])
def test_requantize_out_of_range(m: int, b: int, name: str) -> None:
    with pytest.raises(FormatError, match=f"requantize {name}"):
        packing.pack_requantize(np.array([m]), np.array([b]))


def test_weight_word_order() -> None:
    """Group, vector, output channel; lane 0 in the lowest nibble."""
    weights = np.zeros((3, 2 * LANES), dtype=np.int8)
    weights[0, 0] = 1
    weights[1, 15] = -1
    weights[2, 16] = 7
    beats = packing.pack_weights(weights, outputs=2)
    assert [hex(beat) for beat in beats.tolist()] == [
        "0x1",
        "0xf000000000000000",
        "0x0",
        "0x0",
        "0x0",
        "0x0",
        "0x7",
        "0x0",
    ]


def test_wide_weight_nibbles() -> None:
    weights = np.zeros((2, LANES), dtype=np.int8)
    weights[0, :2] = [-127, 100]
    weights[1, 3] = -1
    beats = packing.pack_weights(weights, outputs=2, wide=True).tolist()
    assert [hex(beat) for beat in beats] == ["0xf0000608", "0x0", "0xf0000401", "0x0"]  # by lane, then output


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("count", "vectors", "outputs"), [(1, 1, 8), (8, 1, 8), (9, 3, 8), (40, 5, 32), (24, 2, 24)])
def test_weights_round_trip(count: int, vectors: int, outputs: int, wide: bool) -> None:
    limit = 127 if wide else 7
    weights = RNG.integers(-limit, limit + 1, (count, LANES * vectors)).astype(np.int8)
    beats = packing.pack_weights(weights, outputs, wide)
    groups = -(-count // outputs)
    assert beats.shape == (groups * vectors * (1 + wide) * outputs,)
    got = packing.unpack_weights(beats, outputs, vectors, wide)
    np.testing.assert_array_equal(got[:count], weights)
    assert got.shape == (groups * outputs, LANES * vectors) and not got[count:].any()


def test_weights_out_of_range() -> None:
    with pytest.raises(FormatError, match=r"weights in \[0, 8\]"):
        packing.pack_weights(np.array([[8] + 15 * [0]]), outputs=8)


def test_depthwise_bits_and_round_trip() -> None:
    weights = RNG.integers(-7, 8, (32, 3, 3)).astype(np.int8)
    weights[:, 0, 1] = 0
    weights[17, 0, 1] = -2
    m, b = RNG.integers(-(2**15), 2**15, 32), RNG.integers(-(2**47), 2**47, 32)
    beats = packing.pack_depthwise(weights, m, b)
    assert beats.shape == (50,)
    assert beats[1] == 0 and beats[25 + 1] == 0xE0
    assert beats[25 + 9 + 3] == packing.pack_requantize(m[19:20], b[19:20])[0]
    for got, want in zip(packing.unpack_depthwise(beats), (weights, m, b), strict=True):
        np.testing.assert_array_equal(got, want)


def _descriptor(**changes: int) -> Descriptor:
    values = {
        "window_rows": 3,
        "input_planes": 2,
        "input_height": 4,
        "input_width": 4,
        "output_height": 4,
        "output_width": 4,
        "row_pitch": 64,
        "window_row_stride": 4,
        "vectors": 2,
        "output_planes": 1,
        "output_pixels": 16,
        **packing.block_fields(128, b""),
        "pointwise": 1,
        "groups": 2,
        "chunks": 2,
        "depthwise_op": int(DepthwiseOp.MAC),
        "dilated": 1,
    }
    return Descriptor(**(values | changes))  # type: ignore[arg-type]


def test_block_round_trip() -> None:
    weights = RNG.integers(-7, 8, (16, 32)).astype(np.int8)
    depthwise = RNG.integers(-7, 8, (32, 3, 3)).astype(np.int8)
    m, b = RNG.integers(1, 2**15, 32), RNG.integers(-(2**40), 2**40, 32)
    block = packing.pack_parameters(
        np.array([256, 512, 1024]),
        np.array([2048]),
        packing.pack_depthwise(depthwise, m, b),
        packing.pack_requantize(m[:16], b[:16]),
        packing.pack_weights(weights, outputs=8),
    )
    step = _descriptor(**packing.block_fields(128, block))
    assert sum(packing.section_beats(step, 8).values()) == len(block) // 8 == 3 + 1 + 50 + 16 + 32
    got = packing.unpack_parameters(block + b"surplus!", step, outputs=8)
    np.testing.assert_array_equal(got.input_table, [256, 512, 1024])
    np.testing.assert_array_equal(got.output_table, [2048])
    np.testing.assert_array_equal(got.depthwise_weights, depthwise)
    np.testing.assert_array_equal(got.weights, weights)
    np.testing.assert_array_equal(got.b, b[:16])
    with pytest.raises(FormatError, match="bytes are there"):
        packing.unpack_parameters(block[:-8], step, outputs=8)
    with pytest.raises(DamagedError, match="parameter block has CRC 0x[0-9a-f]{8}: expected 0x[0-9a-f]{8}"):
        packing.unpack_parameters(block[:-1] + b"!", step, outputs=8)
    with pytest.raises(FormatError, match="its sections have"):
        packing.unpack_parameters(block, _descriptor(parameter_beats=5), outputs=8)


def test_expanded_block_round_trip() -> None:
    """The expansion's chunks and words come before the others."""
    expand_weights = RNG.integers(-7, 8, (32, 48)).astype(np.int8)
    weights = RNG.integers(-7, 8, (16, 32)).astype(np.int8)
    m, b = RNG.integers(1, 2**15, 48), RNG.integers(-(2**40), 2**40, 48)
    block = packing.pack_parameters(
        np.array([256, 512, 1024]),
        np.array([2048]),
        np.zeros(0),
        packing.pack_requantize(m, b),
        np.append(packing.pack_weights(expand_weights, outputs=8), packing.pack_weights(weights, outputs=8)),
    )
    expansion = {"expand": 1, "expand_planes": 3, "expand_groups": 4, "expand_chunks": 4, "expand_words": 12}
    step = _descriptor(
        **packing.block_fields(128, block), depthwise_op=int(DepthwiseOp.OFF), dilated=0, **expansion, expand_hi=1
    )
    got = packing.unpack_parameters(block, step, outputs=8)
    np.testing.assert_array_equal(got.input_table, [256, 512, 1024])
    np.testing.assert_array_equal(got.expand_weights, expand_weights)
    np.testing.assert_array_equal(got.weights, weights)
    np.testing.assert_array_equal(np.append(got.expand_m, got.m), m)
    np.testing.assert_array_equal(np.append(got.expand_b, got.b), b)
    bypass = _descriptor(
        **packing.block_fields(128, block[: 8 * (3 + 1 + 32 + 96)]),
        depthwise_op=0,
        dilated=0,
        pointwise=0,
        groups=0,
        chunks=0,
        **expansion,
    )
    got = packing.unpack_parameters(block, bypass, outputs=8)
    np.testing.assert_array_equal(got.expand_m, m[:32])
    assert got.m.size == got.weights.size == 0
