# SPDX-License-Identifier: Apache-2.0
"""Memory behind AXI ports, for cocotb benches: timing, guard bands, protocol checks, error responses.

The model wakes once a cycle, behind the falling edge: it reads what the masters drive for the rising edge to come,
decides what it drives, and so knows which transfers that edge makes. It relies on the rule that ``valid`` and payload
never depend on ``ready``.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from codenet.config import BEAT_BYTES
from sim.timing import DramTiming

PAGE_BYTES = 4096
BURST_BEATS = 16

OKAY, SLAVE_ERROR, DECODE_ERROR = 0, 2, 3


@dataclass(frozen=True)
class Burst:
    """One accepted address: ``beats`` beats from ``address``; ``ready`` is the cycle that its answer may start in."""

    address: int
    beats: int
    ready: int = 0


class Channel:
    """Signals of one AXI channel, by the names of :class:`hw.axi.ReadPort` (``PREFIX_ar_addr``) or of AXI
    (``PREFIX_araddr``).

    Reports a master's payload that changes, or a ``valid`` that falls, while it waits.
    """

    def __init__(self, dut: Any, prefix: str, channel: str, payload: Iterable[str]):
        separator = "_" if hasattr(dut, f"{prefix}_{channel}_valid") else ""
        self.name = f"{prefix} {channel}"
        self.valid, self.ready, *self.payload = (
            getattr(dut, f"{prefix}_{channel}{separator}{name}") for name in ("valid", "ready", *payload)
        )
        self._waiting: tuple[int, ...] | None = None

    def offered(self) -> tuple[int, ...] | None:
        """Payload that the master offers in this cycle, ``None`` if it offers none."""
        payload = tuple(int(signal.value) for signal in self.payload) if self.valid.value else None
        assert self._waiting is None or payload == self._waiting, (
            f"{self.name}: {payload} offered after {self._waiting} was not taken"
        )
        self._waiting = payload
        return payload

    def answer(self, ready: bool) -> bool:
        """Drive ``ready``; returns whether the coming edge transfers what was :meth:`offered`."""
        self.ready.value = int(ready)
        taken = ready and self._waiting is not None
        if taken:
            self._waiting = None
        return taken


class ReadSide:
    """Read channels of one port: a burst's beats follow its address by the latency, bursts in order."""

    def __init__(self, dram: Dram, dut: Any, prefix: str):
        self.dram, self.name = dram, prefix
        self.address = Channel(dut, prefix, "ar", ("addr", "len"))
        self.data = Channel(dut, prefix, "r", ("data", "resp", "last"))
        self.pending: deque[Burst] = deque()
        self.bursts: list[Burst] = []
        self.beats = 0
        self._index = 0
        self._driving = False
        self.data.valid.value = 0
        self.address.ready.value = 0

    @property
    def outstanding(self) -> int:
        """Bursts not completely answered."""
        return len(self.pending)

    def cycle(self) -> None:
        """One clock: answer the oldest burst, perhaps accept another."""
        dram = self.dram
        self._answer()
        offered = self.address.offered()
        if self.address.answer(len(self.pending) < dram.timing.outstanding and not dram.stalled()) and offered:
            burst = dram.check(self.name, "read", *offered)
            self.pending.append(burst)
            self.bursts.append(burst)

    def _answer(self) -> None:
        dram, data = self.dram, self.data
        if not self._driving and self.pending:
            burst = self.pending[0]
            if dram.now >= burst.ready and not dram.stalled() and dram.move_beat():
                address = burst.address + BEAT_BYTES * self._index
                values = (dram.read_beat(address), dram.response(address, "read"), int(self._index == burst.beats - 1))
                for signal, value in zip(data.payload, values, strict=True):
                    signal.value = value
                self._driving = True
        data.valid.value = int(self._driving)
        if self._driving and data.ready.value:
            self._driving = False
            self.beats += 1
            self._index += 1
            if self._index == self.pending[0].beats:
                self._index = 0
                self.pending.popleft()


class WriteSide:
    """Write channels of one port: a burst's response follows its last beat by the latency. Data may come ahead of their
    address.
    """

    def __init__(self, dram: Dram, dut: Any, prefix: str):
        self.dram, self.name = dram, prefix
        self.address = Channel(dut, prefix, "aw", ("addr", "len"))
        self.data = Channel(dut, prefix, "w", ("data", "strb", "last"))
        self.response = Channel(dut, prefix, "b", ("resp",))
        self.addresses: deque[Burst] = deque()
        self.received: deque[tuple[int, ...]] = deque()
        self.answers: deque[tuple[int, int]] = deque()
        self.bursts: list[Burst] = []
        self.beats = 0
        self._index = 0
        for signal in (self.address.ready, self.data.ready, self.response.valid):
            signal.value = 0

    @property
    def outstanding(self) -> int:
        """Bursts whose address was accepted and that have no response; and data without an address."""
        return len(self.addresses) + len(self.answers) + len(self.received)

    def cycle(self) -> None:
        """One clock: respond to the oldest burst, perhaps accept an address and a beat."""
        dram = self.dram
        self._respond()
        offered = self.address.offered()
        room = len(self.addresses) + len(self.answers) < dram.timing.outstanding
        if self.address.answer(room and not dram.stalled()) and offered:
            burst = dram.check(self.name, "write", *offered)
            self.addresses.append(burst)
            self.bursts.append(burst)
        beat = self.data.offered()
        early = len(self.received) < BURST_BEATS
        if self.data.answer(early and not dram.stalled() and (beat is None or dram.move_beat())) and beat:
            self.received.append(beat)
            self.beats += 1
        while self.received and self.addresses:
            self._store()

    def _store(self) -> None:
        dram, burst = self.dram, self.addresses[0]
        data, strobe, last = self.received.popleft()
        address = burst.address + BEAT_BYTES * self._index
        assert strobe == 0xFF, f"{self.name}: strobe {strobe:#x} at {address:#x}, expected 0xff"
        assert last == (self._index == burst.beats - 1), (
            f"{self.name}: last = {last} in beat {self._index} of {burst.beats} at {burst.address:#x}"
        )
        if dram.response(address, "write") == OKAY:
            dram.write_beat(address, data)
        self._index += 1
        if last:
            self._index = 0
            self.addresses.popleft()
            self.answers.append((dram.now + dram.latency(), dram.worst_response(burst)))

    def _respond(self) -> None:
        if self.answers and self.dram.now >= self.answers[0][0]:
            self.response.valid.value = 1
            self.response.payload[0].value = self.answers[0][1]
            if self.response.ready.value:
                self.answers.popleft()
        else:
            self.response.valid.value = 0


class Dram:
    """Memory of ``size`` bytes at ``base``, served to the ports that are added; runs from its creation.

    Every byte starts as noise, and only what was allowed may be accessed, so a read or write outside its buffer fails
    the test.

    Parameters
    ----------
    dut:
        With a signal ``clk``.
    timing:
        Latency, bandwidth, refresh and pauses.
    """

    def __init__(self, dut: Any, size: int, base: int = 0, timing: DramTiming | None = None):
        self.dut, self.base = dut, base
        self.timing = DramTiming() if timing is None else timing
        self.rng = random.Random(self.timing.seed)
        self.memory = np.random.default_rng(self.timing.seed).integers(0, 256, size, dtype=np.uint8)
        self.reads: list[ReadSide] = []
        self.writes: list[WriteSide] = []
        self.now = 0
        self._credit = 0
        self._readable = np.zeros(size // BEAT_BYTES, dtype=bool)
        self._writable = np.zeros(size // BEAT_BYTES, dtype=bool)
        self._faults: list[tuple[int, int, str, int]] = []
        self.task = cocotb.start_soon(self._run())

    def add_read_port(self, prefix: str) -> ReadSide:
        """Serve the read channels of the port with this name."""
        self.reads.append(ReadSide(self, self.dut, prefix))
        return self.reads[-1]

    def add_write_port(self, prefix: str) -> WriteSide:
        """Serve the write channels of the port with this name."""
        self.writes.append(WriteSide(self, self.dut, prefix))
        return self.writes[-1]

    @property
    def outstanding(self) -> int:
        """Bursts that were accepted and not completely answered, on all ports."""
        return sum(side.outstanding for side in (*self.reads, *self.writes))

    def allow(self, address: int, size: int, *, read: bool = False, write: bool = False) -> None:
        """Allow accesses to ``size`` bytes from ``address``, both multiples of 8."""
        assert address % BEAT_BYTES == 0 and size % BEAT_BYTES == 0 and address >= self.base
        beats = slice((address - self.base) // BEAT_BYTES, (address - self.base + size) // BEAT_BYTES)
        assert beats.stop <= len(self._readable), f"{size} bytes at {address:#x}: outside the memory"
        self._readable[beats] |= read
        self._writable[beats] |= write

    def forbid_all(self) -> None:
        """Take back every :meth:`allow`."""
        self._readable[:] = self._writable[:] = False

    def fault(self, address: int, size: int, kind: str, response: int = SLAVE_ERROR) -> None:
        """Answer accesses of ``kind`` "read" or "write" to a range with an error."""
        self._faults.append((address, address + size, kind, response))

    def repair(self) -> None:
        """Take back every :meth:`fault`."""
        self._faults.clear()

    def load(self, address: int, data: bytes | np.ndarray) -> None:
        """Put bytes into memory, unchecked."""
        raw = (
            np.frombuffer(data, dtype=np.uint8)
            if isinstance(data, bytes)
            else np.ascontiguousarray(data).view(np.uint8)
        )
        self.memory[address - self.base :][: raw.size] = raw.reshape(-1)

    def dump(self, address: int, size: int) -> np.ndarray:
        """Copy of bytes in memory."""
        return self.memory[address - self.base :][:size].copy()

    async def _run(self) -> None:
        timing = self.timing
        while True:
            await FallingEdge(self.dut.clk)
            self.now += 1
            refreshing = timing.refresh_interval and self.now % timing.refresh_interval < timing.refresh_cycles
            self._credit = 0 if refreshing else min(self._credit + timing.bytes_per_cycle, 2 * timing.bytes_per_cycle)
            sides: list[ReadSide | WriteSide] = [*self.reads, *self.writes]
            # Whoever comes first gets the bandwidth: take turns.
            turn = self.now % len(sides) if sides else 0
            for side in sides[turn:] + sides[:turn]:
                side.cycle()

    def stalled(self) -> bool:
        """Whether a channel pauses in this cycle."""
        return self.timing.stall > 0 and self.rng.random() < self.timing.stall

    def latency(self) -> int:
        """Latency of the next burst."""
        return self.timing.latency + (self.rng.randint(0, self.timing.jitter) if self.timing.jitter else 0)

    def move_beat(self) -> bool:
        """Take the bandwidth of one beat, if there is so much left."""
        if self._credit < BEAT_BYTES:
            return False
        self._credit -= BEAT_BYTES
        return True

    def check(self, port: str, kind: str, address: int, length: int) -> Burst:
        """Burst of an accepted address, if it keeps the rules."""
        beats, size = length + 1, (length + 1) * BEAT_BYTES
        text = f"{port}: {kind} of {beats} beats at {address:#x}"
        assert beats <= BURST_BEATS, f"{text}: longer than {BURST_BEATS} beats"
        assert address % BEAT_BYTES == 0, f"{text}: not aligned to {BEAT_BYTES} bytes"
        assert address // PAGE_BYTES == (address + size - 1) // PAGE_BYTES, (
            f"{text}: crosses a multiple of {PAGE_BYTES}"
        )
        first = (address - self.base) // BEAT_BYTES
        allowed = (self._readable if kind == "read" else self._writable)[max(first, 0) : first + beats]
        assert first >= 0 and len(allowed) == beats and allowed.all(), f"{text}: outside the allowed ranges"
        return Burst(address, beats, self.now + self.latency())

    def response(self, address: int, kind: str) -> int:
        """Response code of one beat."""
        return next((code for low, high, what, code in self._faults if what == kind and low <= address < high), OKAY)

    def worst_response(self, burst: Burst) -> int:
        """Response code of a write burst."""
        return max(self.response(burst.address + BEAT_BYTES * n, "write") for n in range(burst.beats))

    def read_beat(self, address: int) -> int:
        """Beat at ``address``."""
        return int.from_bytes(self.memory[address - self.base :][:BEAT_BYTES].tobytes(), "little")

    def write_beat(self, address: int, data: int) -> None:
        """Store a beat at ``address``."""
        self.memory[address - self.base :][:BEAT_BYTES] = np.frombuffer(
            data.to_bytes(BEAT_BYTES, "little"), dtype=np.uint8
        )
