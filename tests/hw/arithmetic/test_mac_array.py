"""Array, in slices, in LUTs and in both, against ``codenet.golden.pointwise``: signed and unsigned nibbles, a vector a cycle."""

import cocotb
import numpy as np
import pytest

from codenet.config import LANES, AcceleratorConfig
from codenet.golden import operators as golden
from hw.arithmetic.mac_array import SUM_WIDTH, Array, slice_outputs
from hw.chips import XC7Z020
from sim import testbench as bench

CONFIG = AcceleratorConfig.small()


@pytest.mark.parametrize("slices", [0, 2 * LANES, 8 * CONFIG.outputs], ids=["lookup", "both", "slices"])
def test_array(slices):
    bench.run(Array(CONFIG, slices), __file__)


@pytest.mark.parametrize("slices, outputs", [(0, 0), (15, 0), (16, 2), (64, 8), (1000, 8)])
def test_slices(slices, outputs):
    """Sixteen slices serve two outputs; no part of that is any use."""
    assert slice_outputs(CONFIG.outputs, slices) == outputs


def test_default():
    """11 of 16 outputs, in 22 cascades."""
    assert slice_outputs(AcceleratorConfig().outputs, XC7Z020.array_slices) == 22


def operands(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Vector ``[16]``, weights ``[O, 16]``, and whether these are unsigned. The first ones are the extremes."""
    unsigned = bool(n % 2)
    low, high = (0, 15) if unsigned else (-8, 7)
    vector = rng.integers(-128, 128, LANES, dtype=np.int8)
    weights = rng.integers(low, high + 1, (CONFIG.outputs, LANES), dtype=np.int8)
    if n < 16:
        vector[:] = (-128, 127)[n // 2 % 2]
        # Neighbours share a multiplier: all four combinations of their extremes.
        weights[0::2], weights[1::2] = (low, high)[n // 4 % 2], (low, high)[n // 8 % 2]
    return vector, weights, unsigned


@cocotb.test()
async def check_products(dut):
    latency = Array(CONFIG).latency
    rng = np.random.default_rng(1)
    await bench.reset(dut, i_vector=0, i_weights=0, i_unsigned=0)
    cases = [operands(rng, n) for n in range(200)]
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
        expected = golden.pointwise(vector[None, None], weights)[0, 0]
        assert (sums == expected).all(), f"case {n} unsigned {unsigned}: {sums}, expected {expected}"
