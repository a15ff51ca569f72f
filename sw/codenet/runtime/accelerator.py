# SPDX-License-Identifier: Apache-2.0
"""The driver: runs a program on a device, frame by frame.

The same code drives the golden model, the simulated board and real boards; it knows registers and shared memory,
nothing else. Feature maps stay where the accelerator wrote them: only peaks, and what is asked for, are copied out.

A frame is :meth:`Accelerator.run`; or, with ``frames=2``, the next one is prepared, and the last one's outputs are
read, while one runs::

    accelerator.pixels[..., :3] = ...   # into the input itself
    accelerator.start()
    accelerator.pixels[..., :3] = ...   # the next frame's
    outputs = accelerator.finish()
    accelerator.start()                 # and now there is time to decode

Several accelerators, in one thread or in many, may share an open device: they take turns, frame by frame
(:class:`codenet.devices.control.Turns`). One accelerator is for one thread at a time, which :attr:`Accelerator.claim`
sees to.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import numpy as np

from codenet.devices import control
from codenet.devices.base import Device
from codenet.devices.identity import check_device
from codenet.errors import DeviceError, DeviceTimeout, FormatError
from codenet.program import Program
from codenet.registers import BY_NAME, PROFILE_WORDS
from codenet.runtime.claim import Claim
from codenet.runtime.frame import FrameMemory, Outputs
from codenet.runtime.profile import StepProfile

__all__ = ["Accelerator", "StepProfile"]

WATCHDOG_CYCLES = 1 << 28
"""Cycles that one step may take: 1.8 s at 150 MHz, far more than any step of a real network."""


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
    frames:
        Copies of the program's memory: 1, or 2 to prepare a frame while another runs.

    Attributes
    ----------
    claim:
        Who has its inputs and frames, for streams and the like.

    Raises
    ------
    DeviceError
        The device doesn't answer as an accelerator, has another version, or another configuration than the program was
        compiled for, or not the memory for it.
    """

    def __init__(
        self,
        device: Device,
        program: Program,
        *,
        timeout: float = 10.0,
        watchdog_cycles: int = WATCHDOG_CYCLES,
        frames: int = 1,
    ) -> None:
        self.device = device
        self.program = program
        self.timeout = timeout
        self._frames: list[FrameMemory] = []
        self._next = 0
        self._running: FrameMemory | None = None
        self._outcome: Outputs | Exception | None = None
        self._last: FrameMemory | None = None
        self._finished = self._abandoned = False
        self._watchdog_cycles = watchdog_cycles
        self.claim = Claim(f"device {device.name}: {self}")
        check_device(device, program)
        try:
            with device.turns.take(self):
                self._reset()
                self._configure()
            for _ in range(frames):
                self._frames.append(FrameMemory(device, program))
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"program {self.program.name!r}"

    def _configure(self) -> None:
        control.configure(
            self.device, program_offset=self.program.program_offset, watchdog_cycles=self._watchdog_cycles
        )

    @property
    def memory(self) -> np.ndarray:
        """Memory of the last frame that was started, uint8 ``[memory_bytes]``, shared with the device."""
        return (self._last or self._next_frame()).memory

    @property
    def pixels(self) -> np.ndarray:
        """Input of the next frame, to write into: uint8 ``[H, W, 4]``, red, green and blue as ``pixel ^ 0x80``, the
        fourth counts for nothing.

        Raises
        ------
        DeviceError
            There is no memory for another frame: one runs, and the accelerator was opened with ``frames=1``.
        """
        frame = self._next_frame()
        if frame is self._running:
            raise DeviceError(
                f"device {self.device.name}: a frame runs; finish it, or open the accelerator with frames=2"
            )
        return frame.pixels

    @property
    def running(self) -> bool:
        """A frame has been started and not finished."""
        return self._running is not None

    def run(
        self,
        image: np.ndarray,
        threshold: int | None = None,
        *,
        score: float | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Outputs:
        """Run one frame: :meth:`start` and :meth:`finish`.

        Parameters
        ----------
        image:
            int8 ``[H, W, 3]`` of the program's input size (:func:`codenet.vision.image.to_activation`).
        threshold, score:
            Smallest peak that counts, as a heatmap's integer, or as a score between 0 and 1; by default the program's
            own.
        on_step:
            Called with the index of each step right after its end, before the next one can overwrite memory; for
            devices that report steps (``reports_steps`` of :class:`codenet.devices.Device`).

        Raises
        ------
        FormatError, GraphError
            Image or threshold are not as described.
        DeviceTimeout
            The device didn't finish in time.
        DeviceError
            The program stopped with an error. After this, and after a timeout, the device has been reset and can run
            again.
        """
        layout = self.program.input
        expected = (layout.height, layout.width, 3)
        if image.dtype != np.int8 or image.shape != expected:
            raise FormatError(f"image of {image.dtype} {list(image.shape)}: expected int8 {list(expected)}")
        self.pixels[..., :3] = image.view(np.uint8)
        self.start(threshold, score=score, on_step=on_step)
        return self.finish()

    def start(
        self,
        threshold: int | None = None,
        *,
        score: float | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> None:
        """Start the frame whose input is in :attr:`pixels`, once another program's frame on the device has ended.

        Raises
        ------
        GraphError, FormatError
            The threshold is not as :meth:`run` wants it.
        DeviceError
            Another frame of this accelerator runs, the device cannot report steps, or it failed.
        """
        if self._abandoned:
            self.stop()
        if self._running is not None:
            raise DeviceError(f"device {self.device.name}: a frame of {self} runs already; finish it first")
        if on_step is not None and not self.device.reports_steps:
            raise DeviceError(f"device {self.device.name}: cannot stop after each step")
        frame = self._next_frame()
        frame.set_threshold(threshold, score)
        frame.flush()
        with self.device.turns.take(self) as new:
            if new or self.device.turns.reset_failed:
                # Another's program may have left anything; what was stuck may have been switched off and on.
                self._reset()
                self._configure()
            self._finished = False
            self._running = self._last = frame
            self._outcome = None
            self._next = (self._next + 1) % len(self._frames)
            try:
                self.device.on_step = None if on_step is None else self._hook(on_step)
                control.start(self.device, frame.buffer.address)
            except BaseException:
                self._running = self.device.on_step = None
                raise

    def finish(self) -> Outputs:
        """Wait for the frame that was started.

        Raises
        ------
        DeviceError, DeviceTimeout
            As of :meth:`run`; or no frame runs.
        """
        if self._outcome is None:
            with self.device.turns:
                if self._running is None:
                    raise DeviceError(f"device {self.device.name}: no frame runs; start one first")
                try:
                    self.settle()
                except BaseException:
                    self._running = self._outcome = None
                    raise
        outcome, self._outcome, self._running = self._outcome, None, None
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        self._finished = True
        return outcome

    def settle(self) -> None:
        """Wait for the frame that runs, if one does, and keep what it gave, or its error, for :meth:`finish`.

        For those who take the device next (:class:`codenet.devices.control.Turns`).
        """
        frame = self._running
        if frame is None or self._outcome is not None:
            return
        try:
            self._wait()
            frame.invalidate()
            found = 0 if self.program.peak_step is None else self._read("PEAK_COUNT")
            cycles = self._read("FRAME_CYCLES")
            self._outcome = Outputs(frame.peaks(found), found, cycles, dict(self.program.outputs), frame.memory)
        except Exception as error:
            self._outcome = error
        except BaseException:
            self._outcome = DeviceError(f"device {self.device.name}: the frame of {self} was interrupted")
            raise
        finally:
            self.device.on_step = None

    def tensor(self, name: str) -> np.ndarray:
        """Tensor ``name`` of the graph, int8 or int16 ``[H, W, C]``, as it lies in memory now.

        After a frame the tensors that nothing overwrites are left (the outputs always); in ``on_step``, those that
        later steps still read too.

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
                f"tensor {name!r}: step {tensor.live_until} of {steps} was the last to read it, its memory may have "
                f"been used again; read it in on_step"
            )
        if self._last is not None:
            self._last.invalidate(tensor)
        return tensor.read(self.memory)

    def profile(self) -> list[StepProfile]:
        """Counters of each step of the last frame, as far as the device keeps them (``profile_depth`` steps).

        Raises
        ------
        DeviceError
            Another program has run on the device since.
        """
        steps = min(len(self.program.descriptors), self.program.config.profile_depth)
        with self.device.turns as turns:
            if turns.user is not self:
                raise DeviceError(f"device {self.device.name}: its counters are of another frame than one of {self}")
            self._write("PROFILE_INDEX", 0)
            words = [self._read("PROFILE_DATA") for _ in range(steps * PROFILE_WORDS)]
        return [
            StepProfile(n, self.program.step_names[n], tuple(words[n * PROFILE_WORDS : (n + 1) * PROFILE_WORDS]))
            for n in range(steps)
        ]

    def reset(self) -> None:
        """Stop whatever runs and return to idle; another program's frame is waited for.

        Raises
        ------
        DeviceError
            The device stays busy.
        """
        with self.device.turns.take(self):
            self._running = self._outcome = None
            self._reset()
            self._configure()

    def _reset(self) -> None:
        turns = self.device.turns
        turns.reset_failed = True
        control.reset(self.device)
        turns.reset_failed = False

    def stop(self) -> None:
        """Stop the frame that runs, if one does; its outputs are lost."""
        if self._running is not None:
            with self.device.turns:
                self._drop()

    def abandon(self) -> None:
        """Stop the frame that runs, now or, if somebody has the device at this moment, when the next one is started.

        For finalizers, which run in the middle of anything and must not wait.
        """
        with self.device.turns.now() as free:
            if free:
                self._drop()
            else:
                self._abandoned = True

    def _drop(self) -> None:
        runs = self._running is not None and self._outcome is None
        self._running = self._outcome = None
        self._abandoned = False
        if runs:
            self._reset()

    def close(self) -> None:
        """Stop a frame that runs and release the memory. Calling it twice does no harm."""
        try:
            self.stop()  # It must not write any more to memory that is given back.
        finally:
            self.device.turns.leave(self)
            for frame in self._frames:
                frame.close()

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

    def _next_frame(self) -> FrameMemory:
        return self._frames[self._next]

    def _hook(self, on_step: Callable[[int], None]) -> Callable[[int], None]:
        def hook(step: int) -> None:
            if self._last is not None:
                self._last.buffer.invalidate()
            on_step(step)

        return hook

    def _wait(self) -> None:
        """Return when the frame has ended well; after any other end the device is reset."""
        try:
            self.device.wait(self.timeout)
            status = BY_NAME["STATUS"]
            value = self._read("STATUS")
            self._write("IRQ_STATUS", 1)
            if not status.extract(value, "done") or status.extract(value, "error"):
                raise DeviceError(f"device {self.device.name}: {self} stopped: {self._state()}")
        except DeviceTimeout as error:
            message = f"device {self.device.name}: no end of {self} within {self.timeout} s: {self._state()}"
            self._reset_after(message)
            raise DeviceTimeout(message) from error
        except BaseException as error:  # An interrupt from the keyboard, too, leaves a frame that nobody waits for.
            self._reset_after(str(error))
            raise

    def _state(self) -> str:
        return control.describe_state(self.device, self.program.step_names)

    def _reset_after(self, message: str) -> None:
        try:
            self._reset()
        except DeviceError as error:
            raise DeviceError(f"{message}; and then: {error}") from error
