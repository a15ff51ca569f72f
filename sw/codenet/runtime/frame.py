# SPDX-License-Identifier: Apache-2.0
"""A frame's memory: one copy of a program in memory that host and accelerator share, and what a frame leaves in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codenet.config import VECTOR_BYTES
from codenet.devices.base import Buffer, Device
from codenet.errors import DeviceError, FormatError
from codenet.isa import DESCRIPTOR_BYTES, PEAK_BYTES, PEAK_DTYPE, PLANE_ALIGNMENT
from codenet.program import PlacedTensor, Program


@dataclass(frozen=True)
class Outputs:
    """What a frame left in memory. Valid until that memory takes another frame, or
    :meth:`codenet.runtime.accelerator.Accelerator.close`.

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


class FrameMemory:
    """A program's memory on a device, with views of what the host writes.

    A copy of the program for each frame in flight costs a megabyte or two, and buys that nothing is shared between a
    frame that is prepared, one that runs and one whose outputs are read: not even a cache line.
    """

    def __init__(self, device: Device, program: Program) -> None:
        self._program = program
        self._buffer: Buffer | None = device.allocate(program.memory_bytes)
        self._name = device.name
        self.memory[: len(program.image)] = np.frombuffer(program.image, dtype=np.uint8)
        layout = program.input
        layout.write(
            self.memory, np.zeros((layout.height, layout.width, 3), np.int8)
        )  # For the border, once and for all.
        rows = self.memory[layout.offset :][: layout.size].reshape(layout.height + 1, layout.row_bytes)
        self._pixels = rows[1:, 4 : 4 * (layout.width + 1)].reshape(layout.height, layout.width, 4)
        self._threshold = program.peak_step.peak_threshold if program.peak_step is not None else None
        self._new = True
        self._input = [(layout.offset, layout.size)]
        last = program.program_offset + (len(program.descriptors) - 1) * DESCRIPTOR_BYTES
        self._descriptor = (last, DESCRIPTOR_BYTES)
        self._results = _merged(_result_parts(program))

    @property
    def memory(self) -> np.ndarray:
        """uint8 ``[memory_bytes]``."""
        view: np.ndarray = self.buffer.array[: self._program.memory_bytes]
        return view

    @property
    def pixels(self) -> np.ndarray:
        """uint8 ``[H, W, 4]``, the input itself: red, green and blue as ``pixel ^ 0x80`` (``pixel - 128`` as int8),
        the fourth counts for nothing.
        """
        if self._buffer is None:
            raise self._closed()
        return self._pixels

    @property
    def buffer(self) -> Buffer:
        """Memory that the device reads and writes; an error once it is closed."""
        if self._buffer is None:
            raise self._closed()
        return self._buffer

    def _closed(self) -> DeviceError:
        return DeviceError(f"device {self._name}: the accelerator is closed")

    def set_threshold(self, threshold: int | None, score: float | None) -> None:
        """Of the peaks, from the next :meth:`flush` on: a heatmap's integer, or a score; by default the program's own.

        Raises
        ------
        FormatError, GraphError
            Both are given, or out of range.
        """
        step = self._program.peak_step
        if step is None:
            return
        if score is not None:
            if threshold is not None:
                raise FormatError(f"threshold {threshold} and score {score}: expected one of them")
            threshold = self._program.threshold_for(float(score))
        elif threshold is None:
            threshold = step.peak_threshold
        elif not isinstance(threshold, int | np.integer) or not -32768 <= threshold <= 32767:
            raise FormatError(f"threshold {threshold}: expected an int16; a score between 0 and 1 is given as score=")
        if threshold != self._threshold:
            self._program.patch_threshold(self.memory, int(threshold))
            self._threshold = int(threshold)
            self._input = [*self._input[:1], self._descriptor]

    def flush(self) -> None:
        """Hand input and threshold to the accelerator; the first time all there is."""
        self.buffer.flush(None if self._new else self._input)
        self._new = False
        del self._input[1:]

    def invalidate(self, tensor: PlacedTensor | None = None) -> None:
        """Take over the results of a frame, or ``tensor``."""
        self.buffer.invalidate(self._results if tensor is None else _merged(_tensor_parts(tensor)))

    def peaks(self, found: int) -> np.ndarray:
        """Copy of the records of ``found`` peaks, as far as there was room for them: :data:`codenet.isa.PEAK_DTYPE`
        ``[N]``.
        """
        step = self._program.peak_step
        if step is None:
            return np.empty(0, dtype=PEAK_DTYPE)
        kept = min(found, step.peak_capacity)
        return self.memory[step.peak_address :][: PEAK_BYTES * kept].view(PEAK_DTYPE).copy()

    def close(self) -> None:
        """Release the memory. Calling it twice does no harm."""
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None
            del self._pixels  # A view, which would keep the memory.


def _tensor_parts(tensor: PlacedTensor) -> list[tuple[int, int]]:
    size = (tensor.height >> tensor.upsample) * (tensor.width >> tensor.upsample) * VECTOR_BYTES
    return [(offset, size) for offset in tensor.planes]


def _result_parts(program: Program) -> list[tuple[int, int]]:
    parts = [part for tensor in program.outputs.values() for part in _tensor_parts(tensor)]
    step = program.peak_step
    if step is not None:
        parts.append((step.peak_address, PEAK_BYTES * step.peak_capacity))
    return parts


def _merged(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few parts as possible, each of whole lines: one call to the kernel a part."""
    merged: list[tuple[int, int]] = []
    for offset, size in sorted(set(parts)):
        end = offset + size + -size % PLANE_ALIGNMENT
        if merged and offset <= sum(merged[-1]):
            start, length = merged[-1]
            merged[-1] = (start, max(length, end - start))
        else:
            merged.append((offset, end - offset))
    return merged
