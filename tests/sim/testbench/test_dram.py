# SPDX-License-Identifier: Apache-2.0
"""The memory model finds masters that break the rules, and keeps its own timing."""

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import First, RisingEdge, Timer

from codenet.errors import ConfigError
from hw.axi import ReadPort, WritePort
from sim import testbench as bench
from sim.testbench.dram import SLAVE_ERROR, Dram
from sim.timing import DramTiming

QUIET = DramTiming(latency=10, outstanding=2, bytes_per_cycle=8, refresh_interval=0, refresh_cycles=0)


class Wires(wiring.Component):
    """Two ports that the bench drives by hand."""

    def __init__(self) -> None:
        super().__init__({"hand": In(Ports()), "tick": Out(1), "read": Out(ReadPort()), "write": Out(WritePort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Something clocked, for the bench needs a clock.
        m.d.sync += self.tick.eq(~self.tick)
        wiring.connect(m, wiring.flipped(self.hand.read), wiring.flipped(self.read))
        wiring.connect(m, wiring.flipped(self.hand.write), wiring.flipped(self.write))
        return m


class Ports(wiring.Signature):
    """Both directions."""

    def __init__(self) -> None:
        super().__init__({"read": Out(ReadPort()), "write": Out(WritePort())})


def test_dram():
    bench.run(Wires(), __file__)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": -1},
        {"outstanding": 0},
        {"bytes_per_cycle": 0},
        {"stall": 1.0},
        {"refresh_cycles": 1170},
        {"seed": -1},
    ],
)
def test_bad_timing(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} = "):
        DramTiming(**wrong)


async def begin(dut, timing: DramTiming = QUIET) -> Dram:
    dram = Dram(dut, 1 << 14, 0x1000, timing)
    dram.add_read_port("read")
    dram.add_write_port("write")
    zero = ["read_ar_valid", "read_ar_addr", "read_ar_len", "write_aw_valid", "write_aw_addr", "write_aw_len"]
    zero += ["write_w_valid", "write_w_data", "write_w_last"]
    ones = {"read_r_ready": 1, "write_b_ready": 1, "write_w_strb": 0xFF}
    await bench.reset(dut, **{f"hand_{name}": value for name, value in ({name: 0 for name in zero} | ones).items()})
    dram.allow(0x1000, 1 << 13, read=True, write=True)
    await behind_edge(dut)
    return dram


async def behind_edge(dut, count: int = 1) -> None:
    """Wait until just behind a rising edge, where a master's registers change."""
    for _ in range(count):
        await RisingEdge(dut.clk)
    await Timer(1, "ns")


async def offer(dut, channel: str, **payload: int) -> None:
    """Offer a transfer until it is taken. Starts and ends just behind a rising edge."""
    for name, value in (payload | {"valid": 1}).items():
        getattr(dut, f"hand_{channel}_{name}").value = value
    while True:
        await RisingEdge(dut.clk)
        taken = int(getattr(dut, f"{channel}_ready").value)
        await Timer(1, "ns")
        if taken:
            break
    getattr(dut, f"hand_{channel}_valid").value = 0


async def drive(dut, channel: str, **signals: int) -> None:
    """Change signals, whether or not they may."""
    for name, value in signals.items():
        getattr(dut, f"hand_{channel}_{name}").value = value
    await behind_edge(dut, 2)


@cocotb.test()
async def check_latency_and_bandwidth(dut):
    dram = await begin(dut)
    await offer(dut, "read_ar", addr=0x1080, len=7)
    accepted = dram.now
    beats, times = [], []
    while len(beats) < 8:
        await RisingEdge(dut.clk)
        if dut.read_r_valid.value:
            beats.append(int(dut.read_r_data.value))
            times.append(dram.now)
            assert int(dut.read_r_last.value) == (len(beats) == 8) and int(dut.read_r_resp.value) == 0
    assert beats == [dram.read_beat(0x1080 + 8 * n) for n in range(8)]
    assert QUIET.latency - 1 <= times[0] - accepted <= QUIET.latency + 1
    assert times == list(range(times[0], times[0] + 8))


@cocotb.test()
async def check_write_and_response(dut):
    dram = await begin(dut)
    dram.fault(0x1108, 8, "write")
    for address, response in ((0x1080, 0), (0x1100, SLAVE_ERROR)):
        await offer(dut, "write_aw", addr=address, len=1)
        await offer(dut, "write_w", data=1 << 63 | 5, last=0)
        await offer(dut, "write_w", data=7, last=1)
        assert dram.outstanding == 1
        while not dut.write_b_valid.value:
            await behind_edge(dut)
        assert int(dut.write_b_resp.value) == response
        await behind_edge(dut, 2)
        assert dram.outstanding == 0
    assert dram.dump(0x1080, 16).view("<u8").tolist() == [1 << 63 | 5, 7]


@cocotb.test()
async def check_outstanding_limit(dut):
    dram = await begin(dut)
    task = cocotb.start_soon(send_reads(dut, 3))
    await behind_edge(dut, 8)
    assert len(dram.reads[0].bursts) == QUIET.outstanding and not task.done()
    await behind_edge(dut, 60)
    assert task.done() and dram.outstanding == 0


async def send_reads(dut, count: int) -> None:
    for n in range(count):
        await offer(dut, "read_ar", addr=0x1000 + 128 * n, len=15)


READ_FULL = [(offer, "read_ar", {"addr": 0x1000 + 128 * n, "len": 15}) for n in range(QUIET.outstanding)]
"""Bursts after which the memory takes no further read address for a while."""

RULES = {
    "read across a page": (
        [(offer, "read_ar", {"addr": 0x1FF8, "len": 1})],
        "read: read of 2 beats at 0x1ff8: crosses",
    ),
    "write across a page": (
        [(offer, "write_aw", {"addr": 0x1F88, "len": 15})],
        "write: write of 16 beats at 0x1f88: crosses",
    ),
    "read outside": ([(offer, "read_ar", {"addr": 0x3000, "len": 0})], "read of 1 beats at 0x3000: outside"),
    "read below": ([(offer, "read_ar", {"addr": 0xFF8, "len": 0})], "read of 1 beats at 0xff8: outside"),
    "read beyond the end": ([(offer, "read_ar", {"addr": 0x5000, "len": 0})], "read of 1 beats at 0x5000: outside"),
    "write outside": ([(offer, "write_aw", {"addr": 0x3000, "len": 0})], "write of 1 beats at 0x3000: outside"),
    "write of what may be read": (
        [(offer, "write_aw", {"addr": 0x3800, "len": 0})],
        "write of 1 beats at 0x3800: outside",
    ),
    "read of what may be written": (
        [(offer, "read_ar", {"addr": 0x3C00, "len": 0})],
        "read of 1 beats at 0x3c00: outside",
    ),
    "read not aligned": ([(offer, "read_ar", {"addr": 0x1004, "len": 0})], "read of 1 beats at 0x1004: not aligned"),
    "write not aligned": ([(offer, "write_aw", {"addr": 0x1001, "len": 0})], "write of 1 beats at 0x1001: not aligned"),
    "address changes": (
        [*READ_FULL, (drive, "read_ar", {"valid": 1}), (drive, "read_ar", {"addr": 0x1800})],
        r"read ar: \(6144, 15\) offered after \(4224, 15\) was not taken",
    ),
    "length changes": (
        [*READ_FULL, (drive, "read_ar", {"valid": 1}), (drive, "read_ar", {"len": 3})],
        r"read ar: \(4224, 3\) offered",
    ),
    "address valid falls": (
        [*READ_FULL, (drive, "read_ar", {"valid": 1}), (drive, "read_ar", {"valid": 0})],
        "read ar: None offered",
    ),
    "data changes": (
        [
            *[(offer, "write_w", {"data": n, "last": 0}) for n in range(16)],
            (drive, "write_w", {"valid": 1}),
            (drive, "write_w", {"data": 99}),
        ],
        r"write w: \(99, 255, 0\) offered after \(15, 255, 0\) was not taken",
    ),
    "last too early": (
        [(offer, "write_aw", {"addr": 0x1000, "len": 1}), (offer, "write_w", {"data": 1, "last": 1})],
        "write: last = 1 in beat 0 of 2 at 0x1000",
    ),
    "last missing": (
        [(offer, "write_aw", {"addr": 0x1000, "len": 0}), (offer, "write_w", {"data": 1, "last": 0})],
        "write: last = 0 in beat 0 of 1 at 0x1000",
    ),
    "part of a beat": (
        [(offer, "write_aw", {"addr": 0x1000, "len": 0}), (offer, "write_w", {"data": 1, "last": 1, "strb": 0x0F})],
        "write: strobe 0xf at 0x1000, expected 0xff",
    ),
}
"""Each rule, broken once: what a master does that keeps all others, and what the memory says."""


@cocotb.test()
@cocotb.parametrize(rule=list(RULES))
async def check_finds(dut, rule):
    actions, message = RULES[rule]
    dram = await begin(dut)
    dram.allow(0x3800, 0x400, read=True)
    dram.allow(0x3C00, 0x400, write=True)

    async def break_rule() -> None:
        for action, channel, payload in actions:
            await action(dut, channel, **payload)
        await behind_edge(dut, 4)

    with pytest.raises(AssertionError, match=message):
        await First(dram.task, cocotb.start_soon(break_rule()))


@cocotb.test()
async def check_finds_long_burst(dut):
    """A length that the port has no bits for."""
    dram = await begin(dut)
    with pytest.raises(AssertionError, match="read of 17 beats at 0x1000: longer than 16 beats"):
        dram.check("port", "read", 0x1000, 16)
