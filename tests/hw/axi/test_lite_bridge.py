# SPDX-License-Identifier: Apache-2.0
"""A processor's AXI bursts on the registers' AXI4-Lite side: addresses by the standard's formulas, answers, IDs,
errors, stalls.
"""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.triggers import FallingEdge

from codenet.errors import ConfigError
from hw.axi import RegistersBridge
from hw.axi.burst_address import BurstAddress
from hw.axi.processor_port import DECERR, FIXED, INCR, OKAY, RESERVED, SLVERR, WRAP
from hw.boards import ps7, ps8
from sim import testbench as bench
from tests.board.axi import Burst, LiteMemory, ProcessorMaster, beat_addresses

BASE = 0x43C0_0000
KINDS = {"FIXED": FIXED, "INCR": INCR, "WRAP": WRAP}


def test_addresses_of_the_standard_by_hand():
    """The helper that expected values come from, on examples worked out by hand."""
    assert beat_addresses(0x10, 4, 2, INCR) == [0x10, 0x14, 0x18, 0x1C]
    assert beat_addresses(0x13, 3, 2, INCR) == [0x13, 0x14, 0x18], "an unaligned start is followed by aligned beats"
    assert beat_addresses(0x7, 3, 0, INCR) == [7, 8, 9]
    assert beat_addresses(0x14, 3, 2, FIXED) == [0x14] * 3
    assert beat_addresses(0x38, 4, 2, WRAP) == [0x38, 0x3C, 0x30, 0x34]
    assert beat_addresses(0x6, 4, 1, WRAP) == [6, 0, 2, 4]


@pytest.mark.parametrize("base", [0x43C0_0800, 1 << 32, -4096])
def test_base_must_be_a_block_of_its_own(base):
    with pytest.raises(ConfigError, match="expected a multiple of 0x1000"):
        BurstAddress(base, 32, 4)


@pytest.mark.parametrize("base", [0, 0xFFFF_F000])
def test_first_and_last_block(base):
    assert BurstAddress(base, 32, 4).base == base


@pytest.mark.parametrize("port", [ps7.REGISTERS_PORT, ps8.REGISTERS_PORT], ids=["Zynq-7000", "UltraScale"])
def test_registers_bridge(port):
    bridge = RegistersBridge(BASE, port)
    widths = {"address_width": port.address_width, "id_width": port.id_width, "len_width": port.len_width}
    bench.run(bridge, __file__, **widths)


# ----------------------------------------------------------------------------------------------------------------
# cocotb
async def _start(dut, stall=0.0, seed=1):
    rng = random.Random(seed)
    lite = LiteMemory(dut, "registers_", rng, stall)
    processor = ProcessorMaster(dut, "port_", rng, stall)
    await bench.reset(dut)
    return rng, lite, processor


def _random_burst(rng, serial, **fixed):
    size = fixed.get("size", rng.choice((0, 1, 2, 2)))
    kind = fixed.get("kind", rng.choice((FIXED, INCR, WRAP)))
    longest = 16 if kind != INCR else 1 << min(bench.parameter("len_width"), 5)
    beats = fixed.get("beats", rng.choice((2, 4, 8, 16)) if kind == WRAP else rng.randint(1, longest))
    address = rng.randrange(4096 - (beats << size))
    if kind == WRAP or rng.random() < 0.5:
        address &= -(1 << size)
    return Burst(
        BASE + address, beats, size, kind, ident=rng.randrange(1 << bench.parameter("id_width")), serial=serial
    )


def _check_read(lite, burst, answers):
    assert len(answers) == burst.beats
    for n, (answer, address) in enumerate(zip(answers, beat_addresses(*burst.shape), strict=True)):
        offset = address - BASE
        lane = range(offset % 4, min(4, (offset & -burst.bytes) % 4 + burst.bytes))
        expected = lite.pattern(offset)
        for byte in lane:
            assert (answer.data ^ expected) >> 8 * byte & 0xFF == 0, f"{burst}, beat {n}, byte {byte}"
        assert (answer.ident, answer.response) == (burst.ident, OKAY)
        assert answer.last == (n == burst.beats - 1), f"{burst}: last in beat {n}"


@cocotb.test()
async def check_reads(dut):
    """Every length, kind and size; the registers see one read a beat, at its address."""
    rng, lite, processor = await _start(dut)
    shapes = [
        (size, kind, beats)
        for size in range(3)
        for kind in KINDS.values()
        for beats in ((2, 4, 8, 16) if kind == WRAP else range(1, 17))
    ]
    for serial, (size, kind, beats) in enumerate(shapes):
        burst = _random_burst(rng, serial, size=size, kind=kind, beats=beats)
        before = len(lite.reads)
        _check_read(lite, burst, await processor.read(burst))
        assert [BASE + offset for offset in lite.reads[before:]] == beat_addresses(*burst.shape), str(burst)


@cocotb.test()
async def check_writes(dut):
    """Data and strobes reach the address of their beat; one response each, with its ID."""
    rng, lite, processor = await _start(dut)
    for serial in range(120):
        burst = _random_burst(rng, serial)
        data = [(rng.getrandbits(32), burst.strobe(n, rng)) for n in range(burst.beats)]
        before = len(lite.writes)
        assert await processor.write(burst, data) == (burst.ident, OKAY)
        expected = [(a - BASE, *beat) for a, beat in zip(beat_addresses(*burst.shape), data, strict=True)]
        assert lite.writes[before:] == expected, str(burst)


@cocotb.test()
async def check_side_by_side_with_stalls(dut):
    """Reads and writes at once, every channel of both sides pausing; nothing is lost, doubled or mixed up."""
    rng, lite, processor = await _start(dut, stall=0.4, seed=3)
    read_rng, write_rng = random.Random(4), random.Random(5)
    done = []

    async def reads():
        for serial in range(60):
            burst = _random_burst(read_rng, serial)
            _check_read(lite, burst, await processor.read(burst))
        done.append("reads")

    async def writes():
        expected = []
        for serial in range(60):
            burst = _random_burst(write_rng, serial)
            data = [(write_rng.getrandbits(32), burst.strobe(n, write_rng)) for n in range(burst.beats)]
            assert await processor.write(burst, data) == (burst.ident, OKAY)
            expected += [(a - BASE, *beat) for a, beat in zip(beat_addresses(*burst.shape), data, strict=True)]
        assert lite.writes == expected
        done.append("writes")

    tasks = [cocotb.start_soon(reads()), cocotb.start_soon(writes())]
    for task in tasks:
        await task
    await bench.cycles(dut, 50)
    assert sorted(done) == ["reads", "writes"]
    assert processor.surplus() == 0


@cocotb.test()
async def check_data_long_before_and_after_their_address(dut):
    """AXI3 lets write data come first; they wait for their address."""
    _, lite, processor = await _start(dut)
    burst = Burst(BASE + 0x20, 4, 2, INCR, ident=9)
    data = [(0x1000 + n, 15) for n in range(4)]
    early = cocotb.start_soon(processor.send_data(data))
    await bench.cycles(dut, 30)
    assert not lite.writes
    await processor.send_address("aw", burst)
    await early
    assert await processor.response() == (9, OKAY)
    assert [w[0] for w in lite.writes] == [0x20, 0x24, 0x28, 0x2C]
    await processor.send_address("aw", burst)
    await bench.cycles(dut, 30)
    assert len(lite.writes) == 4
    await processor.send_data(data)
    assert await processor.response() == (9, OKAY)


BAD = {
    "below the block": (Burst(BASE - 4, 1, 2, INCR), DECERR),
    "above the block": (Burst(BASE + 4096, 4, 2, INCR), DECERR),
    "at the end of the address space": (Burst(0x7FFF_FFF0, 3, 2, FIXED), DECERR),
    "double words": (Burst(BASE, 2, 3, INCR), SLVERR),
    "128-byte beats": (Burst(BASE, 1, 7, INCR), SLVERR),
    "reserved kind": (Burst(BASE + 8, 5, 2, RESERVED), SLVERR),
    "wrap of 3": (Burst(BASE + 8, 3, 2, WRAP), SLVERR),
    "wrap of 1": (Burst(BASE + 8, 1, 2, WRAP), SLVERR),
    "wrap not aligned": (Burst(BASE + 6, 4, 2, WRAP), SLVERR),
}


@cocotb.test()
async def check_errors(dut):
    """Every beat is answered, the registers see nothing, and the next good burst is answered well."""
    _, lite, processor = await _start(dut, stall=0.2, seed=6)
    bad = dict(BAD)
    if bench.parameter("address_width") > 32:
        bad["the block's address in its low 32 bits"] = (Burst(BASE + (1 << 32), 1, 2, INCR), DECERR)
    for serial, (name, (burst, response)) in enumerate(bad.items()):
        burst = burst.renamed(ident=serial + 1)
        answers = await processor.read(burst)
        assert [a.response for a in answers] == [response] * burst.beats, name
        assert [(a.ident, a.data) for a in answers] == [(serial + 1, 0)] * burst.beats
        assert [a.last for a in answers] == [0] * (burst.beats - 1) + [1], name
        assert await processor.write(burst, [(7, 15)] * burst.beats) == (serial + 1, response), name
        assert not lite.writes and not lite.reads, name
        good = Burst(BASE + 4 * serial, 2, 2, INCR, ident=serial)
        _check_read(lite, good, await processor.read(good))
        lite.reads.clear()


@cocotb.test()
async def check_errors_of_the_registers(dut):
    """They come back beat by beat for reads; a write gets the first of its beats."""
    _, lite, processor = await _start(dut)
    lite.responses = {0x44: SLVERR, 0x48: DECERR}
    answers = await processor.read(Burst(BASE + 0x40, 4, 2, INCR))
    assert [a.response for a in answers] == [OKAY, SLVERR, DECERR, OKAY]
    assert (await processor.write(Burst(BASE + 0x40, 4, 2, INCR), [(1, 15)] * 4))[1] == SLVERR
    assert (await processor.write(Burst(BASE + 0x48, 1, 2, INCR), [(1, 15)]))[1] == DECERR
    assert (await processor.write(Burst(BASE + 0x4C, 1, 2, INCR), [(1, 15)]))[1] == OKAY


@cocotb.test()
async def check_idle_after_reset(dut):
    """Nothing is offered to either side, and an address is taken at once."""
    await _start(dut)
    for _ in range(20):
        for name in ("port_r_valid", "port_b_valid", "registers_ar_valid", "registers_aw_valid", "registers_w_valid"):
            assert not getattr(dut, name).value, name
        await FallingEdge(dut.clk)
