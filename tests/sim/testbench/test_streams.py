# SPDX-License-Identifier: Apache-2.0
"""The bench's own Source and Sink: what they carry, and that they fail when a stream loses, repeats, reorders or
changes items.
"""

import random
from collections import deque
from collections.abc import Iterator

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import First, RisingEdge

from sim import testbench as bench

ITEMS = list(range(100, 116))
VICTIM = 5
"""Index of the item that a fault hits."""

FAULTS = {
    "none": None,
    "lost": "o: 15 of 16 items after 2000 cycles",
    "last lost": "o: 15 of 16 items after 2000 cycles",
    "repeated": "o: 17 items: expected 16",
    "repeated much later": "o: 17 items: expected 16",
    "reordered": "items differ",
    "replaced by the one before": "items differ",
    "changed while it waits": "o: payload changed while waiting",
    "withdrawn while it waits": "o: payload changed while waiting",
    "never taken": "o: 0 of 16 items after 2000 cycles",
}
"""What a link between Source and Sink does wrong, and what the bench says."""


class Wires(wiring.Component):
    """A stream that is taken, and one that is given, by hand."""

    def __init__(self) -> None:
        ports = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "tick": Out(1)}
        super().__init__(ports | {"hand_ready": In(1), "hand_valid": In(1), "hand_payload": In(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Something clocked, for the bench needs a clock.
        m.d.sync += self.tick.eq(~self.tick)
        m.d.comb += [self.i.ready.eq(self.hand_ready), self.o.valid.eq(self.hand_valid)]
        m.d.comb += self.o.payload.eq(self.hand_payload)
        return m


def test_streams():
    bench.run(Wires(), __file__)


async def link(dut, fault: str) -> None:
    """Hand items from ``i`` to ``o``, with one fault."""
    waiting: deque[int] = deque()
    count = idle = 0
    held: list[int] = []
    while True:
        dut.hand_ready.value = int(fault != "never taken")
        dut.hand_valid.value = int(bool(waiting))
        dut.hand_payload.value = waiting[0] if waiting else 0
        await RisingEdge(dut.clk)
        if waiting:
            if dut.o_ready.value:
                waiting.popleft()
            elif fault == "changed while it waits" and waiting[0] == ITEMS[VICTIM]:
                waiting[0] ^= 1
            elif fault == "withdrawn while it waits" and waiting[0] == ITEMS[VICTIM]:
                waiting.popleft()
        if dut.i_valid.value and dut.hand_ready.value:
            item = int(dut.i_payload.value)
            waiting += list(pass_on(fault, count, item, held))
            count, idle = count + 1, 0
        idle += 1
        if fault == "repeated much later" and count == len(ITEMS) and idle == 60:
            waiting.append(ITEMS[-1])
        await bench.cycles(dut)


def pass_on(fault: str, index: int, item: int, held: list[int]) -> Iterator[int]:
    """Items that leave the link for item ``index``."""
    victim = index == (len(ITEMS) - 1 if fault == "last lost" else VICTIM)
    if fault in ("lost", "last lost") and victim:
        return
    if fault == "reordered" and victim:
        held.append(item)
        return
    yield ITEMS[index - 1] if fault == "replaced by the one before" and victim else item
    if fault == "repeated" and victim:
        yield item
    yield from held
    held.clear()


async def transfer(dut, fault: str, pause: float) -> None:
    """As benches use the two: send, expect, compare."""
    rng = random.Random(3)
    source = bench.Source(dut, "i", bench.pauses(rng, pause))
    sink = bench.Sink(dut, "o", bench.pauses(rng, pause))
    cocotb.start_soon(source.send(ITEMS))
    expected = cocotb.start_soon(sink.expect(len(ITEMS), 2000))
    await First(sink.task, expected)
    assert sink.items == ITEMS, "items differ"


@cocotb.test()
@cocotb.parametrize(fault=list(FAULTS), pause=[0.0, 0.4])
async def check_faults(dut, fault, pause):
    if pause == 0 and "while it waits" in fault:
        return  # nothing waits
    await bench.reset(dut, hand_ready=0, hand_valid=0, hand_payload=0)
    cocotb.start_soon(link(dut, fault))
    message = FAULTS[fault]
    if message is None:
        await transfer(dut, fault, pause)
    else:
        with pytest.raises(AssertionError, match=message):
            await transfer(dut, fault, pause)


@cocotb.test()
async def check_source_waits_for_ready(dut):
    """An item is offered, unchanged, until it is taken; ``send`` ends with the last."""
    await bench.reset(dut, hand_ready=0, hand_valid=0, hand_payload=0)
    sending = cocotb.start_soon(bench.Source(dut, "i").send([7, 8]))
    await bench.cycles(dut, 50)
    assert (int(dut.i_valid.value), int(dut.i_payload.value), sending.done()) == (1, 7, False)
    dut.hand_ready.value = 1
    await bench.cycles(dut)
    dut.hand_ready.value = 0
    await bench.cycles(dut, 20)
    assert (int(dut.i_valid.value), int(dut.i_payload.value), sending.done()) == (1, 8, False)
    dut.hand_ready.value = 1
    await bench.cycles(dut, 2)
    assert sending.done() and not dut.i_valid.value
