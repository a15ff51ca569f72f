"""The driver: runs a program on a device, frame by frame.

The same code drives the golden model, the simulated board and real boards; it knows registers and shared memory, nothing
else. Feature maps stay where the accelerator wrote them: only peaks, and what is asked for, are copied out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from codenet.devices.base import Buffer, Device
from codenet.errors import ConfigError, DeviceError, DeviceTimeout, FormatError
from codenet.isa import PEAK_BYTES, PEAK_DTYPE, ErrorCause
from codenet.program import PlacedTensor, Program
from codenet.registers import (
    BY_NAME,
    IDENTITY,
    PROFILE_WORDS,
    ProfileCounter,
    config_from_registers,
    config_registers,
)

WATCHDOG_CYCLES = 1 << 28
"""Cycles that one step may take: 1.8 s at 150 MHz, far more than any step of a real network."""

RESET_SECONDS = 2.0


@dataclass(frozen=True)
class StepProfile:
    """Counters of one step (:class:`codenet.registers.ProfileCounter`)."""

    index: int
    name: str
    counters: tuple[int, ...]

    def __getitem__(self, counter: ProfileCounter) -> int:
        return self.counters[counter]

    @property
    def cycles(self) -> int:
        """From the end of the step before to the end of this one."""
        return sum(self.counters[: ProfileCounter.READ_BEATS])


@dataclass(frozen=True)
class Outputs:
    """What a frame left in memory. Valid until the next :meth:`Accelerator.run` or :meth:`Accelerator.close`.

    Attributes
    ----------
    peaks:
        Copy of the peak records, :data:`codenet.isa.PEAK_DTYPE` ``[N]``, in the order in which they were found.
    peaks_found:
        More than N if the program's room for peaks was too small: the rest is lost.
    cycles:
        Clock cycles of the frame; 0 on devices without a clock.
    """

    peaks: np.ndarray
    peaks_found: int
    cycles: int
    tensors: dict[str, PlacedTensor]
    memory: np.ndarray

    def read(self, role: str) -> np.ndarray:
        """Whole output ``role``, int8 or int16 ``[H, W, C]``."""
        return self._tensor(role).read(self.memory)

    def at(self, role: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Output ``role`` at N pixels: int8 or int16 ``[N, C]``. ``y``, ``x``: integers ``[N]``."""
        return self._tensor(role).read_pixels(self.memory, y, x)

    def _tensor(self, role: str) -> PlacedTensor:
        if role not in self.tensors:
            raise FormatError(f"output {role!r}: the program has {', '.join(sorted(self.tensors)) or 'none'}")
        return self.tensors[role]


class Accelerator:
    """A program, loaded into the memory of a device.

    Parameters
    ----------
    device:
        An open device. It stays the caller's: :meth:`close` releases the memory, not the device.
    program:
        Compiled for the device's configuration.
    timeout:
        Seconds that a frame may take (on simulated devices: seconds of simulated time).
    watchdog_cycles:
        Cycles after which a step that doesn't end is an error; 0: never.

    Raises
    ------
    DeviceError
        The device doesn't answer as an accelerator, has another version, or another configuration than the program was
        compiled for.
    """

    def __init__(
        self,
        device: Device,
        program: Program,
        *,
        timeout: float = 10.0,
        watchdog_cycles: int = WATCHDOG_CYCLES,
    ) -> None:
        self.device = device
        self.program = program
        self.timeout = timeout
        self._buffer: Buffer | None = None
        self._finished = False
        check_device(device, program)
        self.reset()
        self._buffer = device.allocate(program.memory_bytes)
        self.memory[: len(program.image)] = np.frombuffer(program.image, dtype=np.uint8)
        self._write("BASE_ADDRESS", self._buffer.address)
        self._write("PROGRAM_OFFSET", program.program_offset)
        self._write("WATCHDOG", watchdog_cycles)
        self._write("IRQ_ENABLE", 1)

    @property
    def memory(self) -> np.ndarray:
        """The program's memory, uint8 ``[memory_bytes]``, shared with the device."""
        if self._buffer is None:
            raise DeviceError(f"device {self.device.name}: the accelerator is closed")
        view: np.ndarray = self._buffer.array[: self.program.memory_bytes]
        return view

    def run(
        self,
        image: np.ndarray,
        threshold: int | float | None = None,
        *,
        on_step: Callable[[int], None] | None = None,
    ) -> Outputs:
        """Run one frame.

        Parameters
        ----------
        image:
            int8 ``[H, W, 3]`` of the program's input size (:func:`codenet.image.to_activation`).
        threshold:
            Of the peaks: an integer heatmap value, or a score (float) between 0 and 1; by default the program's own.
        on_step:
            Called with the index of each step right after its end, before the next one can overwrite memory. Only
            devices with an ``on_step`` attribute can.

        Raises
        ------
        FormatError, GraphError
            Image or threshold are not as described.
        DeviceTimeout
            The device didn't finish in time.
        DeviceError
            The program stopped with an error. After this, and after a timeout, the device has been reset and can run again.
        """
        self._finished = False
        self._load_frame(image, threshold)
        self._start_and_wait(on_step)
        self._check_status()
        assert self._buffer is not None
        self._buffer.invalidate()
        self._finished = True
        peaks, found = self._read_peaks()
        return Outputs(peaks, found, self._read("FRAME_CYCLES"), dict(self.program.outputs), self.memory)

    def tensor(self, name: str) -> np.ndarray:
        """Tensor ``name`` of the graph, int8 or int16 ``[H, W, C]``, as it lies in memory now.

        After a frame the tensors that nothing overwrites are left (the outputs always); in ``on_step``, those that later
        steps still read too.

        Raises
        ------
        FormatError
            The program has no such tensor, or its memory may have been used again.
        """
        tensor = next((t for t in self.program.tensors if t.name == name), None)
        if tensor is None:
            raise FormatError(f"tensor {name!r}: program {self.program.name!r} keeps none of this name in memory")
        steps = len(self.program.descriptors)
        if self._finished and tensor.live_until < steps - 1:
            raise FormatError(
                f"tensor {name!r}: step {tensor.live_until} of {steps} was the last to read it, its memory may have been used "
                f"again; read it in on_step"
            )
        return tensor.read(self.memory)

    def profile(self) -> list[StepProfile]:
        """Counters of each step of the last frame, as far as the device keeps them (``profile_depth`` steps)."""
        steps = min(len(self.program.descriptors), self.program.config.profile_depth)
        self._write("PROFILE_INDEX", 0)
        words = [self._read("PROFILE_DATA") for _ in range(steps * PROFILE_WORDS)]
        return [
            StepProfile(n, self.program.step_names[n], tuple(words[n * PROFILE_WORDS : (n + 1) * PROFILE_WORDS]))
            for n in range(steps)
        ]

    def reset(self) -> None:
        """Stop whatever runs and return to idle.

        Raises
        ------
        DeviceError
            The device stays busy.
        """
        self._write("CONTROL", 1 << BY_NAME["CONTROL"].field("reset").shift)
        status = BY_NAME["STATUS"]
        deadline = time.monotonic() + RESET_SECONDS
        while status.extract(value := self._read("STATUS"), "busy"):
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"device {self.device.name}: still busy {RESET_SECONDS} s after a reset (STATUS {value:#010x})"
                )
        self._write("IRQ_STATUS", 1)

    def close(self) -> None:
        """Release the memory. Calling it twice does no harm."""
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, register: str) -> int:
        return self.device.read(BY_NAME[register].offset)

    def _write(self, register: str, value: int) -> None:
        self.device.write(BY_NAME[register].offset, value)

    def _load_frame(self, image: np.ndarray, threshold: int | float | None) -> None:
        layout = self.program.input
        expected = (layout.height, layout.width, 3)
        if image.dtype != np.int8 or image.shape != expected:
            raise FormatError(f"image of {image.dtype} {list(image.shape)}: expected int8 {list(expected)}")
        memory = self.memory
        layout.write(memory, image)
        peak_step = self.program.peak_step
        if peak_step is not None:
            value = peak_step.peak_threshold if threshold is None else self._integer_threshold(threshold)
            self.program.patch_threshold(memory, value)
        assert self._buffer is not None
        self._buffer.flush()

    def _integer_threshold(self, threshold: int | float) -> int:
        if not isinstance(threshold, int | np.integer):
            return self.program.threshold_for(float(threshold))
        if not -32768 <= threshold <= 32767:
            raise FormatError(f"threshold {threshold}: expected an int16, or a score between 0.0 and 1.0")
        return int(threshold)

    def _start_and_wait(self, on_step: Callable[[int], None] | None) -> None:
        if on_step is not None and not hasattr(self.device, "on_step"):
            raise DeviceError(f"device {self.device.name}: cannot stop after each step")
        self._write("IRQ_STATUS", 1)
        if on_step is not None:

            def hook(step: int) -> None:
                if self._buffer is not None:
                    self._buffer.invalidate()
                on_step(step)

            self.device.on_step = hook  # type: ignore[attr-defined]
        try:
            self._write("CONTROL", 1 << BY_NAME["CONTROL"].field("start").shift)
            self.device.wait(self.timeout)
        except DeviceTimeout as error:
            message = f"device {self.device.name}: no end of program {self.program.name!r} within {self.timeout} s"
            state = self._state()
            self.reset()
            raise DeviceTimeout(f"{message}: {state}") from error
        except DeviceError:
            self.reset()
            raise
        finally:
            if on_step is not None:
                self.device.on_step = None  # type: ignore[attr-defined]

    def _check_status(self) -> None:
        status = BY_NAME["STATUS"]
        value = self._read("STATUS")
        self._write("IRQ_STATUS", 1)
        if status.extract(value, "done") and not status.extract(value, "error"):
            return
        state = self._state()
        self.reset()
        raise DeviceError(f"device {self.device.name}: program {self.program.name!r} stopped: {state}")

    def _state(self) -> str:
        """Status, step, cause and counters for an error message."""
        status = BY_NAME["STATUS"]
        value = self._read("STATUS")
        step, cause = status.extract(value, "step"), status.extract(value, "cause")
        names = self.program.step_names
        name = f" {names[step]!r}" if step < len(names) else ""
        known = ErrorCause(cause).name if cause in ErrorCause.__members__.values() else f"unknown ({cause})"
        return (
            f"STATUS {value:#010x}, step {step}{name} of {len(names)}, cause {known}, "
            f"{self._read('FRAME_STEPS')} steps finished, {self._read('FRAME_CYCLES')} cycles"
        )

    def _read_peaks(self) -> tuple[np.ndarray, int]:
        step = self.program.peak_step
        if step is None:
            return np.empty(0, dtype=PEAK_DTYPE), 0
        found = self._read("PEAK_COUNT")
        kept = min(found, step.peak_capacity)
        records = self.memory[step.peak_address : step.peak_address + PEAK_BYTES * kept]
        return records.view(PEAK_DTYPE).copy(), found


def check_device(device: Device, program: Program) -> None:
    """Compare a device's identity, version and configuration with what the program was compiled for.

    Raises
    ------
    DeviceError
        They differ; the message names both.
    """
    identity = device.read(BY_NAME["IDENTITY"].offset)
    if identity != IDENTITY:
        raise DeviceError(
            f"device {device.name}: IDENTITY reads {identity:#010x}, expected {IDENTITY:#010x}; no CoDeNet accelerator answers"
        )
    expected = config_registers(program.config)
    words = {name: device.read(BY_NAME[name].offset) for name in expected}
    if words["VERSION"] != expected["VERSION"]:
        raise DeviceError(
            f"device {device.name}: version {words['VERSION']}, but program {program.name!r} is of version "
            f"{expected['VERSION']}"
        )
    if words == expected:
        return
    try:
        found = config_from_registers(words).to_dict()
    except ConfigError as error:
        raise DeviceError(f"device {device.name}: its configuration registers make no sense ({error})") from error
    wanted = program.config.to_dict()
    differing = [name for name in wanted if found[name] != wanted[name]]
    if not differing:  # The lanes: a constant, not part of the configuration.
        raise DeviceError(
            f"device {device.name}: CONFIG0 {words['CONFIG0']:#010x}, expected {expected['CONFIG0']:#010x}"
        )
    raise DeviceError(
        f"device {device.name}: configuration {_values(found, differing)}, but program {program.name!r} was compiled for "
        f"{_values(wanted, differing)}"
    )


def _values(config: dict[str, int], names: list[str]) -> str:
    return ", ".join(f"{name}={config[name]}" for name in names)
