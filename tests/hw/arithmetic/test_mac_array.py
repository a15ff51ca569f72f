# SPDX-License-Identifier: Apache-2.0
"""Array, in slices, in LUTs and in both, against NumPy: signed and unsigned nibbles, a vector a cycle."""

import itertools
from collections.abc import Iterator

import cocotb
import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from hw.arithmetic.lut_sums import LookupSums
from hw.arithmetic.mac_array import SUM_WIDTH, Array, skew, slice_outputs
from hw.chips import XC7Z020
from hw.lib import delay
from sim import testbench as bench

CONFIG = AcceleratorConfig.small()


@pytest.mark.parametrize("slices", [0, 2 * LANES, 8 * CONFIG.outputs], ids=["lookup", "both", "slices"])
def test_array(slices):
    bench.run(SkewedArray(CONFIG, slices), __file__)


class SkewedArray(wiring.Component):
    """The array with weights that come with their vector."""

    def __init__(self, config: AcceleratorConfig, slices: int) -> None:
        self.array = Array(config, slices)
        members = self.array.signature.members
        super().__init__(
            {name: In(members[name].shape) for name in ("i_vector", "i_weights", "i_unsigned")}
            | {"o_sums": Out(members["o_sums"].shape)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.array = array = self.array
        m.d.comb += [
            array.i_vector.eq(self.i_vector),
            array.i_unsigned.eq(self.i_unsigned),
            self.o_sums.eq(array.o_sums),
        ]
        for output, nibbles in enumerate(self.i_weights):
            for lane, nibble in enumerate(nibbles):
                m.d.comb += array.i_weights[output][lane].eq(delay(m, nibble, skew(lane), f"skewed_{output}_{lane}"))
        return m


@pytest.mark.parametrize("slices, outputs", [(0, 0), (15, 0), (16, 2), (64, 8), (1000, 8)])
def test_slices(slices, outputs):
    """Sixteen slices serve two outputs; no part of that is any use."""
    assert slice_outputs(CONFIG.outputs, slices) == outputs


def test_default():
    """11 of 16 outputs, in 22 cascades."""
    assert slice_outputs(AcceleratorConfig().outputs, XC7Z020.array_slices) == 22


def test_one_latency_wherever_products_are_computed():
    """What follows does not know which outputs are in slices."""
    arrays = [Array(CONFIG, slices) for slices in (0, 2 * LANES, 8 * CONFIG.outputs)]
    assert len({array.latency for array in arrays}) == 1
    assert all(LookupSums(1).latency <= array.latency for array in arrays)


Operands = tuple[np.ndarray, np.ndarray, bool]
"""Vector int8 ``[16]``, weights ``[O, 16]``, and whether these are unsigned."""


def corners() -> Iterator[Operands]:
    """Extremes and their mixtures along lanes and along outputs: neighbours of either share a multiplier or an
    adder.
    """
    lanes, outputs = np.arange(LANES), np.arange(CONFIG.outputs)[:, None]
    for unsigned, (low, high) in ((False, (-8, 7)), (True, (0, 15))):
        for a, b in itertools.product((-128, 127, 0, -1), repeat=2):
            vector = np.where(lanes % 2, a, b).astype(np.int8)
            for even, odd in itertools.product((low, high), repeat=2):
                yield vector, np.where(outputs % 2, even, odd) + 0 * lanes, unsigned
                yield vector, np.where(lanes % 2, even, odd) + 0 * outputs, unsigned
        for lane in range(LANES):
            # One product alone.
            yield (
                np.where(lanes == lane, -128, 0).astype(np.int8),
                low + (high - low) * (outputs % 2) + 0 * lanes,
                unsigned,
            )
            yield np.full(LANES, -128, np.int8), np.where(lanes == lane, low or high, 0) + 0 * outputs, unsigned


def random_operands(rng: np.random.Generator) -> Operands:
    unsigned = bool(rng.integers(2))
    low, high = (0, 15) if unsigned else (-8, 7)
    vector = rng.integers(-128, 128, LANES, dtype=np.int8)
    return vector, rng.integers(low, high + 1, (CONFIG.outputs, LANES)), unsigned


@cocotb.test()
async def check_products(dut):
    """A vector a cycle, signed and unsigned ones in any order; all at the array's latency."""
    latency = Array(CONFIG).latency
    rng = np.random.default_rng(1)
    await bench.reset(dut, i_vector=0, i_weights=0, i_unsigned=0)
    extremes = list(corners())
    cases = [
        *extremes,
        *(random_operands(rng) for _ in range(1500)),
        *(extremes[n] for n in rng.permutation(len(extremes))),
    ]
    results = []
    for vector, weights, unsigned in cases + [cases[0]] * latency:
        nibbles = (weights & 15).reshape(-1, 2)
        dut.i_vector.value = bench.to_int(vector)
        dut.i_weights.value = bench.to_int((nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8))
        dut.i_unsigned.value = int(unsigned)
        results.append(bench.from_int(int(dut.o_sums.value), np.int16, CONFIG.outputs))
        await bench.cycles(dut)
    assert SUM_WIDTH == 16
    for n, ((vector, weights, unsigned), sums) in enumerate(zip(cases, results[latency:], strict=True)):
        expected = weights @ vector.astype(np.int64)
        assert (sums == expected).all(), f"case {n} unsigned {unsigned}: {sums}, expected {expected}"
