# SPDX-License-Identifier: Apache-2.0
"""Proof that no sum of the network leaves the hardware's registers, whatever the photo, from the actual weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from codenet.compiler.ir import Node
from codenet.compiler.refuse import refuse
from codenet.graph import Convolution, Depthwise, Tensor
from codenet.isa import ACCUMULATOR_BITS, PRODUCT_BITS

LARGEST_INPUT = 128
"""Magnitude of an int8 activation."""


def accumulator_bound(weights: np.ndarray, wide: bool) -> np.ndarray:
    """Largest magnitude ``[O]`` of any partial sum, in any order, over all int8 inputs; ``weights`` ``[O, ...]``.

    An 8-bit weight is summed as ``16 * high + low``, whose parts may be of opposite sign.
    """
    w = weights.reshape(len(weights), -1).astype(np.int64)
    magnitude = 16 * np.abs(w >> 4) + (w & 15) if wide else np.abs(w)
    bound: np.ndarray = LARGEST_INPUT * magnitude.sum(axis=1)
    return bound


def prove(nodes: Iterable[Node], tensors: dict[str, Tensor]) -> None:
    """Check every convolution of ``nodes``.

    Raises
    ------
    CompileError
        Names the convolution, the output channel, its worst case and the limit.
    """
    for node in nodes:
        for branch in node.branches:
            if branch.depthwise is not None:
                _prove(branch.depthwise, False, tensors)
            if branch.convolution is not None:
                _prove(branch.convolution, branch.convolution.weight_bits == 8, tensors)


def _prove(operation: Convolution | Depthwise, wide: bool, tensors: dict[str, Tensor]) -> None:
    bound = accumulator_bound(operation.weights, wide)
    worst = int(bound.argmax())
    limit = 2 ** (ACCUMULATOR_BITS - 1) - 1
    if bound[worst] > limit:
        reason = f"the accumulator of channel {worst} may reach {bound[worst]}: expected at most {limit}"
        raise refuse(operation, tensors, reason)
    r = operation.requantize
    product = bound * np.abs(r.m.astype(np.int64)) + np.abs(r.b.astype(np.int64))
    worst = int(product.argmax())
    limit = 2 ** (PRODUCT_BITS - 1) - 1
    if product[worst] > limit:
        reason = f"acc * m + b of channel {worst} may reach {product[worst]}: expected at most {limit}"
        raise refuse(operation, tensors, reason)
