# SPDX-License-Identifier: Apache-2.0
"""From real-valued scales to the accelerator's integers, one graph operation at a time (docs/numbers.md)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from brevitas.nn import QuantConv2d
from torch import nn

from codenet.errors import CodenetError
from codenet.graph import (
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    Concat,
    Convolution,
    Depthwise,
    Input,
    MaxPool,
    Operation,
    Requantize,
    Shuffle,
    Slice,
    Upsample,
)

#: The largest multiplier of an operation lies in [2**14, 2**15).
MULTIPLIER_BITS = 15

#: Shifts that the requantizer supports, at least 1 so that half of the last place exists.
SHIFTS = (1, 47)

#: Requantizer biases are 48 bits wide.
BIAS_LIMIT = 1 << 47

#: The largest shift of a dilation: weights that have hardly been trained are so small that biases and thresholds would
#: not fit the largest one.
DILATION_SHIFT = 40


@dataclass(frozen=True)
class Grid:
    """What an integer tensor stands for: ``scale * (q - zero_point)``, and the range that its producer clamps to."""

    scale: float
    zero_point: int
    lo: int
    hi: int


def whole_grid(lo: int, hi: int) -> Grid:
    """A tensor whose integers are their own values: for dilations, which the clamp bounds."""
    return Grid(1.0, 0, lo, hi)


def choose_shift(largest: float) -> int:
    """The shift ``s`` for which ``largest * 2**s`` rounds into [2**14, 2**15), within `SHIFTS`.

    ``largest`` is the operation's largest ratio of input scale times weight scale over output scale. `CodenetError` if
    it is too large for the smallest shift.
    """
    if not (math.isfinite(largest) and largest > 0):
        raise CodenetError(f"export: scale ratio is {largest}, expected a finite positive number")
    s = MULTIPLIER_BITS - 1 - math.floor(math.log2(largest))
    while round(largest * 2.0**s) >= 1 << MULTIPLIER_BITS:
        s -= 1
    if s < SHIFTS[0]:
        raise CodenetError(f"export: scale ratio is {largest}, expected less than {2 ** (MULTIPLIER_BITS - SHIFTS[0])}")
    return min(s, SHIFTS[1])


def snap_multipliers(ratios: np.ndarray, s: int) -> np.ndarray:
    """Integer multipliers, int64 ``[C]`` of at least 1, nearest to ``ratios * 2**s``."""
    return np.maximum(1, np.rint(ratios * 2.0**s)).astype(np.int64)


def weight_scale(conv: QuantConv2d) -> np.ndarray:
    """Per-channel weight scale, float64 ``[O]``."""
    return conv.quant_weight().scale.detach().double().reshape(-1).numpy()


def integer_weight(conv: QuantConv2d) -> np.ndarray:
    """Integer weights, int64 ``[O, I, K, K]``."""
    quantized = conv.quant_weight()
    integers: np.ndarray = torch.round(quantized.value / quantized.scale).detach().long().numpy()
    return integers


def _limit(conv: QuantConv2d) -> int:
    return int(2 ** (int(conv.weight_quant.bit_width()) - 1) - 1)


def snap(conv: QuantConv2d, source: Grid, target: Grid, s: int) -> Requantize:
    """Move a convolution's scales and bias to values that the requantizer has, and return these.

    With the ratio ``M = source.scale * weight scale / target.scale`` per channel, ``m = round(M * 2**s)``; the weight
    scale becomes ``m * target.scale / (source.scale * 2**s)`` and the integer weights stay. The bias becomes
    ``(n + 1/2) * target.scale / 2**s`` with an integer ``n``: so no value lies half way between two results, and
    rounding half to even (PyTorch) and rounding half up (the accelerator) agree.

    ``conv`` must be in float64. `CodenetError` when ``b`` exceeds 48 bits.
    """
    weight = integer_weight(conv)
    m = snap_multipliers(source.scale * weight_scale(conv) / target.scale, s)
    step = target.scale / 2.0**s
    n = np.floor(conv.bias.detach().numpy() / step)
    if not np.abs(n).max() < BIAS_LIMIT:
        raise CodenetError(f"export: requantizer bias is {np.abs(n).max():.0f}, expected less than 2**47")
    scale = torch.from_numpy(m * step / source.scale).view(-1, 1, 1, 1)
    with torch.no_grad():
        conv.weight_quant.tensor_quant.scaling_impl.value.copy_(torch.log2(scale * _limit(conv)))
        conv.weight.copy_(torch.from_numpy(weight) * scale)
        conv.bias.copy_(torch.from_numpy((n + 0.5) * step))
    # Padding reads as the zero point, so its part of the sum is the same for every pixel.
    correction = source.zero_point * weight.sum(axis=(1, 2, 3)) * m
    b = n.astype(np.int64) + (1 << (s - 1)) + (target.zero_point << s) - correction
    if np.abs(b).max() >= BIAS_LIMIT:
        raise CodenetError(f"export: requantizer bias is {np.abs(b).max()}, expected less than 2**47")
    return Requantize(m.astype(np.int16), b, s, target.lo, target.hi)


class GraphBuilder:
    """Collects graph operations while a network describes itself; operations are named like the network's modules.

    Each method adds operations for a module and returns the name of their result. ``grids`` has every tensor's meaning.
    """

    def __init__(self, network: nn.Module, input_size: tuple[int, int], fit: str) -> None:
        self.names = {module: name for name, module in network.named_modules()}
        height, width = input_size
        self.operations: list[Operation] = [Input(name="image", height=height, width=width, fit=fit)]
        self.grids: dict[str, Grid] = {"image": Grid(INPUT_SCALE, INPUT_ZERO_POINT, -128, 127)}

    def _add(self, operation: Operation, grid: Grid) -> str:
        self.operations.append(operation)
        self.grids[operation.name] = grid
        return operation.name

    def _unchanged(self, operation: Operation) -> str:
        """Add an operation that only moves or selects values."""
        return self._add(operation, self.grids[operation.inputs[0]])

    def shift(self, conv: QuantConv2d, x: str, target: Grid) -> int:
        """The shift for a convolution of tensor ``x``."""
        return choose_shift(float((self.grids[x].scale * weight_scale(conv) / target.scale).max()))

    def integers(
        self, name: str, conv: QuantConv2d, x: str, target: Grid, shift: int
    ) -> tuple[np.ndarray, int, Requantize]:
        """Weights of the convolution ``name`` of tensor ``x``, int8 ``[O, I, K, K]``, their bits, and the rest of it,
        snapped.
        """
        try:
            requantize = snap(conv, self.grids[x], target, shift)
        except CodenetError as error:
            raise CodenetError(f"{name}: {error}") from error
        return integer_weight(conv).astype(np.int8), int(conv.weight_quant.bit_width()), requantize

    def convolution(self, name: str, conv: QuantConv2d, x: str, target: Grid, shift: int | None = None) -> str:
        """A full or a depthwise convolution, snapped; ``shift`` overrides the one for the largest ratio."""
        return self._convolution(name, conv, (x,), target, shift)

    def dilation(self, name: str, conv: QuantConv2d, x: str, dilations: tuple[int, ...]) -> str:
        """The dilation of each pixel from the 1x1 convolution ``conv`` with one output, rounded to the sorted
        ``dilations``.

        Neighbouring integers are rounding and clamp. For a set with gaps the convolution computes a code first,
        ``name.code``: one channel for each but the smallest dilation, 1 where the value reaches the threshold below it.
        They differ in ``b`` alone. A second convolution sums the gaps, which is `models.network.deform.round_dilation`,
        exactly.
        """
        gaps = np.diff(dilations)
        target = whole_grid(dilations[0], dilations[-1])
        shift = min(self.shift(conv, x, target), DILATION_SHIFT)
        if (gaps == 1).all():
            return self.convolution(name, conv, x, target, shift)
        code = self._code(f"{name}.code", conv, x, np.array(dilations[1:]) - gaps / 2, shift)
        # Times one, plus the smallest dilation: no rounding. The shift leaves the half of the last place that all
        # operations have.
        s, ones = 1, np.ones(1, np.int16)
        requantize = Requantize(2 * ones, np.array([2 * dilations[0] + 1], np.int64), s, dilations[0], dilations[-1])
        weights = gaps.astype(np.int8).reshape(1, 1, 1, -1)
        return self._add(
            Convolution(name=name, inputs=(code,), weights=weights, requantize=requantize, scale=1.0, zero_point=0),
            target,
        )

    def _code(self, name: str, conv: QuantConv2d, x: str, thresholds: np.ndarray, shift: int) -> str:
        """One channel for each of ``thresholds`` (multiples of a half): whether the convolution's value reaches it, 1
        or 0.
        """
        single = self._convolution(name, conv, (x,), whole_grid(0, 1), shift)
        operation = self.operations.pop()
        assert isinstance(operation, Convolution) and operation.name == single
        r, count = operation.requantize, len(thresholds)
        # Rounding would add 2**(s-1) where a comparison adds 2**s and takes the threshold away, which is a whole number
        # of steps as s >= 1.
        b = r.b + (1 << (r.s - 1)) - (thresholds * 2.0**r.s).astype(np.int64)
        return self._add(
            dataclasses.replace(
                operation,
                weights=operation.weights.repeat(count, axis=0),
                requantize=dataclasses.replace(r, m=r.m.repeat(count), b=b),
            ),
            whole_grid(0, 1),
        )

    def deform(self, name: str, conv: QuantConv2d, x: str, dilation: str, target: Grid) -> str:
        """A depthwise convolution of ``x`` with the dilations of another tensor."""
        return self._convolution(name, conv, (x, dilation), target, None)

    def _convolution(
        self, name: str, conv: QuantConv2d, inputs: tuple[str, ...], target: Grid, shift: int | None
    ) -> str:
        s = self.shift(conv, inputs[0], target) if shift is None else shift
        weights, bits, requantize = self.integers(name, conv, inputs[0], target, s)
        scale, zero_point, stride = target.scale, target.zero_point, conv.stride[0]
        if conv.groups > 1:
            if bits != 4:
                raise CodenetError(
                    f"{name}: depthwise weights have {bits} bits, the accelerator's filter takes 4; "
                    f"such a network runs in PyTorch only (fine-tune with --depthwise 4)"
                )
            return self._add(
                Depthwise(
                    name=name,
                    inputs=inputs,
                    weights=np.ascontiguousarray(weights[:, 0]),
                    stride=stride,
                    requantize=requantize,
                    scale=scale,
                    zero_point=zero_point,
                ),
                target,
            )
        return self._add(
            Convolution(
                name=name,
                inputs=inputs,
                weights=np.ascontiguousarray(weights.transpose(0, 2, 3, 1)),
                weight_bits=bits,
                stride=stride,
                requantize=requantize,
                scale=scale,
                zero_point=zero_point,
                wide=target.hi > 127,
            ),
            target,
        )

    def max_pool(self, name: str, x: str) -> str:
        """Maximum of 3x3 pixels, stride 2."""
        return self._unchanged(MaxPool(name=name, inputs=(x,), stride=2))

    def upsample(self, name: str, x: str) -> str:
        """Twice as large by repetition."""
        return self._unchanged(Upsample(name=name, inputs=(x,)))

    def slice(self, name: str, x: str, start: int, stop: int) -> str:
        """Channels ``start`` to ``stop``."""
        return self._unchanged(Slice(name=name, inputs=(x,), start=start, stop=stop))

    def concat(self, name: str, inputs: tuple[str, ...]) -> str:
        """Channels one after the other."""
        return self._unchanged(Concat(name=name, inputs=inputs))

    def shuffle(self, name: str, x: str) -> str:
        """Channels of two groups in turn."""
        return self._unchanged(Shuffle(name=name, inputs=(x,), groups=2))
