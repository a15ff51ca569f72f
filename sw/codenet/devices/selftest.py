# SPDX-License-Identifier: Apache-2.0
"""Self-diagnosis: what is asked of a device before it is trusted with a network.

Each check looks at one thing and says in words what it found; ``codenet doctor`` prints them, and boards run them when
they are opened. The accelerator itself is used for what only it can see: it copies a pattern through memory, and counts
cycles while the host looks at the clock on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from codenet.config import VECTOR_BYTES, AcceleratorConfig
from codenet.devices import control
from codenet.devices.base import Buffer, Device
from codenet.devices.identity import check_device, check_identity, read_config
from codenet.errors import DeviceError
from codenet.isa import DESCRIPTOR_BYTES, ISA_VERSION, PLANE_ALIGNMENT, DepthwiseOp, Descriptor, ErrorCause
from codenet.isa.parameters import block_fields, pack_parameters
from codenet.program import Program
from codenet.registers import BY_NAME

SECONDS = 2.0
"""For the loop-back, which takes microseconds."""

WATCHDOG_CYCLES = 1 << 20

HEIGHT, WIDTH = 16, 32
"""Of the plane that is copied: 8 KiB."""

CLOCK_SECONDS = 0.05
"""How long cycles are counted: long against the time that a register access takes."""

CLOCK_TOLERANCE = 0.05

PATTERNS = (0x00000000, 0xFFFFFFFF, 0x55555555, 0xAAAAAAAA, 0x12345678, 0x80000001)

_HOLE = 0xA5
"""What the destination holds before the copy."""


@dataclass(frozen=True)
class Check:
    """``passed``: ``None`` if there was nothing to check here."""

    name: str
    passed: bool | None
    text: str

    def __str__(self) -> str:
        mark = {True: "ok", False: "FAILED", None: "-"}[self.passed]
        return f"{mark:6}  {self.name}: {self.text}"


def diagnose(device: Device, program: Program | None = None) -> Iterator[Check]:
    """All checks, in order; those that need one that failed are left out. The device is left idle, its memory released.

    ``program``: compare the configuration with what it was compiled for.
    """
    for name, check in _checks(device, program):
        try:
            passed, text = check()
        except DeviceError as error:
            yield Check(name, False, str(error))
            return
        yield Check(name, passed, text)
        if passed is False:
            return
    yield from (Check(name, None, text) for name, text in device.facts().items())


def require(device: Device, program: Program | None = None) -> None:
    """Raise what :func:`diagnose` finds wrong.

    Raises
    ------
    DeviceError
        With the name of the check that failed, and what it found.
    """
    for check in diagnose(device, program):
        if check.passed is False:
            raise DeviceError(f"device {device.name} failed its self-test: {check.name}: {check.text}")


_Result = tuple[bool | None, str]


def _checks(device: Device, program: Program | None) -> list[tuple[str, Callable[[], _Result]]]:
    return [
        ("identity", lambda: _identity(device)),
        ("register bus", lambda: _bus(device)),
        ("configuration", lambda: _configuration(device, program)),
        ("memory", lambda: _loop_back(device)),
        ("clock", lambda: _clock(device)),
    ]


def _identity(device: Device) -> _Result:
    check_identity(device)
    config = read_config(device)
    return True, f"a CoDeNet accelerator of version {ISA_VERSION} answers, {config.macs_per_cycle} multipliers"


def _bus(device: Device) -> _Result:
    offset = BY_NAME["SCRATCH"].offset
    for pattern in PATTERNS:
        device.write(offset, pattern)
        found = device.read(offset)
        if found != pattern:
            return (
                False,
                f"SCRATCH reads {found:#010x} after a write of {pattern:#010x}, bits {found ^ pattern:#010x} differ",
            )
    return True, f"{len(PATTERNS)} patterns written and read back"


def _configuration(device: Device, program: Program | None) -> _Result:
    config = read_config(device)
    if program is not None:
        check_device(device, program)
        return True, f"is the one that program {program.name!r} was compiled for"
    return True, ", ".join(f"{name}={value}" for name, value in config.to_dict().items())


def _loop_back(device: Device) -> _Result:
    config = read_config(device)
    image, source, target, size = copy_step(config, HEIGHT, WIDTH)
    pattern = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    buffer = device.allocate(len(image))
    try:
        buffer.array[: len(image)] = image
        buffer.array[source : source + size] = pattern
        buffer.array[target : target + size] = _HOLE
        buffer.flush()
        with running(device, buffer):
            device.wait(SECONDS)
            check_end(device, "the copy")
        buffer.invalidate()
        result = buffer.array[target : target + size].copy()
    finally:
        buffer.close()
    wrong = describe_difference(pattern, result)
    if wrong:
        return False, wrong
    return True, f"the accelerator read {size} bytes at {buffer.address:#x} and wrote them back as they were"


def copy_step(config: AcceleratorConfig, height: int, width: int) -> tuple[np.ndarray, int, int, int]:
    """A program of one step that copies a plane.

    Returns
    -------
    Its memory (uint8, from offset 0, the plane not filled in), offsets of source and target plane, and their size in
    bytes.
    """
    size = height * width * VECTOR_BYTES
    source = DESCRIPTOR_BYTES + PLANE_ALIGNMENT
    target = source + size + -size % PLANE_ALIGNMENT
    block = pack_parameters(np.array([source]), np.array([target]), np.zeros(0), np.zeros(0), np.zeros(0))
    return _image(plane_step(config, height, width), block, target + size), source, target, size


def idle_step(config: AcceleratorConfig, height: int, width: int) -> np.ndarray:
    """Memory of a program of one step that reads one row ``height`` times, finds no peak in it, and writes nothing."""
    source = DESCRIPTOR_BYTES + PLANE_ALIGNMENT
    block = pack_parameters(np.array([source]), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    step = plane_step(config, height, width, outputs=0, pitch=0)
    return _image(step, block, source + width * VECTOR_BYTES)


def _image(step: Descriptor, block: bytes, size: int) -> np.ndarray:
    """Memory of ``size`` bytes that begins with a step and, behind it, its parameters."""
    start = replace(step, **block_fields(DESCRIPTOR_BYTES, block)).encode() + block
    image = np.zeros(size, np.uint8)
    image[: len(start)] = np.frombuffer(start, np.uint8)
    return image


def plane_step(
    config: AcceleratorConfig, height: int, width: int, outputs: int = 1, pitch: int | None = None, upsample: int = 0
) -> Descriptor:
    """A program's only step, which reads one plane and writes it as it is, or finds no peak in it if it has no
    ``outputs``; its parameters have no place yet (:func:`codenet.isa.block_fields`). ``pitch``: bytes from row to
    row, by default no gap.
    """
    stride = -(-width // 3)
    return Descriptor(
        last=1,
        depthwise_op=DepthwiseOp.OFF if outputs else DepthwiseOp.PEAKS,
        reach=int(not outputs),
        upsample=upsample,
        window_rows=3 * min(-(-height // 3), config.window_depth // stride),
        input_planes=1,
        input_height=height,
        input_width=width,
        output_height=height,
        output_width=width,
        row_pitch=(width >> upsample) * VECTOR_BYTES if pitch is None else pitch,
        window_row_stride=stride,
        vectors=outputs,
        output_planes=outputs,
        block_log2=4 * outputs,
        output_pixels=height * width,
        parameter_address=0,
        parameter_beats=1 + outputs,
        parameter_crc=0,
        peak_threshold=32767,
    )


@contextmanager
def running(device: Device, buffer: Buffer) -> Iterator[None]:
    """The program in ``buffer``, running; reset at the end whatever happens, as it must not write to memory that is
    given back.
    """
    with device.turns.take(None):
        control.reset(device)
        control.configure(device, watchdog_cycles=WATCHDOG_CYCLES)
        control.start(device, buffer.address)
        try:
            yield
        finally:
            control.reset(device)


def check_end(device: Device, what: str) -> None:
    """Whether the program that ran, ``what`` for people, has ended as it should.

    Raises
    ------
    DeviceError
        It has not; with the cause that the accelerator gives.
    """
    register = BY_NAME["STATUS"]
    value = device.read(register.offset)
    if register.extract(value, "done"):
        return
    cause = register.extract(value, "cause")
    hints = {
        ErrorCause.DAMAGED: "the accelerator reads something else than the host wrote: the width of the AXI "
        "port of parameters, or the caches",
        ErrorCause.WATCHDOG: "memory does not answer: is the AXI port of the processor on?",
    }
    name = ErrorCause(cause).name if cause in ErrorCause.__members__.values() else f"unknown ({cause})"
    hint = (
        hints.get(ErrorCause(cause), "the address lies outside of memory")
        if cause in hints or cause in (2, 3, 4)
        else ""
    )
    raise DeviceError(f"{what} stopped: STATUS {value:#010x}, cause {name}" + (f"; {hint}" if hint else ""))


def describe_difference(expected: np.ndarray, found: np.ndarray) -> str:
    """In words how a copy (uint8 ``[N]``, N a multiple of 8) differs from what was copied; empty if it does not."""
    wrong = np.flatnonzero(expected != found)
    if not wrong.size:
        return ""
    first = int(wrong[0])
    text = (
        f"{wrong.size} of {expected.size} bytes differ, the first at {first} "
        f"({int(found[first]):#04x}, expected {int(expected[first]):#04x})"
    )
    if (found == _HOLE).all():
        return f"{text}: nothing arrived; writes, or the caches"
    halves = wrong.reshape(-1) % 8 // 4
    if (halves == halves[0]).all():
        return (
            f"{text}: only the {'upper' if halves[0] else 'lower'} half of each 64 bits is wrong: an AXI port of the "
            f"processor is 32 bits wide"
        )
    return text


def _clock(device: Device) -> _Result:
    if device.clock_hz is None:
        return None, "simulated, or none: there is nothing to compare"
    measured = measure_clock(device)
    nominal = device.clock_hz
    text = f"{measured / 1e6:.1f} MHz counted against the wall, set to {nominal / 1e6:.1f} MHz"
    return abs(measured - nominal) <= CLOCK_TOLERANCE * nominal, text


def measure_clock(device: Device, seconds: float = CLOCK_SECONDS) -> float:
    """Hz: cycles that the accelerator counts in about ``seconds`` on the wall, while it looks for peaks where none are.

    Raises
    ------
    DeviceError
        It doesn't count.
    """
    config = read_config(device)
    image = idle_step(config, 4095, min(4095, 3 * config.window_depth))
    buffer = device.allocate(len(image))
    try:
        buffer.array[: len(image)] = image
        buffer.flush()
        while True:
            with running(device, buffer):
                first, begin, _ = _counted(device)
                time.sleep(seconds)
                last, end, busy = _counted(device)
            if busy and last > first:
                return (last - first) / (end - begin)
            if busy or seconds < 1e-3:
                raise DeviceError(f"FRAME_CYCLES goes from {first} to {last} in {end - begin:.4f} s: it does not count")
            seconds /= 2  # A small accelerator is done sooner.
    finally:
        buffer.close()


def _counted(device: Device) -> tuple[int, float, int]:
    """Cycles of the running program, the time on the wall when they were read, and whether it still runs."""
    cycles, now = device.read(BY_NAME["FRAME_CYCLES"].offset), time.perf_counter()
    status = BY_NAME["STATUS"]
    return cycles, now, status.extract(device.read(status.offset), "busy")
