# SPDX-License-Identifier: Apache-2.0
"""Window axis and row cursor: every position of taps against modular arithmetic."""

import random

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import MAX_DILATION
from hw.window.axis import WindowAxis
from hw.window.row_cursor import RowCursor
from sim import testbench as bench

ADDRESS_BITS = 10


@pytest.mark.parametrize("ring", [False, True], ids=["columns", "rows"])
def test_axis(ring):
    bench.run(WindowAxis(ADDRESS_BITS, ring), __file__, only="check_taps", ring=ring)


class Cursor(wiring.Component):
    """A row cursor with ports."""

    def __init__(self) -> None:
        inputs = {"restart": In(1), "advance": In(1), "last_row": In(12), "row_stride": In(12)}
        super().__init__(inputs | {"phase": Out(2), "base": Out(ADDRESS_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cursor = RowCursor("cursor", ADDRESS_BITS)
        with m.If(self.restart):
            m.d.sync += cursor.restart(self.last_row)
        with m.Elif(self.advance):
            m.d.sync += cursor.advance(self.last_row, self.row_stride)
        m.d.comb += [self.phase.eq(cursor.phase), self.base.eq(cursor.base)]
        return m


def test_cursor():
    bench.run(Cursor(), __file__, only="check_cursor")


def place(position: int, slots: int, unit: int) -> int:
    """Address of a position's group of three in a ring of ``slots`` positions, a multiple of 3."""
    return position % slots // 3 * unit


@cocotb.test()
async def check_taps(dut):
    """All dilations at the positions around both ends and around the end of the ring, one triple a cycle."""
    ring = bench.parameter("ring")
    rng = random.Random(1)
    names = ("position", "phase", "base", "d", "unit", "size", "limit")
    await bench.reset(dut, **dict.fromkeys(names, 0))
    for size in (1, 2, 3, 7, 16, 50, 300):
        # A ring holds what the largest dilation reaches, or the whole image.
        slots = 3 * -(-min(size, 2 * MAX_DILATION + 1 + rng.choice((0, 3, 6))) // 3) if ring else 3 * -(-size // 3)
        unit = rng.randint(1, (1 << ADDRESS_BITS) // (slots // 3))
        dut.unit.value, dut.size.value, dut.limit.value = unit, size, slots // 3 * unit
        await bench.cycles(dut, 2)
        positions = sorted({*range(min(size, 40)), *range(max(0, size - 20), size)})
        cases = [(position, d) for position in positions for d in range(MAX_DILATION + 1)]
        rng.shuffle(cases)
        results = []
        for position, d in cases + [(0, 0)] * WindowAxis.LATENCY:
            dut.position.value, dut.phase.value, dut.d.value = position, position % 3, d
            dut.base.value = place(position, slots, unit)
            results.append((int(dut.inside.value), int(dut.address.value)))
            await bench.cycles(dut)
        for (position, d), (inside, address) in zip(cases, results[WindowAxis.LATENCY :], strict=True):
            for tap, at in enumerate((position - d, position, position + d)):
                where = f"size {size} slots {slots} unit {unit} position {position} d {d} tap {tap}"
                assert inside >> tap & 1 == (0 <= at < size), where
                if 0 <= at < size:
                    assert address >> ADDRESS_BITS * tap & (1 << ADDRESS_BITS) - 1 == place(at, slots, unit), where


@cocotb.test()
async def check_cursor(dut):
    """Several times around rings of all sizes, with pauses; a restart in mid-ring begins anew."""
    rng = random.Random(2)
    await bench.reset(dut, restart=0, advance=0, last_row=2, row_stride=1)
    for slots in (3, 6, 9, 15, 24):
        stride = rng.randint(1, 100)
        dut.last_row.value, dut.row_stride.value = slots - 1, stride
        for rows in (slots // 2, 4 * slots):
            dut.restart.value = 1
            await bench.cycles(dut)
            dut.restart.value = 0
            for row in range(rows):
                found = int(dut.phase.value), int(dut.base.value)
                assert found == (row % 3, place(row, slots, stride)), f"slots {slots} row {row}"
                dut.advance.value = 1
                await bench.cycles(dut)
                dut.advance.value = 0
                await bench.cycles(dut, rng.choice((0, 0, 1)))
