# SPDX-License-Identifier: Apache-2.0
"""A processor's AXI3 or AXI4 master and an AXI4-Lite memory, for benches; addresses of beats by the formulas of the AXI
specification.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.axi.processor_port import FIXED, OKAY, WRAP
from sim.testbench import pauses

TIMEOUT = 5000
"""Cycles that an answer may take."""


def beat_addresses(start: int, beats: int, size: int, kind: int) -> list[int]:
    """Address of each beat (AXI specification, "burst address" and "wrap boundary")."""
    number_bytes = 1 << size
    if kind == FIXED:
        return [start] * beats
    aligned = start // number_bytes * number_bytes
    addresses = [start, *(aligned + n * number_bytes for n in range(1, beats))]
    if kind == WRAP:
        container = number_bytes * beats
        boundary = start // container * container
        addresses = [a if a < boundary + container else a - container for a in addresses]
    return addresses


@dataclass(frozen=True)
class Burst:
    """``beats`` of ``2**size`` bytes."""

    address: int
    beats: int
    size: int
    kind: int
    ident: int = 0
    serial: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Arguments of :func:`beat_addresses`."""
        return self.address, self.beats, self.size, self.kind

    @property
    def bytes(self) -> int:
        """Of a beat."""
        return 1 << self.size

    def renamed(self, ident: int) -> Burst:
        return replace(self, ident=ident)

    def strobe(self, beat: int, rng: random.Random) -> int:
        """Random strobes among the lanes that beat ``beat`` may use; also none."""
        address = beat_addresses(*self.shape)[beat]
        first, end = address % 4, (address & -self.bytes) % 4 + self.bytes
        return rng.getrandbits(4) & ((1 << end) - (1 << first))


class Answer(NamedTuple):
    """A beat of read data."""

    ident: int
    data: int
    response: int
    last: int


class ProcessorMaster:
    """Drives an AXI slave whose signals are called ``PREFIX + channel + "_" + name`` (``separator`` between the latter
    two), pausing at random.

    Parameters
    ----------
    names:
        Makes a signal's name of channel and field.
    """

    def __init__(self, dut: Any, prefix: str, rng: random.Random, stall: float = 0.0, names: Any = None) -> None:
        self.dut, self.clk = dut, dut.clk
        self.names = names or (lambda channel, field: f"{prefix}{channel}_{field}")
        self._pauses = {channel: pauses(random.Random(rng.random()), stall) for channel in ("ar", "aw", "w", "r", "b")}
        for channel in ("ar", "aw", "w"):
            self._signal(channel, "valid").value = 0
        self._read: deque[Answer] = deque()
        self._written: deque[tuple[int, int]] = deque()
        cocotb.start_soon(self._collect("r", ("id", "data", "resp", "last"), lambda *v: self._read.append(Answer(*v))))
        cocotb.start_soon(self._collect("b", ("id", "resp"), lambda *v: self._written.append(v)))

    def _signal(self, channel: str, field: str) -> Any:
        return getattr(self.dut, self.names(channel, field))

    async def _send(self, channel: str, **fields: int) -> None:
        while next(self._pauses[channel]):
            await FallingEdge(self.clk)
        for name, value in {**fields, "valid": 1}.items():
            self._signal(channel, name).value = value
        for _ in range(TIMEOUT):
            await RisingEdge(self.clk)
            taken = int(self._signal(channel, "ready").value)
            await FallingEdge(self.clk)
            if taken:
                self._signal(channel, "valid").value = 0
                return
        raise AssertionError(f"{channel}: not taken in {TIMEOUT} cycles")

    async def _collect(self, channel: str, fields: tuple[str, ...], add: Any) -> None:
        waiting: tuple[int, ...] | None = None
        while True:
            ready = int(not next(self._pauses[channel]))
            self._signal(channel, "ready").value = ready
            await RisingEdge(self.clk)
            values = tuple(int(self._signal(channel, name).value) for name in fields)
            valid = int(self._signal(channel, "valid").value)
            assert waiting is None or (valid and values == waiting), f"{channel}: changed while it waited"
            waiting = values if valid and not ready else None
            if valid and ready:
                add(*values)
            await FallingEdge(self.clk)

    async def send_address(self, channel: str, burst: Burst) -> None:
        """Give an address ("ar" or "aw")."""
        values = {"addr": burst.address, "len": burst.beats - 1, "size": burst.size, "burst": burst.kind}
        await self._send(channel, id=burst.ident, **values)

    async def send_data(self, beats: list[tuple[int, int]]) -> None:
        """Give the data of a write, (data, strobe) each."""
        for n, (data, strobe) in enumerate(beats):
            await self._send("w", data=data, strb=strobe, last=int(n == len(beats) - 1))

    async def _await(self, queue: deque, count: int) -> None:
        for _ in range(TIMEOUT):
            if len(queue) >= count:
                return
            await FallingEdge(self.clk)
        raise AssertionError(f"{len(queue)} of {count} answers after {TIMEOUT} cycles")

    async def response(self) -> tuple[int, int]:
        """ID and response of a write."""
        await self._await(self._written, 1)
        return self._written.popleft()

    async def read(self, burst: Burst) -> list[Answer]:
        """All beats of a read."""
        await self.send_address("ar", burst)
        await self._await(self._read, burst.beats)
        return [self._read.popleft() for _ in range(burst.beats)]

    async def write(self, burst: Burst, beats: list[tuple[int, int]]) -> tuple[int, int]:
        """Address and data side by side; ID and response."""
        data = cocotb.start_soon(self.send_data(beats))
        await self.send_address("aw", burst)
        await data
        return await self.response()

    def surplus(self) -> int:
        """Answers that nobody asked for."""
        return len(self._read) + len(self._written)


class LiteMemory:
    """An AXI4-Lite slave that notes every transfer: ``reads`` (addresses) and ``writes`` (address, data, strobes).

    Reads give :meth:`pattern`. ``responses`` by word address; others are OKAY.
    """

    def __init__(self, dut: Any, prefix: str, rng: random.Random, stall: float = 0.0) -> None:
        self.dut, self.prefix = dut, prefix
        self.reads: list[int] = []
        self.writes: list[tuple[int, int, int]] = []
        self.responses: dict[int, int] = {}
        self._pauses = [pauses(random.Random(rng.random()), stall) for _ in range(5)]
        for name in ("ar_ready", "aw_ready", "w_ready", "r_valid", "b_valid"):
            getattr(dut, prefix + name).value = 0
        cocotb.start_soon(self._serve_reads())
        cocotb.start_soon(self._serve_writes())

    @staticmethod
    def pattern(offset: int) -> int:
        """Word at a byte address: its four bytes differ, and so do neighbours."""
        word = offset // 4
        return (word * 0x9E3779B1 + 0x01020304) & 0xFFFFFFFF

    def _signal(self, name: str) -> Any:
        return getattr(self.dut, self.prefix + name)

    async def _take(self, channel: str, pause: int, fields: tuple[str, ...]) -> tuple[int, ...]:
        while True:
            ready = int(not next(self._pauses[pause]))
            self._signal(f"{channel}_ready").value = ready
            await RisingEdge(self.dut.clk)
            taken = ready and int(self._signal(f"{channel}_valid").value)
            values = tuple(int(self._signal(f"{channel}_{name}").value) for name in fields) if taken else ()
            await FallingEdge(self.dut.clk)
            if taken:
                self._signal(f"{channel}_ready").value = 0
                return values

    async def _give(self, channel: str, pause: int, **fields: int) -> None:
        while next(self._pauses[pause]):
            await FallingEdge(self.dut.clk)
        for name, value in {**fields, "valid": 1}.items():
            self._signal(f"{channel}_{name}").value = value
        while True:
            await RisingEdge(self.dut.clk)
            taken = int(self._signal(f"{channel}_ready").value)
            await FallingEdge(self.dut.clk)
            if taken:
                self._signal(f"{channel}_valid").value = 0
                return

    async def _serve_reads(self) -> None:
        while True:
            (address,) = await self._take("ar", 0, ("addr",))
            self.reads.append(address)
            await self._give("r", 1, data=self.pattern(address), resp=self.responses.get(address & ~3, OKAY))

    async def _serve_writes(self) -> None:
        while True:
            address_first = cocotb.start_soon(self._take("aw", 2, ("addr",)))
            data, strobe = await self._take("w", 3, ("data", "strb"))
            (address,) = await address_first
            self.writes.append((address, data, strobe))
            await self._give("b", 4, resp=self.responses.get(address & ~3, OKAY))
