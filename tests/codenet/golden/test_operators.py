# SPDX-License-Identifier: Apache-2.0
"""The golden model against hand-computed cases, Python's unbounded integers, and PyTorch."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenet.errors import GraphError
from codenet.golden import operators as golden
from codenet.isa import PEAK_DTYPE
from tests.paths import ROOT

SHAPES = [(1, 1, 1), (1, 5, 3), (5, 1, 16), (2, 2, 7), (7, 9, 16), (8, 8, 33), (16, 15, 8)]


def activations(shape: tuple[int, ...], fill: str, seed: int = 0) -> np.ndarray:
    values = {"min": (-128, -127), "max": (127, 128), "zero": (0, 1), "random": (-128, 128)}
    return np.random.default_rng(seed).integers(*values[fill], size=shape, dtype=np.int8)


def weights(shape: tuple[int, ...], bits: int, fill: str, seed: int = 1) -> np.ndarray:
    limit = 2 ** (bits - 1) - 1
    values = {"min": (-limit, 1 - limit), "max": (limit, limit + 1), "random": (-limit, limit + 1)}
    return np.random.default_rng(seed).integers(*values[fill], size=shape, dtype=np.int8)


def torch_convolution(x, w, stride, zero_point, groups=1):
    """``w`` [O, K, K, I]; exact: int64 through float64, whose 53 bits hold every sum here."""
    torch = pytest.importorskip("torch")
    margin = w.shape[1] // 2
    padded = np.pad(x.astype(np.int64), ((margin, margin), (margin, margin), (0, 0)), constant_values=zero_point)
    image = torch.from_numpy(padded).permute(2, 0, 1)[None].double()
    kernel = torch.from_numpy(w.astype(np.int64)).permute(0, 3, 1, 2).double()
    y = torch.nn.functional.conv2d(image, kernel, stride=stride, groups=groups)
    return y[0].permute(1, 2, 0).long().numpy()


# requantize


def test_requantize_by_hand():
    # (100 * 3 + 8) >> 4 = 308 >> 4 = 19; (-100 * 3 + 8) >> 4 = -292 >> 4 = floor(-18.25) = -19.
    y = golden.requantize(np.array([[100, -100]]), 3, 8, 4, -128, 127)
    assert y.dtype == np.int8 and y.tolist() == [[19, -19]]


def test_requantize_shifts_towards_minus_infinity():
    assert golden.requantize(np.array([-1, 1]), 1, 0, 1, -128, 127).tolist() == [-1, 0]


def test_requantize_clamps_and_chooses_dtype():
    acc = np.array([-(10**6), 0, 10**6])
    assert golden.requantize(acc, 1, 0, 0, 0, 7).tolist() == [0, 0, 7]
    wide = golden.requantize(acc, 1, 0, 0, -32768, 32767)
    assert wide.dtype == np.int16 and wide.tolist() == [-32768, 0, 32767]
    assert golden.requantize(acc, 1, 0, 0, -5, 5, np.int16).dtype == np.int16


NUMBER_48 = st.integers(-(2**47), 2**47 - 1)


@settings(max_examples=300, deadline=None)
@given(
    acc=st.lists(st.one_of(st.integers(-(2**22), 2**22), NUMBER_48), min_size=1, max_size=4),
    m=st.integers(-(2**15), 2**15 - 1),
    b=NUMBER_48,
    s=st.integers(0, 47),
    bounds=st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767)),
)
def test_requantize_equals_unbounded_integers(acc, m, b, s, bounds):
    lo, hi = sorted(bounds)
    expected = [min(max((a * m + b) >> s, lo), hi) for a in acc]
    assert (
        golden.requantize(np.array(acc)[:, None], np.array([m]), np.array([b]), s, lo, hi).ravel().tolist() == expected
    )


def test_requantize_applies_channels():
    acc = np.array([[[1, 1], [2, 2]]], dtype=np.int32)
    assert golden.requantize(acc, np.array([1, -2]), np.array([10, 20]), 0, -128, 127).tolist() == [
        [[11, 18], [12, 16]]
    ]


def test_requantize_at_the_ends_of_its_range():
    ends = np.array([-(1 << 47), (1 << 47) - 1])
    assert golden.requantize(ends, 1, 0, 40, -128, 127).tolist() == [-128, 127]
    assert golden.requantize(np.zeros(2, int), 1, ends, 40, -128, 127).tolist() == [-128, 127]
    assert golden.requantize(np.array([2]), np.array([-32768]), 0, 0, -32768, 32767).tolist() == [-32768]


def test_requantize_of_one_pixel():
    assert golden.requantize(np.array([1, 2]), np.array([3, -2]), np.array([10, 20]), 0, -128, 127).tolist() == [13, 16]


# pointwise and convolution


def test_pointwise_by_hand():
    x = np.array([[[1, -2, 3], [0, 127, -128]]], dtype=np.int8)
    w = np.array([[1, 2, 3], [-7, 0, 7]], dtype=np.int8)
    assert golden.pointwise(x, w).tolist() == [[[6, 14], [-130, -896]]]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("fill", ["min", "max", "random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pointwise_equals_torch(shape, fill, bits):
    x, w = activations(shape, fill), weights((5, shape[2]), bits, fill)
    assert np.array_equal(golden.pointwise(x, w), torch_convolution(x, w[:, None, None], 1, 0))


@pytest.mark.parametrize("inputs", [1031, 1032, 1033, 2**18])
@pytest.mark.parametrize("low", [-128, 127])
def test_pointwise_is_exact_beyond_float32(inputs, low):
    """1033 inputs of 127 * 128 exceed 2**24; 2**18 exceed 2**32 and need an int64 accumulator."""
    x = np.full((1, 1, inputs), low, np.int8)
    x[0, 0, -1] = low + 1 if low < 0 else low - 1
    w = np.full((1, inputs), 127, np.int8)
    assert int(golden.pointwise(x, w)[0, 0, 0]) == 127 * int(x.astype(np.int64).sum())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_equals_torch(shape, kernel, stride, bits):
    x, w = activations(shape, "random"), weights((6, kernel, kernel, shape[2]), bits, "random")
    assert np.array_equal(golden.convolution(x, w, stride, -14), torch_convolution(x, w, stride, -14))


# depthwise and window


def test_depthwise_by_hand():
    x = np.arange(1, 10, dtype=np.int8).reshape(3, 3, 1)
    w = np.array([[[1, 0, 0], [0, 2, 0], [0, 0, 3]]], dtype=np.int8)
    # Centre (0, 0): 1 * padding + 2 * 1 + 3 * 5; centre (1, 1): 1 * 1 + 2 * 5 + 3 * 9.
    acc = golden.depthwise(x, w, zero_point=-10)
    assert acc[0, 0, 0] == -10 + 2 + 15 and acc[1, 1, 0] == 38


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("weight", [28, 29, 64, 85, 86, 127])
@pytest.mark.parametrize("value", [-128, 127])
def test_depthwise_of_8_bit_weights_is_exact_beyond_int16(channels, weight, value):
    """Nine times 128 times 29 are the first sum that has no place in 16 bits."""
    x = np.full((3, 3, channels), value, np.int8)
    weights = np.full((channels, 3, 3), weight, np.int8)
    assert golden.depthwise(x, weights)[1, 1].tolist() == [9 * value * weight] * channels


def test_depthwise_sum_of_exactly_two_to_the_15():
    """The largest magnitude that 16 bits have, with the sign that they do not have it for."""
    weights = np.full((1, 3, 3), -28, np.int8)
    weights[0, 0, 0] = -32
    assert golden.depthwise(np.full((3, 3, 1), -128, np.int8), weights)[1, 1, 0] == 1 << 15


def naive_depthwise(x, w, dilation, stride, zero_point):
    height, width = -(-x.shape[0] // stride), -(-x.shape[1] // stride)
    d = np.broadcast_to(dilation, (height, width))
    acc = np.zeros((height, width, x.shape[2]), np.int64)
    for y in range(height):
        for xx in range(width):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    r, c = y * stride + i * int(d[y, xx]), xx * stride + j * int(d[y, xx])
                    inside = 0 <= r < x.shape[0] and 0 <= c < x.shape[1]
                    sample = x[r, c].astype(np.int64) if inside else zero_point
                    acc[y, xx] += w[:, i + 1, j + 1].astype(np.int64) * sample
    return acc


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("fill", ["min", "max", "zero", "random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_depthwise_equals_torch(shape, fill, stride):
    x, w = activations(shape, fill), weights((shape[2], 3, 3), 4, "random" if fill == "zero" else fill)
    expected = torch_convolution(x, w[..., None], stride, -128, groups=shape[2])
    assert np.array_equal(golden.depthwise(x, w, 1, stride, -128), expected)


@pytest.mark.parametrize("dilation", range(8))
def test_depthwise_dilation_equals_torch(dilation):
    """Beyond the padding of 7 of the image, torch's own dilation gives every d > 0; d = 0 is nine times the centre."""
    torch = pytest.importorskip("torch")
    x, w = activations((9, 11, 5), "random"), weights((5, 3, 3), 4, "random")
    if dilation:
        image = torch.from_numpy(
            np.pad(x.astype(np.int64), ((dilation,) * 2, (dilation,) * 2, (0, 0)), constant_values=3)
        )
        kernel = torch.from_numpy(w.astype(np.int64))[:, None].double()
        y = torch.nn.functional.conv2d(image.permute(2, 0, 1)[None].double(), kernel, dilation=dilation, groups=5)
        expected = y[0].permute(1, 2, 0).long().numpy()
    else:
        expected = x.astype(np.int64) * w.astype(np.int64).sum(axis=(1, 2))
    assert np.array_equal(golden.depthwise(x, w, dilation, 1, 3), expected)
    assert np.array_equal(golden.depthwise(x, w, np.full((9, 11), dilation, np.int8), 1, 3), expected)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_depthwise_dilation_of_each_pixel(shape, stride, bits):
    x, w = activations(shape, "random"), weights((shape[2], 3, 3), bits, "random")
    size = (-(-shape[0] // stride), -(-shape[1] // stride))
    d = np.random.default_rng(2).integers(0, 8, size).astype(np.uint8)
    d.flat[0], d.flat[-1] = 7, 0
    assert np.array_equal(golden.depthwise(x, w, d, stride, -128), naive_depthwise(x, w, d, stride, -128))


def test_depthwise_8_bit_extremes_do_not_overflow():
    x, w = np.full((3, 3, 2), -128, np.int8), np.full((2, 3, 3), 127, np.int8)
    assert (golden.depthwise(x, w, zero_point=-128) == -128 * 127 * 9).all()


def test_window_is_what_depthwise_sums():
    x = activations((6, 7, 4), "random")
    d = np.random.default_rng(3).integers(0, 8, (6, 7))
    w = weights((4, 3, 3), 4, "random")
    taps = golden.window(x, d, 1, -5)
    assert taps.shape == (6, 7, 9, 4) and taps.dtype == np.int8
    summed = (taps.astype(np.int64) * w.reshape(4, 9).T).sum(axis=2)
    assert np.array_equal(summed, golden.depthwise(x, w, d, 1, -5))


# maximum, upsample, peaks


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_maximum_equals_torch(shape, stride):
    torch = pytest.importorskip("torch")
    x = activations(shape, "random")
    image = torch.from_numpy(x.astype(np.float64)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.max_pool2d(image, 3, stride, padding=1)[0].permute(1, 2, 0).numpy().astype(np.int8)
    assert np.array_equal(golden.maximum(x, stride), expected)


def test_maximum_counts_padding():
    assert golden.maximum(np.full((2, 2, 1), -50, np.int8), zero_point=3).ravel().tolist() == [3] * 4


def test_upsample_repeats():
    x = np.arange(6, dtype=np.int8).reshape(2, 3, 1)
    y = golden.upsample(x)
    assert y.dtype == np.int8 and y.shape == (4, 6, 1)
    assert all(y[i, j, 0] == x[i // 2, j // 2, 0] for i in range(4) for j in range(6))


def test_peaks_by_hand():
    heatmap = np.full((3, 4, 2), -100, np.int16)
    heatmap[0, 0, 0] = 5  # corner
    heatmap[2, 2, 1] = heatmap[2, 3, 1] = 7  # a plateau: both are peaks
    heatmap[1, 1, 1] = 6  # beside (2, 2)
    heatmap[1, 3, 0] = -101
    records = golden.peaks(heatmap, 0)
    assert records.dtype == PEAK_DTYPE
    assert records.tolist() == [(0, 0, 0, 5), (2, 2, 1, 7), (3, 2, 1, 7)]
    assert golden.peaks(heatmap, 6).tolist() == [(2, 2, 1, 7), (3, 2, 1, 7)]
    assert len(golden.peaks(heatmap, 8)) == 0


def test_peaks_of_the_smallest_values_and_one_pixel():
    assert golden.peaks(np.full((1, 1, 2), -32768, np.int16), -32768).tolist() == [(0, 0, 0, -32768), (0, 0, 1, -32768)]


def test_peaks_equal_a_loop():
    heatmap = np.random.default_rng(4).integers(-20, 20, (7, 9, 3)).astype(np.int16)
    expected = []
    for y in range(7):
        for x in range(9):
            for c in range(3):
                near = heatmap[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, c]
                if heatmap[y, x, c] >= max(near.max(), 5):
                    expected.append((x, y, c, heatmap[y, x, c]))
    assert golden.peaks(heatmap, 5).tolist() == expected and expected


# arguments


X = np.zeros((2, 2, 3), np.int8)
W = np.zeros((3, 3, 3), np.int8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: golden.pointwise(X.astype(np.float32), np.zeros((1, 3), np.int8)), "x is float32: expected integers"),
        (lambda: golden.pointwise(X, np.zeros((1, 4), np.int8)), r"weights \[1, 4\] on 3 channels: expected \[O, 3\]"),
        (lambda: golden.pointwise(X[0], np.zeros((1, 3), np.int8)), r"x has shape \[2, 3\]: expected 3 dimensions"),
        (
            lambda: golden.pointwise(X[:0], np.zeros((1, 3), np.int8)),
            r"x has shape \[0, 2, 3\]: expected no empty dimension",
        ),
        (
            lambda: golden.pointwise(X + np.int16(128), np.zeros((1, 3), np.int8)),
            r"x in \[128, 128\]: expected \[-128, 127\]",
        ),
        (lambda: golden.depthwise(X, W[:2]), r"weights \[2, 3, 3\]: expected \[3, 3, 3\]"),
        (lambda: golden.depthwise(X, W, 8), r"dilation in \[8, 8\]: expected \[0, 7\]"),
        (lambda: golden.depthwise(X, W, np.ones((3, 2), int)), r"dilation \[3, 2\]: expected one, or \[2, 2\] of them"),
        (lambda: golden.depthwise(X, W, 1, 3), "stride = 3: expected 1, 2 or 4"),
        (lambda: golden.depthwise(X, W, 1, 1, 128), r"zero_point = 128: expected within \(-128, 127\)"),
        (lambda: golden.convolution(X, np.zeros((1, 5, 5, 3), np.int8)), "expected a kernel of 1x1 or 3x3"),
        (lambda: golden.convolution(X, np.zeros((1, 3, 3, 3), np.int8), zero_point=-129), "zero_point = -129"),
        (lambda: golden.maximum(X, zero_point=200), "zero_point = 200: expected within int8"),
        (lambda: golden.peaks(np.full((1, 1, 1), 40000), 0), r"heatmap in \[40000, 40000\]"),
        (lambda: golden.window(X.astype(np.int32)), "x is int32: expected int8 or int16"),
        (lambda: golden.requantize(X, 1 << 15, 0, 0, -1, 1), r"m in \[32768, 32768\]"),
        (lambda: golden.requantize(X, -(1 << 15) - 1, 0, 0, -1, 1), r"m in \[-32769, -32769\]"),
        (lambda: golden.requantize(X, 1, 0, 0, -32769, 1), "lo = -32769, hi = 1: expected lo <= hi, both within"),
        (lambda: golden.requantize(X, 1, 1 << 47, 0, -1, 1), r"b in \[140737488355328"),
        (lambda: golden.requantize(X, 1, 0, 48, -1, 1), "s = 48: expected 0 to 47"),
        (lambda: golden.requantize(X, 1, 0, 0, 2, 1), "lo = 2, hi = 1"),
        (lambda: golden.requantize(X, 1, 0, 0, 0, 300, np.int8), "lo = 0, hi = 300: expected within"),
        (lambda: golden.requantize(X, np.ones(2, int), 0, 0, -1, 1), r"m has shape \[2\]"),
        (lambda: golden.requantize(X, np.ones(0, int), 0, 0, -1, 1), r"m has shape \[0\]"),
        (lambda: golden.requantize(np.array([[1 << 47]]), 1, 0, 0, -1, 1), "acc in"),
        (lambda: golden.requantize(np.array([[-(1 << 47) - 1]]), 1, 0, 0, -1, 1), "acc in"),
        (lambda: golden.requantize(X, 1, -(1 << 47) - 1, 0, -1, 1), "b in"),
    ],
)
def test_refused_arguments(call, message):
    with pytest.raises(GraphError, match=message):
        call()


def test_defaults_are_dilation_and_stride_1_and_a_zero_point_of_0():
    for operator, weights in ((golden.window, ()), (golden.depthwise, (W + np.int8(1),))):
        assert np.array_equal(operator(X, *weights), operator(X, *weights, 1, 1, 0))
        assert not np.array_equal(operator(X, *weights), operator(X, *weights, 1, 1, 1))


def test_examples_of_the_documentation():
    results = doctest.testfile(str(ROOT / "docs" / "numbers.md"), module_relative=False)
    assert results.attempted > 15 and results.failed == 0
