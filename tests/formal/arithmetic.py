# SPDX-License-Identifier: Apache-2.0
"""The requantizers are their formula."""

from amaranth import Mux, Signal, signed

from hw.arithmetic.requantize import SUM_WIDTH, Requantizer
from hw.depthwise import filter
from hw.lib import delay
from hw.pointwise import drain
from tests.formal.bench import Bench
from tests.formal.prove import Mutant, Proof

MODULE = "hw.arithmetic.requantize"


def requantizer(bench: Bench) -> None:
    """Properties of any."""
    m, unit = bench.m, bench.component
    bench.assume((unit.lo <= unit.hi) & (unit.s < SUM_WIDTH))
    started = Signal()
    m.d.sync += started.eq(1)
    for value in (unit.s, unit.lo, unit.hi):
        bench.assume(~started | (value == bench.past(value)))
    exact = Signal(signed(SUM_WIDTH + 1))
    m.d.comb += exact.eq(unit.i_acc * unit.i_m + unit.i_b)
    bench.assume(exact[-1] == exact[-2])
    total = delay(m, exact[:SUM_WIDTH].as_signed(), unit.latency, "total")
    filled = delay(m, started, unit.latency, "filled", reset=True)
    shifted = total >> unit.s
    expected = Mux(shifted < unit.lo, unit.lo, Mux(shifted > unit.hi, unit.hi, shifted))
    bench.ensure(~filled | (unit.o == expected))
    bench.cover(filled & (unit.o == unit.hi) & (shifted > unit.hi) & (unit.s == 20))
    bench.cover(filled & (unit.o == -3) & (unit.s == 47))
    bench.cover(filled & (unit.o == 2) & (unit.hi == 77) & (unit.s == 17) & (total == 0x5FFFF))


def _instance(name: str, acc_width: int, output_width: int) -> Proof:
    return Proof(
        name=name,
        claim="the result is clamp((acc * m + b) >> s, lo, hi), eight cycles later, every cycle",
        assumptions=f"acc of {acc_width} bits, results of {output_width}, as they are in the accelerator; m of 16, b "
        "of 48, s of 0 to 47, lo <= hi; s, lo and hi not changed while results are in flight; a sum within 48 "
        "bits. A pipeline without memory: what holds for the first results holds for all",
        component=lambda: Requantizer(acc_width, output_width),
        properties=requantizer,
        depth=Requantizer.LATENCY + 2,
        bounded=True,
        cover=Requantizer.LATENCY + 4,
        depth_of_mutants=Requantizer.LATENCY + 2,
        mutants=(
            Mutant(MODULE, "lost.any() & ~lost.all()", "lost.any()"),
            Mutant(MODULE, "over | (lost", "(lost"),
            Mutant(MODULE, "(1 << low) - 1", "(1 << low) - 2"),
            Mutant(MODULE, "saturated < self.lo", "saturated <= self.hi"),
        ),
    )


depthwise_requantizer = _instance("requantizer of depthwise", filter.ACC_WIDTH, 8)
pointwise_requantizer = _instance("requantizer of pointwise", drain.ACC_WIDTH, 16)
