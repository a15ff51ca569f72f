# SPDX-License-Identifier: Apache-2.0
"""What the host does for each frame, timed, beside what the accelerator takes: ``codenet benchmark``.

The host's part is measured without an accelerator: photos are fitted and written into its input, lists of peaks
decoded, and whole streams run on a device that is done as soon as it is started. What bounds the frame rate is then the
slower of two.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL

from codenet.config import AcceleratorConfig
from codenet.devices import Device
from codenet.devices.golden import GoldenDevice
from codenet.fit import place
from codenet.isa import PEAK_DTYPE
from codenet.program import Program, array_cycles
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.detector import Detector, to_units
from codenet.runtime.frame import Outputs
from codenet.vision.boxes import decode
from codenet.vision.image import Source, prepare

CAMERAS = ((320, 240), (640, 480), (1280, 720))
"""Width and height."""

WORKERS = (0, 1, 2)

PEAKS = (1, 10, 100)

BLOCK = 6
"""Frames of a stream that are timed together: with workers they come in bursts."""


class InstantDevice(GoldenDevice):
    """An accelerator that takes no time: the golden model computes a memory's first frame, which is then the outcome
    of all others.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.name = "instant"
        self._known: dict[int, int] = {}

    def _run(self) -> None:
        base = self._values["BASE_ADDRESS"]
        if base not in self._known:
            super()._run()
            self._known[base] = self._values["PEAK_COUNT"]
        self._values["PEAK_COUNT"] = self._known[base]
        self._values["IRQ_STATUS"] = 1


@dataclass(frozen=True)
class PhotoTimes:
    """Milliseconds for one photo, medians: fitting it (a file: decoding too), writing the accelerator's input, and a
    frame of a stream by number of workers."""

    name: str
    stretch_ms: float
    write_ms: float
    frame_ms: dict[int, float]


@dataclass(frozen=True)
class Benchmark:
    """Attributes
    ----------
    decode_ms:
        Milliseconds from a list of peaks to detections, by their number.
    driver_ms:
        Milliseconds of register accesses and the like in a frame, on a device that answers at once.
    cycles, clock_hz:
        A frame of the accelerator.
    measured:
        The cycles were counted by ``device``; otherwise they are what the array needs if it never waits.
    device_frame_ms:
        Milliseconds of a frame of a stream on ``device``; ``None`` for one without a real clock.
    """

    machine: str
    versions: str
    program: str
    device: str
    photos: list[PhotoTimes]
    decode_ms: dict[int, float]
    driver_ms: float
    cycles: int
    clock_hz: float
    measured: bool
    device_frame_ms: float | None

    @property
    def accelerator_ms(self) -> float:
        """Milliseconds of a frame on the accelerator."""
        return 1e3 * self.cycles / self.clock_hz

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "accelerator_ms": self.accelerator_ms}

    def __str__(self) -> str:
        lines = [self.machine, self.versions, f"program {self.program}", ""]
        rows = [("milliseconds", "stretch", "write", *(f"frame, {n} workers" for n in WORKERS))]
        for photo in self.photos:
            times = (photo.stretch_ms, photo.write_ms, *photo.frame_ms.values())
            rows.append((photo.name, *(f"{ms:.2f}" for ms in times)))
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            lines.append("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
        peaks = ", ".join(f"{ms:.2f} ms for {n} peaks" for n, ms in self.decode_ms.items())
        how = f"counted by device {self.device}" if self.measured else "at least: if the array never waits"
        lines += [
            "",
            f"decode: {peaks}",
            f"driver: {self.driver_ms:.2f} ms a frame, of the register accesses of a device that answers at once",
            f"accelerator: {self.accelerator_ms:.2f} ms a frame ({self.cycles} cycles at {self.clock_hz / 1e6:g} MHz, "
            f"{how})",
        ]
        if self.device_frame_ms is not None:
            lines.append(
                f"stream on device {self.device}: {self.device_frame_ms:.2f} ms a frame, "
                f"{1e3 / self.device_frame_ms:.1f} a second"
            )
        for photo in self.photos:
            fastest = min(photo.frame_ms, key=lambda n: photo.frame_ms[n])
            host = photo.frame_ms[fastest]
            bound = "host" if host > self.accelerator_ms else "accelerator"
            lines.append(
                f"{photo.name}: at most {1e3 / max(host, self.accelerator_ms):.1f} frames a second, the {bound} is "
                f"slower (host {host:.2f} ms with {fastest} workers)"
            )
        return "\n".join(lines)


def measure(
    program: Program,
    device: Device,
    photos: Sequence[tuple[str, Source]],
    *,
    frames: int = 30,
    clock_hz: float = 150e6,
) -> Benchmark:
    """Time the host's part for each of ``photos`` (name, photo), and a frame of ``device``.

    Parameters
    ----------
    frames:
        Repetitions, of which the median counts.
    clock_hz:
        Of the accelerator, if the device does not know it.
    """
    with Detector(program, InstantDevice(program.config), threshold=0.5) as detector:
        times = [_photo(detector, name, photo, frames) for name, photo in photos]
        driver_ms = _median(lambda: _empty_frame(detector.accelerator), frames)
    capacity = program.peak_step.peak_capacity if program.peak_step is not None else 0
    counts = sorted({min(n, capacity) for n in (*PEAKS, capacity)})
    with Detector(program, device) as detector:
        detector(photos[0][1])
        cycles = detector.times.cycles
        real = device.clock_hz is not None  # A simulation's time on the wall tells nothing.
        stream_ms = _stream(detector, photos[0][1], frames, workers=1) if real else None
    return Benchmark(
        machine=f"{platform.machine()}, {os.cpu_count()} processor cores, {platform.system()} {platform.release()}",
        versions=f"Python {platform.python_version()}, NumPy {np.__version__}, Pillow {PIL.__version__}",
        program=f"{program.name}, {program.input.height}x{program.input.width}",
        device=device.name,
        photos=times,
        decode_ms={n: _decode(program, n, frames) for n in counts},
        driver_ms=driver_ms,
        cycles=cycles or sum(array_cycles(step) for step in program.descriptors),
        clock_hz=device.clock_hz or clock_hz,
        measured=cycles > 0,
        device_frame_ms=stream_ms,
    )


def cameras() -> list[tuple[str, Source]]:
    """Frames as cameras give them: RGB views, uint8 ``[height, width, 3]``, of blue, green and red in memory; with
    their names.
    """
    rng = np.random.default_rng(0)
    return [
        (f"camera {width}x{height}", rng.integers(0, 256, (height, width, 3), dtype=np.uint8)[..., ::-1])
        for width, height in CAMERAS
    ]


def peak_list(program: Program, count: int) -> Outputs:
    """Outputs with ``count`` peaks all over the heatmap, in memory that is zero otherwise."""
    rng = np.random.default_rng(count)
    heatmap = program.outputs["heatmap"]
    records = np.zeros(count, PEAK_DTYPE)
    records["x"] = rng.integers(0, heatmap.width, count)
    records["y"] = rng.integers(0, heatmap.height, count)
    records["channel"] = rng.choice(heatmap.index, count)
    records["value"] = rng.integers(-2000, 2000, count)
    return Outputs(records, count, 0, dict(program.outputs), np.zeros(program.memory_bytes, np.uint8))


def _photo(detector: Detector, name: str, photo: Source, frames: int) -> PhotoTimes:
    layout = detector.program.input
    small = prepare(photo, layout.height, layout.width, layout.fit)
    return PhotoTimes(
        name,
        _median(lambda: prepare(photo, layout.height, layout.width, layout.fit), frames),
        _median(lambda: small.write(detector.accelerator.pixels), frames),
        {workers: _stream(detector, photo, frames, workers) for workers in WORKERS},
    )


def _stream(detector: Detector, photo: Source, frames: int, workers: int) -> float:
    """Milliseconds a frame: the median of blocks of six, the first two frames left out."""
    means: list[float] = []
    # One photo more than is counted: while the last counted frame runs, another is prepared, as with all.
    with detector.stream([photo] * (3 + BLOCK * -(-frames // BLOCK)), workers=workers) as stream:
        next(stream), next(stream)
        while True:
            begin = time.perf_counter()
            if len(list(itertools.islice(stream, BLOCK))) < BLOCK:
                return 1e3 * statistics.median(means)
            means.append((time.perf_counter() - begin) / BLOCK)


def _empty_frame(accelerator: Accelerator) -> None:
    accelerator.start()
    accelerator.finish()


def _decode(program: Program, count: int, frames: int) -> float:
    outputs = peak_list(program, count)
    layout = program.input
    placement = place((480, 640), (layout.height, layout.width), layout.fit)
    return _median(lambda: decode(to_units(outputs), program.classes, placement), frames)


def _median(work: Callable[[], object], count: int) -> float:
    """Milliseconds of ``work``, after once for the caches."""
    work()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)
