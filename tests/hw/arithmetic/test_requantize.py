# SPDX-License-Identifier: Apache-2.0
"""Requantizer against ``codenet.golden.requantize``."""

import random

import cocotb
import numpy as np
import pytest

from codenet.golden import operators as golden
from hw.arithmetic import CLAMPED, SHIFTED, Requantizer
from sim import testbench as bench

WIDTHS = [(16, 8), (24, 16)]


@pytest.mark.parametrize("acc_width, output_width", WIDTHS)
def test_requantizer(acc_width, output_width):
    bench.run(Requantizer(acc_width, output_width), __file__, acc_width=acc_width, output_width=output_width)


def operands(rng: random.Random, acc_width: int) -> tuple[int, int, int]:
    """Random, with the corners often; within 48 bits for every sum."""
    acc_low, acc_high = -(1 << (acc_width - 1)), (1 << (acc_width - 1)) - 1
    acc = rng.choice([acc_low, acc_high, 0, -1, 1, rng.randint(acc_low, acc_high), rng.randint(-2000, 2000)])
    m = rng.choice([-(2**15), 2**15 - 1, 0, 1, -1, rng.randint(-(2**15), 2**15 - 1)])
    room = 2**47 - 1 - abs(acc * m)
    b = rng.choice([0, 1, -1, room, -room, rng.randint(-room, room), rng.randint(-(2**20), 2**20)])
    return acc, m, b


@cocotb.test()
async def check_all_shifts(dut):
    acc_width, output_width = bench.parameter("acc_width"), bench.parameter("output_width")
    latency = Requantizer(acc_width, output_width).latency
    low, high = -(1 << (output_width - 1)), (1 << (output_width - 1)) - 1
    rng = random.Random(acc_width)
    await bench.reset(dut)
    for s in range(48):
        lo, hi = sorted(rng.choice([low, high, 0, rng.randint(low, high)]) for _ in range(2))
        dut.s.value, dut.lo.value, dut.hi.value = s, lo, hi
        cases = [operands(rng, acc_width) for _ in range(60)]
        results = []
        for acc, m, b in cases + [(0, 0, 0)] * latency:
            dut.i_acc.value, dut.i_m.value, dut.i_b.value = acc, m, b
            results.append(dut.o.value.to_signed())
            await bench.cycles(dut)
        for (acc, m, b), result in zip(cases, results[latency:], strict=True):
            expected = int(golden.requantize(np.array([acc]), m, b, s, lo, hi)[0])
            assert result == expected, f"({acc} * {m} + {b}) >> {s} in [{lo}, {hi}]: {result}, expected {expected}"


@cocotb.test()
async def check_settings_follow_the_operands(dut):
    """Another shift and other limits in every cycle, each bit of them at its stage."""
    acc_width, output_width = bench.parameter("acc_width"), bench.parameter("output_width")
    latency = Requantizer(acc_width, output_width).latency
    low, high = -(1 << (output_width - 1)), (1 << (output_width - 1)) - 1
    rng = random.Random(acc_width)
    await bench.reset(dut)
    cases = []
    for _ in range(300):
        limits = sorted(rng.choice([low, high, 0, rng.randint(low, high)]) for _ in range(2))
        cases.append((*operands(rng, acc_width), rng.randint(0, 47), *limits))
    results = []
    for cycle in range(len(cases) + latency):
        if cycle < len(cases):
            dut.i_acc.value, dut.i_m.value, dut.i_b.value = cases[cycle][:3]
        s = 0
        for bit, late in SHIFTED.items():
            if 0 <= cycle - late < len(cases):
                s |= cases[cycle - late][3] & (3 << bit)
        dut.s.value = s
        if 0 <= cycle - CLAMPED < len(cases):
            dut.lo.value, dut.hi.value = cases[cycle - CLAMPED][4:]
        results.append(dut.o.value.to_signed())
        await bench.cycles(dut)
    for (acc, m, b, s, lo, hi), result in zip(cases, results[latency:], strict=True):
        expected = int(golden.requantize(np.array([acc]), m, b, s, lo, hi)[0])
        assert result == expected, f"({acc} * {m} + {b}) >> {s} in [{lo}, {hi}]: {result}, expected {expected}"
