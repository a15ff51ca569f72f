"""Sum of nine products against NumPy: random operands, the extremes, a result a cycle."""

import cocotb
import numpy as np

from hw.arithmetic import TAPS, TapSums
from sim import testbench as bench


def test_tap_sums():
    bench.run(TapSums(), __file__)


def operands(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples and weights; the first ones are the extremes."""
    samples, weights = rng.integers(-128, 128, TAPS), rng.integers(-8, 8, TAPS)
    if n < 8:
        samples[:] = (-128, 127)[n % 2]
        weights[:] = (-8, 7)[n // 2 % 2]
        weights[:: 1 + n // 4] = 7
    return samples, weights


@cocotb.test()
async def check_sums(dut):
    rng = np.random.default_rng(1)
    cases = [operands(rng, n) for n in range(300)]
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
