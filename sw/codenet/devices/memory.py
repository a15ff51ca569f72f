# SPDX-License-Identifier: Apache-2.0
"""The memory behind an accelerator, measured by the accelerator itself: latency of single bursts, and bytes a cycle.

Steps that do nothing but read, copy or fetch parameters run alone, and the profiler's counters of beats and cycles say
what the memory did. What they cannot tell apart is told as one figure: refresh and other pauses lower the bytes a
cycle, and a limit of bursts in flight, of which a port of the accelerator has eight, may be its own or the memory's.
Nor can a step write without reading: the one that writes most reads a beat for four that it writes. Where bursts in
flight or the ports are the limit, what the memory could do beyond them is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codenet.config import BEAT_BYTES, CHUNK, VECTOR_BYTES, AcceleratorConfig
from codenet.devices import selftest
from codenet.devices.base import Device
from codenet.devices.identity import read_config
from codenet.errors import DeviceError
from codenet.isa import DESCRIPTOR_BYTES, PLANE_ALIGNMENT, Descriptor, block_fields
from codenet.registers import BY_NAME, PROFILE_WORDS, ProfileCounter

FETCH_CYCLES = 52
"""From the start of a program to that of its first step, without two latencies and the beats of its parameters: 16
beats of the descriptor, and the pipeline around them.
"""

ROUND_TRIP_CYCLES = 8
"""From the last beat of a burst to the first of the one that takes its place, without latency."""

REPETITIONS = 5
"""Of a single burst, of which the fastest counts: it met no refresh."""

BURSTS = (2, 4, 8, 16)
"""Beats."""

WIDTH = 48
"""Pixels of the planes that are not cut into bursts."""

MODEL = {"latency": 60, "outstanding": 8, "bytes_per_cycle": 10, "refresh_interval": 1170, "refresh_cycles": 40}
"""What all predictions assume of a board's memory: the defaults of :class:`sim.timing.DramTiming`."""

MODEL_CLOCK_HZ = 150e6
"""Clock that the cycles of :data:`MODEL` are of, and that cycles of simulations stand for."""

STEPS_BOUND = 6.5
"""Cycles in which the array takes a row of one pixel, whatever the memory does."""

PORT_LIMIT = 0.95
"""Share of a beat a cycle and channel from which the accelerator's ports are the limit, not the memory."""


@dataclass(frozen=True)
class Traffic:
    """What a step moved in how many cycles; ``channels`` that move a beat a cycle at most."""

    name: str
    read_beats: int
    write_beats: int
    cycles: int
    channels: int

    @property
    def bytes_per_cycle(self) -> float:
        """Of both directions."""
        return BEAT_BYTES * (self.read_beats + self.write_beats) / self.cycles

    @property
    def at_port_limit(self) -> bool:
        """Whether the memory could do more."""
        return self.bytes_per_cycle >= PORT_LIMIT * BEAT_BYTES * self.channels


@dataclass(frozen=True)
class MemoryMeasurement:
    """Figures of a memory, in cycles of the accelerator's clock.

    Attributes
    ----------
    latency:
        Cycles from the address of a single burst to its first beat.
    in_flight:
        Bursts of two beats that a port reads at the same time; ``None``: as many as the accelerator asks for.
    traffic:
        Of each kind of step.
    clock_hz:
        ``None`` where time is simulated.
    """

    latency: int
    in_flight: int | None
    traffic: tuple[Traffic, ...]
    clock_hz: float | None

    @property
    def fastest(self) -> Traffic:
        """That with the most bytes a cycle."""
        return max(self.traffic, key=lambda traffic: traffic.bytes_per_cycle)

    def timing(self) -> dict[str, Any]:
        """For ``codenet plan --timing``: fields of :class:`sim.timing.DramTiming`, and the clock.

        Bytes a cycle are the next whole number; a pause in each refresh interval of the model makes up the difference.
        """
        rate = self.fastest.bytes_per_cycle
        whole = max(1, math.ceil(rate - 0.05))
        pause = max(0, round(MODEL["refresh_interval"] * (1 - rate / whole)))
        return {
            "clock_hz": self.clock_hz,
            "latency": self.latency,
            "outstanding": self.in_flight or MODEL["outstanding"],
            "bytes_per_cycle": whole,
            "refresh_interval": MODEL["refresh_interval"],
            "refresh_cycles": pause,
        }


def measure(device: Device) -> MemoryMeasurement:
    """Run the steps; the device is left idle, its memory released.

    Raises
    ------
    DeviceError
        It has no counters of cycles, or a step does not end.
    """
    config = read_config(device)
    small = selftest.plane_step(config, 1, 1)
    waits = [_run(device, "latency", [small])[0][ProfileCounter.WAIT_PARAMETERS] for _ in range(REPETITIONS)]
    if not min(waits):
        raise DeviceError(f"device {device.name}: counts no cycles: its memory cannot be measured")
    latency = max(0, round((min(waits) - FETCH_CYCLES - small.parameter_beats) / 2))
    traffic = tuple(_traffic(device, config))
    per_burst = BURSTS[0] * traffic[0].cycles / max(1, traffic[0].read_beats)
    in_flight = max(1, int((latency + ROUND_TRIP_CYCLES + BURSTS[0]) / per_burst)) if per_burst > STEPS_BOUND else None
    return MemoryMeasurement(latency, in_flight, traffic, device.clock_hz)


def table(measurement: MemoryMeasurement) -> str:
    """The measurement beside the model, for people."""
    clock = measurement.clock_hz or MODEL_CLOCK_HZ
    lines = [f"{'memory':40}{'bytes a cycle':>14}{'MB/s':>8}"]
    for traffic in measurement.traffic:
        rate = traffic.bytes_per_cycle
        limit = "  the port's limit" if traffic.at_port_limit else ""
        lines.append(f"{traffic.name:40}{rate:14.2f}{rate * clock / 1e6:8.0f}{limit}")
    pauses = MODEL["refresh_cycles"] / MODEL["refresh_interval"]
    model = MODEL["bytes_per_cycle"] * (1 - pauses) * MODEL_CLOCK_HZ
    found = measurement.fastest.bytes_per_cycle * clock
    latency, assumed = measurement.latency / clock, MODEL["latency"] / MODEL_CLOCK_HZ
    flight = f"{measurement.in_flight}" if measurement.in_flight else "all that are asked for"
    return "\n".join(
        [
            *lines,
            f"{'':40}{'measured':>14}{'model':>14}",
            f"{'latency of a burst':40}{latency * 1e9:11.0f} ns{assumed * 1e9:11.0f} ns",
            f"{'all ports together':40}{found / 1e6:9.0f} MB/s{model / 1e6:9.0f} MB/s",
            f"{'bursts in flight on a port':40}{flight:>14}{MODEL['outstanding']:14}",
        ]
    )


def _traffic(device: Device, config: AcceleratorConfig) -> Iterator[Traffic]:
    for beats in BURSTS:
        width = beats * BEAT_BYTES // VECTOR_BYTES
        part, whole = (selftest.plane_step(config, rows, width, 0, 2 * PLANE_ALIGNMENT) for rows in (128, 384))
        yield _marginal(f"read, bursts of {beats} beats", 1, device, [part], [whole])
    for name, channels, outputs, upsample in (
        ("read, whole rows", 1, 0, 0),
        ("write, and a quarter of it read", 2, 1, 1),
        ("copy", 2, 1, 0),
    ):
        part, whole = (selftest.plane_step(config, rows, WIDTH, outputs, upsample=upsample) for rows in (48, 144))
        yield _marginal(name, channels, device, [part], [whole])
    fetch = _parameters(config)
    counters = _run(device, "parameters", [selftest.plane_step(config, 1, 1), fetch])[1]
    yield Traffic("parameters", fetch.parameter_beats, 0, counters[ProfileCounter.WAIT_PARAMETERS], 1)
    less, more = (
        [selftest.plane_step(config, max(1, step.parameter_beats * BEAT_BYTES // (WIDTH * VECTOR_BYTES)), WIDTH), step]
        for step in (_parameters(config, 2), fetch)
    )
    yield _marginal("copy and parameters, on both ports", 3, device, less, more)


def _marginal(
    name: str, channels: int, device: Device, less: Sequence[Descriptor], more: Sequence[Descriptor]
) -> Traffic:
    """What the first step of ``more`` moves beyond that of ``less``: without beginning and end, which are alike."""
    parts = [_run(device, name, steps)[0] for steps in (less, more)]
    (few, short), (many, long) = (
        (
            part[ProfileCounter.READ_BEATS :],
            sum(part[: ProfileCounter.READ_BEATS]) - part[ProfileCounter.WAIT_PARAMETERS],
        )
        for part in parts
    )
    read, written = (after - before for before, after in zip(few, many, strict=True))
    return Traffic(name, read, written, max(1, long - short), channels)


def _parameters(config: AcceleratorConfig, share: int = 1) -> Descriptor:
    """A step of one pixel with as many weights as a step may have, or a ``share``-th of them."""
    most = min(config.vector_depth // 2, config.plane_depth, config.window_depth)
    groups = max(1, min(config.weight_depth // 2 // most, config.chunk_depth * CHUNK // config.outputs))
    vectors = most // share
    chunks = groups * config.outputs // CHUNK & ~1
    planes = chunks // 2
    return Descriptor(
        pointwise=1,
        window_rows=3,
        input_planes=vectors,
        input_height=1,
        input_width=1,
        output_height=1,
        output_width=1,
        row_pitch=VECTOR_BYTES,
        window_row_stride=vectors,
        vectors=vectors,
        groups=-(-CHUNK * chunks // config.outputs),
        chunks=chunks,
        output_planes=planes,
        block_log2=0,
        output_pixels=1,
        parameter_address=0,
        parameter_beats=vectors + planes + CHUNK * chunks + groups * vectors * config.outputs,
        parameter_crc=0,
    )


def _run(device: Device, name: str, steps: Sequence[Descriptor]) -> list[list[int]]:
    """Counters of each step of a program, ``name`` for people, whose planes all lie in one place."""
    blocks = [np.frombuffer(_block(step), np.uint8) for step in steps]
    offsets = np.cumsum([DESCRIPTOR_BYTES * len(steps), *(_aligned(block.size) for block in blocks)])
    plane = int(offsets[-1])
    room = max(step.input_height * max(step.row_pitch, step.input_width * VECTOR_BYTES) for step in steps)
    buffer = device.allocate(plane + 2 * _aligned(room))
    try:
        for number, (step, block, offset) in enumerate(zip(steps, blocks, offsets, strict=False)):
            tables = block.view(np.uint64).copy()
            tables[: step.input_planes] = plane
            tables[step.input_planes : step.input_planes + step.output_planes] = plane + _aligned(room)
            buffer.array[offset : offset + block.size] = block = tables.view(np.uint8)
            start = number * DESCRIPTOR_BYTES
            whole = replace(step, last=int(number == len(steps) - 1), **block_fields(int(offset), block))
            buffer.array[start : start + DESCRIPTOR_BYTES] = np.frombuffer(whole.encode(), np.uint8)
        buffer.flush()
        with selftest.running(device, buffer):
            device.wait(selftest.SECONDS)
            selftest.check_end(device, f"step {name!r}")
            return _counters(device, len(steps))
    finally:
        buffer.close()


def _block(step: Descriptor) -> bytes:
    """Parameters of a step, tables left out, weights and requantization 0."""
    return bytes(BEAT_BYTES * step.parameter_beats)


def _aligned(size: int) -> int:
    return size + -size % PLANE_ALIGNMENT


def _counters(device: Device, steps: int) -> list[list[int]]:
    device.write(BY_NAME["PROFILE_INDEX"].offset, 0)
    data = BY_NAME["PROFILE_DATA"].offset
    return [[device.read(data) for _ in range(PROFILE_WORDS)] for _ in range(steps)]
