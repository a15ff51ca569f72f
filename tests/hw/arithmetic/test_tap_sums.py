# SPDX-License-Identifier: Apache-2.0
"""Sum of nine products against NumPy: random operands, the extremes, a result a cycle."""

import itertools
from collections.abc import Iterator

import cocotb
import numpy as np

from hw.arithmetic import TAPS, TapSums
from sim import testbench as bench


def test_tap_sums():
    assert TAPS == 3 * 3
    bench.run(TapSums(), __file__)


def corners() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Extremes and their mixtures: neighbours share an adder."""
    taps = np.arange(TAPS)
    for (a, b), (v, w) in itertools.product(
        itertools.product((-128, 127, 0, -1), repeat=2), itertools.product((-8, 7), repeat=2)
    ):
        yield np.where(taps % 2, a, b), np.where(taps % 2, v, w)
        yield np.where(taps < 4, a, b), np.where(taps < 4, v, w)
    for tap in range(TAPS):
        yield np.where(taps == tap, -128, 0), np.full(TAPS, -8)
        yield np.full(TAPS, -128), np.where(taps == tap, -8, 0)


@cocotb.test()
async def check_sums(dut):
    rng = np.random.default_rng(1)
    cases = [*corners(), *((rng.integers(-128, 128, TAPS), rng.integers(-8, 8, TAPS)) for _ in range(2000))]
    await bench.reset(dut, i_samples=0, i_weights=0)
    results = []
    weights = np.zeros(TAPS, dtype=int)
    for samples, following in cases + [cases[0]] * TapSums.LATENCY:
        dut.i_samples.value = bench.to_int(samples.astype(np.int8))
        dut.i_weights.value = sum((int(w) & 15) << (4 * n) for n, w in enumerate(weights))
        # Weights come a cycle after their samples.
        weights = following
        results.append(dut.o_sum.value.to_signed())
        await bench.cycles(dut)
    for n, ((samples, weights), result) in enumerate(zip(cases, results[TapSums.LATENCY :], strict=True)):
        assert result == int(samples @ weights), f"case {n}: {samples} . {weights} = {result}"
