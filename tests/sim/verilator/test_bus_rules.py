# SPDX-License-Identifier: Apache-2.0
"""The simulated board finds a master that breaks a rule of a bus or of its memory: the monitor sees each wire of each
bus (what it knows: test_axi_rules.py), and each rule of the memory is broken once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from sim.timing import DramTiming
from sim.verilator.board import MEMORY_BASE, PORT0_READ, PORT0_WRITE, PORT1_READ, READ, WRITE, Board
from sim.verilator.library import build_verilog

MASTER = Path(__file__).with_name("master.v")
REGISTERS = {"address": 0x00, "length": 0x04, "kind": 0x08, "data": 0x0C, "last": 0x10, "valid": 0x14}
REGISTERS |= {"strobe": 0x18, "rest": 0x1C, "surplus": 0x20}
INCR, FIXED, WRAP = 1, 0, 2
BEATS_OF_8 = 3 << 2 | INCR

DATA = 8
CHANNELS = {"port 0 read": PORT0_READ, "port 1 read": PORT1_READ, "port 0 write": PORT0_WRITE}
"""Address channels: the names in messages, and the bits of ``valid``, which are those of :meth:`Board.halt` too."""

PAGE = MEMORY_BASE + 4096
READABLE, WRITABLE = PAGE + 4096, PAGE + 8192
"""Pages that may only be read, and only be written; the one at `PAGE` both."""

Pokes = list[dict[str, int]]


@pytest.fixture
def board() -> Iterator[Board]:
    opened = Board(AcceleratorConfig(), DramTiming(latency=5), build_verilog(MASTER.read_text()))
    opened.allow(PAGE, 4096)
    opened.allow(READABLE, 4096, READ)
    opened.allow(WRITABLE, 4096, WRITE)
    poke(opened, [{"address": PAGE, "length": 0, "kind": BEATS_OF_8, "data": 0, "last": 0, "strobe": 255, "rest": 0}])
    yield opened
    opened.close()


def poke(board: Board, pokes: Pokes) -> None:
    """Write registers of the master, group by group, a few clocks apart."""
    for group in pokes:
        for name, value in group.items():
            board.write(REGISTERS[name], value)
        board.run(20)


WIRES: dict[str, tuple[Pokes, str]] = {
    "the address changes": ([{"valid": 1}, {"address": PAGE + 8}], r"changed before ready \(A3.2.1\)"),
    "the length changes": ([{"valid": 1}, {"length": 1}], "changed before ready"),
    "the size changes": ([{"valid": 1}, {"kind": 2 << 2 | INCR}], "changed before ready"),
    "the type changes": ([{"valid": 1}, {"kind": 3 << 2 | FIXED}], "changed before ready"),
    "the lock changes": ([{"valid": 1}, {"rest": 1}], "changed before ready"),
    "the memory type changes": ([{"valid": 1}, {"rest": 3 << 2}], "changed before ready"),
    "valid falls": ([{"valid": 1}, {"valid": 0}], r"valid fell before ready \(A3.2.1\)"),
    "17 beats": ([{"length": 16, "valid": 1}], r"burst of 17 beats: expected at most 16 \(A3.4.1\)"),
    "a border of 4 KiB": (
        [{"address": PAGE + 4096 - 8, "length": 1, "valid": 1}],
        "burst of 2 beats at 0x10001ff8 crosses a 4 KiB border",
    ),
}
"""Rules of the bus: what the master does, with ``valid`` 1 for the channel's bit, and what the board says of it."""

ADDRESSES: dict[str, tuple[Pokes, str]] = {
    "beats of 4 bytes": ([{"kind": 2 << 2 | INCR, "valid": 1}], "size or burst type is not 8 bytes INCR"),
    "a fixed burst": ([{"kind": 3 << 2 | FIXED, "valid": 1}], "size or burst type is not 8 bytes INCR"),
    "a wrapping burst": ([{"kind": 3 << 2 | WRAP, "length": 1, "valid": 1}], "size or burst type is not 8 bytes INCR"),
    "no multiple of 8": ([{"address": PAGE + 4, "valid": 1}], "address 0x10001004 is no multiple of 8"),
    "below the memory": ([{"address": PAGE - 8, "valid": 1}], "8 bytes at 0x10000ff8 lie outside the allocated memory"),
    "beyond the memory": ([{"address": WRITABLE + 4096, "valid": 1}], "8 bytes at 0x10004000 lie outside"),
    "address 0": ([{"address": 0, "valid": 1}], r"8 bytes at (0x)?0 lie outside"),
    "the last address": ([{"address": 0xFFFF_FFF8, "valid": 1}], "8 bytes at 0xfffffff8 lie outside"),
}
"""Rules of the memory, for each address channel."""

WRITES: dict[str, tuple[Pokes, str]] = {
    "data changes": ([{"valid": DATA}, {"data": 1}], r"W: changed before ready \(A3.2.1\)"),
    "last changes": ([{"valid": DATA}, {"last": 1}], "W: changed before ready"),
    "strobes change": ([{"valid": DATA}, {"strobe": 1}], "W: changed before ready"),
    "valid falls": ([{"valid": DATA}, {"valid": 0}], "W: valid fell before ready"),
    "last too early": (
        [{"length": 1, "last": 1, "valid": PORT0_WRITE | DATA}],
        r"W: last = 1 in beat 1 of 2 \(A3.2.2\)",
    ),
    "last missing": ([{"valid": PORT0_WRITE | DATA}], "W: last = 0 in beat 1 of 1"),
    "last missing in the second beat": (
        [{"length": 1, "valid": PORT0_WRITE | DATA}, {"valid": DATA}],
        "W: last = 0 in beat 2 of 2",
    ),
}
"""Rules of the write data."""

SURPLUS = {"R": 1, "B": 2}
"""Answers of the registers that nobody asked for."""


def expect_violation(board: Board, pokes: Pokes, message: str) -> None:
    with pytest.raises(DeviceError, match=rf"^simulated board: {message}.*, cycle \d+, step 0$"):
        poke(board, pokes)


def of_channel(pokes: Pokes, channel: str) -> Pokes:
    """The same with ``valid`` of this channel."""
    return [group | {"valid": CHANNELS[channel] * group["valid"]} if "valid" in group else group for group in pokes]


@pytest.mark.parametrize("rule", WIRES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_address_channels(board, channel, rule):
    pokes, message = WIRES[rule]
    board.halt(CHANNELS[channel])
    board.run(2)
    port, _, direction = channel.rpartition(" ")
    expect_violation(board, of_channel(pokes, channel), f"{port}: {'AW' if direction == 'write' else 'AR'}: {message}")


@pytest.mark.parametrize("rule", ADDRESSES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_memory_of_address_channels(board, channel, rule):
    pokes, message = ADDRESSES[rule]
    board.halt(CHANNELS[channel])
    board.run(2)
    expect_violation(board, of_channel(pokes, channel), f"{channel}: {message}")


@pytest.mark.parametrize("rule", WRITES)
def test_write_data(board, rule):
    pokes, message = WRITES[rule]
    expect_violation(board, pokes, f"port 0: {message}")


@pytest.mark.parametrize("channel", SURPLUS)
def test_registers(board, channel):
    what = r"(data|response) of ID 0 .*\(A3.3.1\)"
    expect_violation(board, [{"surplus": SURPLUS[channel]}], f"registers: {channel}: {what}")


def test_unanswered(board):
    """Bursts of each channel count until their last answer."""
    assert board.unanswered == 0
    board.halt(PORT0_READ | PORT1_READ | PORT0_WRITE)
    poke(board, [{"valid": PORT0_READ | PORT1_READ | PORT0_WRITE}])
    assert board.unanswered <= 3
    board.halt(0)
    board.run(10)
    assert board.unanswered == 1, "the write has no data"
    poke(board, [{"last": 1, "valid": DATA}])
    assert board.unanswered == 0


@pytest.mark.parametrize("channel", CHANNELS)
def test_memory_is_allowed_by_direction(board, channel):
    allowed, other = (WRITABLE, READABLE) if channel == "port 0 write" else (READABLE, WRITABLE)
    poke(board, [{"address": allowed, "valid": CHANNELS[channel]}])
    expect_violation(
        board, [{"address": other, "valid": CHANNELS[channel]}], f"{channel}: 8 bytes at {other:#x} lie outside"
    )


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_burst_has_to_lie_in_one_buffer(board, channel):
    board.allow(PAGE - 4096 + 64, 64)
    expect_violation(
        board,
        [{"address": PAGE - 4096 + 64, "length": 8, "valid": CHANNELS[channel]}],
        f"{channel}: 72 bytes at 0x10000040 lie outside",
    )


def test_what_is_taken_back_is_forbidden(board):
    board.forbid(PAGE)
    expect_violation(board, [{"valid": PORT1_READ}], "port 1 read: 8 bytes at 0x10001000 lie outside")


def test_a_master_that_keeps_the_rules(board):
    """Bursts up to the borders on each channel; payload that changes while it is not offered, and while it is taken."""
    for channel in (PORT0_READ, PORT1_READ):
        poke(board, [{"address": PAGE + 4096 - 128, "length": 15, "valid": channel}, {"address": 1, "length": 99}])
    board.halt(PORT0_WRITE)
    poke(board, [{"address": PAGE, "length": 1, "data": 0x1234_5678, "last": 0, "valid": PORT0_WRITE | DATA}])
    board.halt(0)
    board.run(100)
    poke(board, [{"data": 0x9ABC_DEF0, "last": 1, "valid": DATA}])
    assert board.memory[4096:4112].view("<u8").tolist() == [0x1234_5678, 0x9ABC_DEF0]
    assert not np.any(board.memory[4112:8192])


def test_every_text_of_the_board_is_in_the_table():
    """A rule that is added to the board is to be broken here too."""
    source = (Path(build_verilog.__code__.co_filename).with_name("board.cpp")).read_text()
    source = source.replace('fail("%s: %s", names[n]', "the monitor's(")
    texts = re.findall(r'fail\("%s: ([^"]*)"', source)
    assert len(texts) == source.count("fail(") - 1, "expected each text to begin with the port"
    broken = [message for _, message in ADDRESSES.values()]
    for text in texts:
        words = re.split(r"%[#\w]*", text)
        longest = max(words, key=len).strip()
        assert any(longest in message.replace("\\", "") for message in broken), f"{text!r} is not broken"
