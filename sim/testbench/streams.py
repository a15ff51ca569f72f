# SPDX-License-Identifier: Apache-2.0
"""Clock, reset and streams of a component under cocotb, and payloads as integers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import Const
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


async def reset(dut: Any, **inputs: int) -> None:
    """Start a 10 ns clock, set all ``inputs``, and hold reset for two cycles. Returns behind a falling edge."""
    dut.rst.value = 1
    for name, value in inputs.items():
        getattr(dut, name).value = value
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await FallingEdge(dut.clk)


async def cycles(dut: Any, count: int = 1) -> None:
    """Wait; ends behind a falling edge, where inputs may be changed and outputs read for the rising edge to come."""
    for _ in range(count):
        await FallingEdge(dut.clk)


def pauses(rng: random.Random, probability: float) -> Iterator[bool]:
    """Endless random pauses; some last long."""
    while True:
        if rng.random() < probability:
            for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
                yield True
        else:
            yield False


class Source:
    """Drives a stream (``NAME_valid``, ``NAME_payload``, ``NAME_ready``) with items in order, pausing at random.

    Inputs change behind falling edges; ``valid`` stays until the item is taken.
    """

    def __init__(self, dut: Any, name: str, pause: Iterable[bool] = ()):
        self.dut = dut
        self.valid, self.payload, self.ready = (getattr(dut, f"{name}_{end}") for end in ("valid", "payload", "ready"))
        self.pause = iter(pause)
        self.valid.value = 0

    async def send(self, items: Iterable[int]) -> None:
        """Returns when the last item is taken, behind a falling edge."""
        for item in items:
            while next(self.pause, False):
                await FallingEdge(self.dut.clk)
            self.valid.value = 1
            self.payload.value = item
            while True:
                await RisingEdge(self.dut.clk)
                taken = int(self.ready.value)
                await FallingEdge(self.dut.clk)
                if taken:
                    break
            self.valid.value = 0


class Sink:
    """Takes a stream into ``items``, stalling at random; checks that a waiting item neither changes nor disappears.

    ``convert`` makes an item of the payload's integer.
    """

    def __init__(self, dut: Any, name: str, pause: Iterable[bool] = (), convert: Callable[[int], Any] = int):
        self.items: list[Any] = []
        self.dut, self.name = dut, name
        self.valid, self.payload, self.ready = (getattr(dut, f"{name}_{end}") for end in ("valid", "payload", "ready"))
        self.pause = iter(pause)
        self.convert = convert
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        waiting: int | None = None
        while True:
            ready = int(not next(self.pause, False))
            self.ready.value = ready
            await RisingEdge(self.dut.clk)
            valid = int(self.valid.value)
            payload = int(self.payload.value) if valid else None
            assert waiting is None or payload == waiting, f"{self.name}: payload changed while waiting"
            waiting = payload if not ready else None
            if valid and ready:
                self.items.append(self.convert(int(payload or 0)))
            await FallingEdge(self.dut.clk)

    async def expect(self, count: int, timeout: int = 100_000) -> list[Any]:
        """Wait for ``count`` items, and a while longer for surplus ones."""
        for _ in range(timeout):
            if len(self.items) >= count:
                break
            await FallingEdge(self.dut.clk)
        assert len(self.items) >= count, f"{self.name}: {len(self.items)} of {count} items after {timeout} cycles"
        await cycles(self.dut, 100)
        assert len(self.items) == count, f"{self.name}: {len(self.items)} items: expected {count}"
        return self.items


def pack(layout: data.Layout, **fields: Any) -> int:
    """Integer of a layout's value; fields that are not named are 0."""
    return int(Const.cast(layout.const(fields)).value) & ((1 << layout.size) - 1)


def to_int(array: np.ndarray) -> int:
    """Little-endian integer of an array's bytes."""
    return int.from_bytes(np.ascontiguousarray(array).tobytes(), "little")


def from_int(value: int, dtype: Any, count: int) -> np.ndarray:
    """Inverse of :func:`to_int`."""
    return np.frombuffer(value.to_bytes(count * np.dtype(dtype).itemsize, "little"), dtype).copy()
