# SPDX-License-Identifier: Apache-2.0
"""Memory that host and accelerator share, from the kernel module u-dma-buf (https://github.com/ikwzm/udmabuf)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codenet.devices.base import Buffer, Parts
from codenet.devices.linux.kernel import Kernel
from codenet.errors import DeviceError
from codenet.isa import PLANE_ALIGNMENT

CLASSES = ("u-dma-buf", "udmabuf")
"""Of the module's versions. The older ones do not all know commands that carry offset and size."""

TO_DEVICE, FROM_DEVICE = 1, 2
"""Directions (``sync_direction``)."""

LINE = 64
"""What caches work in: as long as the longest of the processors (32 bytes on Cortex-A9, 64 on Cortex-A53)."""


def find(kernel: Kernel, name: str | None = None) -> Path:
    """Folder of memory ``name``, or of the first there is, in sysfs.

    Raises
    ------
    DeviceError
        There is none.
    """
    found = [entry for kind in CLASSES for entry in kernel.entries(kind) if name in (None, entry.name)]
    if not found:
        which = f"no {name!r}" if name else "none"
        raise DeviceError(
            f"{kernel.sysfs / 'class' / CLASSES[0]}: there is {which}; load the module u-dma-buf with memory for the "
            f"accelerator (modprobe u-dma-buf udmabuf0=33554432)"
        )
    return found[0]


class Pool:
    """A piece of contiguous memory, mapped through the cache, that buffers are cut from.

    Parameters
    ----------
    name:
        Of the memory, as in ``/dev``; by default the first.
    """

    def __init__(self, kernel: Kernel, name: str | None = None) -> None:
        self._kernel = kernel
        self._folder = find(kernel, name)
        self.name = self._folder.name
        self.size = kernel.number(self._folder / "size")
        self.address = kernel.number(self._folder / "phys_addr")
        if self.address % PLANE_ALIGNMENT or self.address + self.size > 2**32:
            raise DeviceError(
                f"{self._folder}: {self.size} bytes at {self.address:#x}: expected a multiple of {PLANE_ALIGNMENT}, "
                f"and below 4 GiB"
            )
        coherent = self._folder / "dma_coherent"
        self.coherent = coherent.exists() and kernel.number(coherent) == 1
        self._one_command = self._folder.parent.name == CLASSES[0]
        self.array = kernel.memory(kernel.dev / self.name, self.size)
        self._used: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Bytes that no buffer has, not necessarily in one piece."""
        return self.size - sum(self._used.values())

    def allocate(self, size: int) -> PoolBuffer:
        """The first gap that is large enough.

        Raises
        ------
        DeviceError
            There is none.
        """
        whole = size + -size % PLANE_ALIGNMENT
        offset = 0
        for start, length in sorted(self._used.items()):
            if offset + whole <= start:
                break
            offset = start + length
        if size <= 0 or offset + whole > self.size:
            raise DeviceError(
                f"no room for a buffer of {size} bytes: {self.free} of {self.size} bytes of {self._folder} are free; "
                f"give the module u-dma-buf more"
            )
        self._used[offset] = whole
        return PoolBuffer(self, offset, size)

    def release(self, offset: int) -> None:
        """Take back what was allocated at ``offset``."""
        self._used.pop(offset, None)

    def sync(self, attribute: str, direction: int, offset: int, size: int) -> None:
        """Clean (``sync_for_device``) or invalidate (``sync_for_cpu``) the lines of a part."""
        if self.coherent:
            return
        start = offset - offset % LINE
        size += offset - start
        size += -size % LINE
        if self._one_command:
            self._kernel.command(self._folder / attribute, f"{start << 32 | size | direction << 2 | 1:#018x}")
        else:
            for name, value in (
                ("sync_offset", start),
                ("sync_size", size),
                ("sync_direction", direction),
                (attribute, 1),
            ):
                self._kernel.command(self._folder / name, str(value))


class PoolBuffer(Buffer):
    """Part of a :class:`Pool`."""

    def __init__(self, pool: Pool, offset: int, size: int) -> None:
        self._pool: Pool | None = pool
        self._offset = offset
        self.address = pool.address + offset
        self.array = pool.array[offset : offset + size]
        self.array[:] = 0

    def flush(self, parts: Parts | None = None) -> None:
        self._sync("sync_for_device", TO_DEVICE, parts)

    def invalidate(self, parts: Parts | None = None) -> None:
        self._sync("sync_for_cpu", FROM_DEVICE, parts)

    def _sync(self, attribute: str, direction: int, parts: Parts | None) -> None:
        if self._pool is None:
            raise DeviceError("device uio: the buffer is closed")
        for offset, size in [(0, self.array.size)] if parts is None else parts:
            self._pool.sync(attribute, direction, self._offset + offset, size)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.release(self._offset)
            self._pool = None
            self.array = np.zeros(0, np.uint8)
