# SPDX-License-Identifier: Apache-2.0
"""A device that stores what the driver writes, misbehaves on request, and a detector's program made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device, Parts
from codenet.isa import DESCRIPTOR_BYTES, PEAK_BYTES, PEAK_DTYPE, DepthwiseOp, Descriptor, ErrorCause
from codenet.program import InputLayout, PlacedTensor, Program
from codenet.registers import BY_NAME, IDENTITY, config_registers

BASE = 0x2000_0000


class FakeBuffer(Buffer):
    """Keeps what the host has not flushed apart from what the device sees, as a cache would."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.array = np.zeros(size, np.uint8)
        self.seen_by_device = np.zeros(size, np.uint8)
        self.closed = 0

    def flush(self, parts: Parts | None = None) -> None:
        for offset, size in self._parts(parts):
            self.seen_by_device[offset : offset + size] = self.array[offset : offset + size]

    def invalidate(self, parts: Parts | None = None) -> None:
        for offset, size in self._parts(parts):
            self.array[offset : offset + size] = self.seen_by_device[offset : offset + size]

    def _parts(self, parts: Parts | None) -> Parts:
        return [(0, self.array.size)] if parts is None else parts

    def close(self) -> None:
        self.closed += 1


class FakeDevice(Device):
    """Registers in a dictionary; ``compute(memory)`` is the frame, run at start on flushed memory.

    ``fail``: cause with which every program stops; ``silent``: never answers a start; ``stuck``: stays busy after a
    reset.
    """

    name = "fake"

    def __init__(self, config: AcceleratorConfig, compute: Callable[[np.ndarray], int] | None = None) -> None:
        self.registers = {"IDENTITY": IDENTITY, **config_registers(config)}
        self.compute = compute
        self.fail: ErrorCause | None = None
        self.fail_step = 0
        self.silent = False
        self.stuck = False
        self.writes: list[tuple[str, int]] = []
        self.buffers: list[FakeBuffer] = []
        self.closed = 0
        self._names = {register.offset: name for name, register in BY_NAME.items()}

    def read(self, offset: int) -> int:
        name = self._names[offset]
        value = self.registers.get(name, 0)
        if name == "PROFILE_DATA":
            value = 1000 + self.registers["PROFILE_INDEX"]
            self.registers["PROFILE_INDEX"] += 1
        return value

    def write(self, offset: int, value: int) -> None:
        name = self._names[offset]
        assert BY_NAME[name].access != "ro", f"write to read-only {name}"
        assert 0 <= value < 2**32
        self.writes.append((name, value))
        if name == "CONTROL":
            self._command(value)
        elif name == "IRQ_STATUS":
            self.registers[name] = self.registers.get(name, 0) & ~value
        else:
            self.registers[name] = value

    def _command(self, value: int) -> None:
        status = self.registers.get("STATUS", 0)
        if value & 2:
            self.registers["STATUS"] = int(self.stuck)
            return
        assert not status & 4, "start in the error state does nothing"
        if status & 1:
            return
        if self.silent:
            self.registers["STATUS"] = 1 | self.fail_step << 16
            return
        (buffer,) = [buffer for buffer in self.buffers if buffer.address == self.registers["BASE_ADDRESS"]]
        if self.fail is not None:
            self.registers["STATUS"] = 4 | self.fail << 8 | self.fail_step << 16
        else:
            self.registers["STATUS"] = 2
            if self.compute is not None:
                self.registers["PEAK_COUNT"] = self.compute(buffer.seen_by_device)
        self.registers["FRAME_CYCLES"], self.registers["FRAME_STEPS"] = 4321, 1
        self.registers["IRQ_STATUS"] = 1

    def allocate(self, size: int) -> FakeBuffer:
        self.buffers.append(FakeBuffer(BASE + 4096 * len(self.buffers), size))
        return self.buffers[-1]

    def close(self) -> None:
        self.closed += 1


HEIGHT, WIDTH = 3, 5
"""Of the outputs; the input is four times as large."""

PLANE = 256
"""Bytes of a plane of HEIGHT x WIDTH vectors, rounded up."""

CAPACITY = 4

HEATMAP, SIZE_AND_OFFSET, PEAKS = 2048, 2304, 2560


def detector_program(config: AcceleratorConfig | None = None, **changes) -> Program:
    """A peak step over a heatmap of 3 classes in swapped lanes; size and offset share a plane."""
    descriptor = Descriptor(
        last=1,
        depthwise_op=DepthwiseOp.PEAKS,
        reach=1,
        window_rows=3,
        input_planes=1,
        input_height=HEIGHT,
        input_width=WIDTH,
        output_height=HEIGHT,
        output_width=WIDTH,
        row_pitch=16 * WIDTH,
        window_row_stride=2,
        vectors=0,
        output_planes=0,
        output_pixels=HEIGHT * WIDTH,
        parameter_address=DESCRIPTOR_BYTES,
        parameter_beats=1,
        parameter_crc=0,
        peak_address=PEAKS,
        peak_capacity=CAPACITY,
        peak_threshold=-300,
    )

    def tensor(name: str, offset: int, index: list[int]) -> PlacedTensor:
        return PlacedTensor(
            name, HEIGHT, WIDTH, len(index), "int16", 2**-8, 0, 0, (offset,), np.array(index, np.int32), 0, 1
        )

    outputs = {
        "heatmap": tensor("hm", HEATMAP, [2, 0, 5]),
        "size": tensor("wh", SIZE_AND_OFFSET, [1, 0]),
        "offset": tensor("reg", SIZE_AND_OFFSET, [4, 6]),
    }
    values = {
        "name": "by hand",
        "config": config or AcceleratorConfig(),
        "descriptors": (descriptor,),
        "step_names": ("peaks",),
        "image": descriptor.encode(),
        "memory_bytes": PEAKS + PEAK_BYTES * CAPACITY + 128,
        "program_offset": 0,
        "input": InputLayout(256, 4 * (4 * WIDTH + 2), 4 * HEIGHT, 4 * WIDTH),
        "tensors": tuple(outputs.values()),
        "outputs": outputs,
        "classes": ("cat", "dog", "cow"),
        "graph_macs": 0,
        "step_macs": (0,),
    }
    return Program(**values | changes)


def write_outputs(peaks: list[tuple[int, int, int, int]], **lanes: int) -> Callable[[np.ndarray], int]:
    """A frame that finds ``peaks`` (x, y, lane, value) and fills lane n of the size and offset plane with
    ``lane_n``.
    """

    def compute(memory: np.ndarray) -> int:
        plane = memory[SIZE_AND_OFFSET : SIZE_AND_OFFSET + 16 * HEIGHT * WIDTH].view("<i2").reshape(HEIGHT, WIDTH, 8)
        for name, value in lanes.items():
            plane[..., int(name.removeprefix("lane_"))] = value + np.arange(WIDTH)
        records = np.array(peaks, dtype=PEAK_DTYPE)
        room = memory[PEAKS:].view(PEAK_DTYPE)[:CAPACITY]
        room[: len(records)] = records[:CAPACITY]
        return len(records)

    return compute
