# SPDX-License-Identifier: Apache-2.0
"""The golden model: every operator of docs/numbers.md in plain NumPy, on exact integers.

One function an operator, shaped like the accelerator's seams, so that each hardware component and each layer has its
own oracle. Activations are int8 ``[H, W, C]``; weights int8; accumulators int32 (int64 where 32 bits could overflow).
Matrix products go through floating-point BLAS only where the worst case proves that every partial sum is an exactly
represented integer.

All functions raise :class:`codenet.errors.GraphError`, naming the argument, its value and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codenet.config import MAX_DILATION
from codenet.errors import GraphError
from codenet.isa import PEAK_DTYPE

INT8 = (-128, 127)
INT16 = (-32768, 32767)

FLOAT32_EXACT = 2**24
"""All integers of smaller magnitude, and so all partial sums below it, are exact in float32."""

FLOAT64_EXACT = 2**53


def requantize(
    acc: np.ndarray, m: np.ndarray | int, b: np.ndarray | int, s: int, lo: int, hi: int, dtype: type | None = None
) -> np.ndarray:
    """``clamp((acc * m + b) >> s, lo, hi)`` with an arithmetic shift (rounding towards minus infinity).

    Parameters
    ----------
    acc:
        Integers ``[..., C]``, within 47 bits and sign, so that nothing overflows 64 bits.
    m, b:
        One number, or ``[C]``: within int16, and within 48 bits signed.
    s:
        0 to 47.
    lo, hi:
        Within int16, ``lo <= hi``.
    dtype:
        Of the result; by default int8 if ``lo`` and ``hi`` fit, otherwise int16.
    """
    acc = _integers("acc", acc, (-(2**47), 2**47 - 1))
    m = _integers("m", m, INT16)
    b = _integers("b", b, (-(2**47), 2**47 - 1))
    _require(0 <= s <= 47, f"s = {s}: expected 0 to 47")
    _require(INT16[0] <= lo <= hi <= INT16[1], f"lo = {lo}, hi = {hi}: expected lo <= hi, both within {INT16}")
    narrow = INT8[0] <= lo and hi <= INT8[1]
    _require(narrow or dtype is not np.int8, f"lo = {lo}, hi = {hi}: expected within {INT8} for an int8 result")
    for name, array in (("m", m), ("b", b)):
        fits = array.ndim == 0 or (array.ndim == 1 and acc.ndim > 0 and array.shape[0] == acc.shape[-1])
        _require(
            fits,
            f"{name} has shape {list(array.shape)}: expected one number, or one for each channel of {list(acc.shape)}",
        )
    # |acc * m| <= 2**62 and |b| <= 2**47: the sum fits int64.
    y = acc.astype(np.int64)
    y *= m.astype(np.int64)
    y += b.astype(np.int64)
    y >>= s
    return y.clip(lo, hi).astype(dtype or (np.int8 if narrow else np.int16))


def pointwise(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1x1 convolution: ``acc[y, x, o] = sum over i of weights[o, i] * x[y, x, i]``.

    Parameters
    ----------
    x:
        int8 ``[H, W, I]``.
    weights:
        int8 ``[O, I]``.

    Returns
    -------
    int32 ``[H, W, O]`` (int64 if the worst case needs it).
    """
    x = _integers("x", x, INT8, ndim=3)
    weights = _integers("weights", weights, INT8, ndim=2)
    _require(
        weights.shape[1] == x.shape[2],
        f"weights {list(weights.shape)} on {x.shape[2]} channels: expected [O, {x.shape[2]}]",
    )
    height, width, channels = x.shape
    acc = _product(x.reshape(height * width, channels), weights)
    return acc.reshape(height, width, weights.shape[0])


def depthwise(
    x: np.ndarray, weights: np.ndarray, dilation: int | np.ndarray = 1, stride: int = 1, zero_point: int = 0
) -> np.ndarray:
    """Depthwise 3x3: ``acc[y, x, c] = sum over i, j of w[c, i, j] * x[y*stride + i*d, x*stride + j*d, c]``, -1 <= i, j
    <= 1.

    Parameters
    ----------
    x:
        int8 ``[H, W, C]``; outside, it reads as ``zero_point``.
    weights:
        int8 ``[C, 3, 3]``.
    dilation:
        ``d`` of all pixels, or of each output pixel: integers ``[ceil(H/stride), ceil(W/stride)]``; 0 to 7.

    Returns
    -------
    int32 ``[ceil(H/stride), ceil(W/stride), C]``.
    """
    x = _integers("x", x, INT8, ndim=3)
    weights = _integers("weights", weights, INT8, ndim=3)
    _require(weights.shape == (x.shape[2], 3, 3), f"weights {list(weights.shape)}: expected [{x.shape[2]}, 3, 3]")
    _check_zero_point(zero_point)
    # int16 products are twice as fast; 128 * sum |w| <= 9216 for 4-bit weights.
    bound = 128 * int(np.abs(weights.astype(np.int32)).sum(axis=(1, 2)).max(initial=0))
    kind = np.int16 if bound < 2**15 else np.int32
    height, width = output_size(x, stride)
    acc = np.zeros((height, width, x.shape[2]), kind)
    product = np.empty_like(acc)
    for n, tap in enumerate(_taps(x.astype(kind, copy=False), dilation, stride, zero_point)):
        acc += np.multiply(tap, weights[:, n // 3, n % 3].astype(kind), out=product)
    return acc.astype(np.int32, copy=False)


def convolution(x: np.ndarray, weights: np.ndarray, stride: int = 1, zero_point: int = 0) -> np.ndarray:
    """Full convolution, kernel 1 or 3, padding ``kernel // 2`` with ``zero_point``.

    Parameters
    ----------
    x:
        int8 ``[H, W, I]``.
    weights:
        int8 ``[O, K, K, I]``.

    Returns
    -------
    int32 ``[ceil(H/stride), ceil(W/stride), O]`` (int64 if the worst case needs it).
    """
    x = _integers("x", x, INT8, ndim=3)
    weights = _integers("weights", weights, INT8, ndim=4)
    outputs, rows, columns, channels = weights.shape
    _require(rows == columns and rows in (1, 3), f"weights {list(weights.shape)}: expected a kernel of 1x1 or 3x3")
    _require(channels == x.shape[2], f"weights {list(weights.shape)} on {x.shape[2]} channels")
    _check_zero_point(zero_point)
    height, width = output_size(x, stride)
    if rows == 1:
        return pointwise(x[::stride, ::stride], weights.reshape(outputs, channels))
    taps = window(x.astype(np.int8, copy=False), 1, stride, zero_point)
    return pointwise(taps.reshape(height, width, 9 * channels), weights.reshape(outputs, 9 * channels))


def maximum(x: np.ndarray, stride: int = 1, zero_point: int = -128) -> np.ndarray:
    """Maximum of the 3x3 window; outside, ``x`` reads as ``zero_point``.

    Parameters
    ----------
    x:
        int8 ``[H, W, C]``.

    Returns
    -------
    int8 ``[ceil(H/stride), ceil(W/stride), C]``.
    """
    x = _integers("x", x, INT8, ndim=3)
    taps = list(_taps(x.astype(np.int8, copy=False), 1, stride, zero_point))
    y = taps[0].copy()
    for tap in taps[1:]:
        np.maximum(y, tap, out=y)
    return y


def upsample(x: np.ndarray) -> np.ndarray:
    """Nearest neighbour by 2: ``[H, W, C]`` to ``[2H, 2W, C]`` of the same dtype, ``y[i, j] = x[i // 2, j // 2]``."""
    x = _shaped("x", np.asarray(x), 3)
    return x.repeat(2, axis=0).repeat(2, axis=1)


def window(x: np.ndarray, dilation: int | np.ndarray = 1, stride: int = 1, zero_point: int = 0) -> np.ndarray:
    """The nine samples of each output pixel: tap ``3 * (i + 1) + (j + 1)`` is ``x[y*stride + i*d, x*stride + j*d]``.

    Parameters
    ----------
    x:
        int8 or int16 ``[H, W, C]``; outside, it reads as ``zero_point``, which must fit its dtype.
    dilation:
        As of :func:`depthwise`.

    Returns
    -------
    ``[ceil(H/stride), ceil(W/stride), 9, C]`` of the dtype of ``x``.
    """
    x = _shaped("x", np.asarray(x), 3)
    _require(x.dtype in (np.int8, np.int16), f"x is {x.dtype}: expected int8 or int16")
    return np.stack(list(_taps(x, dilation, stride, zero_point)), axis=2)


def peaks(heatmap: np.ndarray, threshold: int) -> np.ndarray:
    """Local maxima: values not below their eight neighbours inside the image (in the same channel), nor ``threshold``.

    Parameters
    ----------
    heatmap:
        int16 ``[H, W, C]`` (int8 is accepted).

    Returns
    -------
    Records of :data:`codenet.isa.PEAK_DTYPE` ``[N]`` in the order (y, x, channel).
    """
    heatmap = _integers("heatmap", heatmap, INT16, ndim=3)
    # Below the smallest int16, padding never wins.
    wide = heatmap.astype(np.int32)
    best = wide.copy()
    for tap in _taps(wide, 1, 1, INT16[0] - 1):
        np.maximum(best, tap, out=best)
    y, x, channel = np.nonzero((wide == best) & (wide >= threshold))
    records = np.empty(len(y), PEAK_DTYPE)
    records["x"], records["y"], records["channel"], records["value"] = x, y, channel, wide[y, x, channel]
    return records


def output_size(x: np.ndarray, stride: int) -> tuple[int, int]:
    """Height and width after ``stride``: halves, quarters, rounded up."""
    _require(stride in (1, 2, 4), f"stride = {stride}: expected 1, 2 or 4")
    return -(-x.shape[0] // stride), -(-x.shape[1] // stride)


def _taps(x: np.ndarray, dilation: int | np.ndarray, stride: int, zero_point: int) -> Iterator[np.ndarray]:
    """Nine arrays ``[H', W', C]``, row-major, of the dtype of ``x`` (views where the dilation is one number)."""
    height, width = output_size(x, stride)
    d = _integers("dilation", dilation, (0, MAX_DILATION))
    _require(
        d.ndim == 0 or d.shape == (height, width),
        f"dilation {list(d.shape)}: expected one, or [{height}, {width}] of them",
    )
    limits = np.iinfo(x.dtype)
    _require(limits.min <= zero_point <= limits.max, f"zero_point = {zero_point}: expected within {x.dtype}")
    margin = int(d.max(initial=0))
    padded = np.pad(x, ((margin, margin), (margin, margin), (0, 0)), constant_values=zero_point)
    if d.ndim == 0:
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                top, left = margin + i * margin, margin + j * margin
                yield padded[top : top + x.shape[0] : stride, left : left + x.shape[1] : stride]
        return
    pitch = padded.shape[1]
    flat = padded.reshape(-1, x.shape[2])
    d = d.astype(np.intp)
    centre = (margin + stride * np.arange(height)[:, None]) * pitch + margin + stride * np.arange(width)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            yield flat.take(centre + d * (i * pitch + j), axis=0)


def _product(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``x @ weights.T``, exact: ``[N, I]`` int8 times ``[O, I]`` int8."""
    # No partial sum, in whatever order BLAS adds, exceeds 128 * sum |w|.
    bound = 128 * int(np.abs(weights.astype(np.int64)).sum(axis=1).max(initial=0))
    _require(bound < FLOAT64_EXACT, f"weights of {weights.shape[1]} inputs: expected accumulators within 53 bits")
    kind = np.float32 if bound < FLOAT32_EXACT else np.float64
    acc: np.ndarray = x.astype(kind) @ weights.T.astype(kind)
    return acc.astype(np.int32 if bound < 2**31 else np.int64)


def _integers(name: str, value: np.ndarray | int, limits: tuple[int, int], ndim: int | None = None) -> np.ndarray:
    array = np.asarray(value)
    if ndim is not None:
        _shaped(name, array, ndim)
    _require(array.dtype.kind in "iu", f"{name} is {array.dtype}: expected integers")
    within = np.iinfo(array.dtype).min >= limits[0] and np.iinfo(array.dtype).max <= limits[1]
    if array.size and not within:
        low, high = int(array.min()), int(array.max())
        _require(
            limits[0] <= low and high <= limits[1], f"{name} in [{low}, {high}]: expected [{limits[0]}, {limits[1]}]"
        )
    return array


def _shaped(name: str, array: np.ndarray, ndim: int) -> np.ndarray:
    _require(array.ndim == ndim, f"{name} has shape {list(array.shape)}: expected {ndim} dimensions")
    _require(0 not in array.shape, f"{name} has shape {list(array.shape)}: expected no empty dimension")
    return array


def _check_zero_point(zero_point: int) -> None:
    _require(INT8[0] <= zero_point <= INT8[1], f"zero_point = {zero_point}: expected within {INT8}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)
