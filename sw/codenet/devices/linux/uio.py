# SPDX-License-Identifier: Apache-2.0
"""The accelerator on plain Linux, without PYNQ: FPGA manager, UIO (or /dev/mem) and u-dma-buf."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device
from codenet.devices.bitstream import Handoff, find_bitstream
from codenet.devices.boards import DEVICE_TREE, find_board
from codenet.devices.linux import fpga_manager, udmabuf, zynq
from codenet.devices.linux.interrupt import UioInterrupt, find_uio, wait_until_pending
from codenet.devices.linux.kernel import Kernel
from codenet.devices.linux.lock import BoardLock
from codenet.errors import DeviceError
from codenet.registers import ADDRESS_BITS

NODE = "codenet"
"""Name of the UIO device: that of its node in the device tree."""

BLOCK_BYTES = 1 << ADDRESS_BITS


def is_present(kernel: Kernel | None = None) -> bool:
    """Whether this machine has an FPGA and memory to share with it."""
    kernel = kernel or Kernel()
    return bool(kernel.entries("fpga_manager")) and any(kernel.entries(kind) for kind in udmabuf.CLASSES)


def open_device(config: AcceleratorConfig) -> UioDevice:
    """Load the bitstream, if there is one (device name ``uio``).

    Raises
    ------
    DeviceError, FormatError
        See :class:`UioDevice`.
    """
    return UioDevice(find_bitstream())


class UioDevice(Device):
    """The accelerator through files of the kernel.

    Parameters
    ----------
    bitstream:
        Loaded into the logic, with the clock that the ``.hwh`` beside it says; ``None``: what is loaded is the right
        one.
    kernel:
        Where the files are.
    node:
        Name of the UIO device with the registers. If there is none, they are taken from ``/dev/mem``, where the
        ``.hwh`` says.
    memory:
        Name of the u-dma-buf to use; by default the first.

    Raises
    ------
    FormatError
        The bitstream is none.
    DeviceError
        A file or a permission is missing (the message names it), nothing is loaded into the logic, or another program
        has the board.
    """

    name = "uio"

    def __init__(
        self,
        bitstream: Path | None = None,
        *,
        kernel: Kernel | None = None,
        node: str = NODE,
        memory: str | None = None,
    ) -> None:
        self._kernel = kernel or Kernel()
        self._bitstream = bitstream
        self._interrupt: UioInterrupt | None = None
        self._words: np.ndarray | None = None
        self._pool: udmabuf.Pool | None = None
        self._lock: BoardLock | None = None
        try:
            self._open(node, memory)
        except BaseException:
            self.close()
            raise

    def _open(self, node: str, memory: str | None) -> None:
        kernel, handoff = self._kernel, None
        self._lock = BoardLock(kernel, self.name)
        if self._bitstream is not None:
            handoff = Handoff.read(self._bitstream)
            handoff.check(self._bitstream, find_board(kernel.sysfs / DEVICE_TREE))
            fpga_manager.load(kernel, self._bitstream)
        elif (state := fpga_manager.state(kernel)) != fpga_manager.OPERATING:
            raise DeviceError(
                f"device uio: nothing is loaded into the logic (state {state!r}), and no bitstream was given"
            )
        self.clock_hz = _configure(kernel, handoff)
        self._pool = udmabuf.Pool(kernel, memory)
        folder = find_uio(kernel, node)
        if folder is None:
            self._words = _map_directly(kernel, node, handoff)
        else:
            self._words = _map_uio(kernel, folder)
            self._interrupt = UioInterrupt.open(kernel, folder)
        self._folder = folder

    def facts(self) -> dict[str, str]:
        pool = self._open_pool()
        facts = {"bitstream": str(self._bitstream or "loaded before")}
        if self.clock_hz is not None:
            facts["clock"] = f"{self.clock_hz / 1e6:g} MHz"
        facts["registers"] = f"{self._kernel.dev / (self._folder.name if self._folder else 'mem')}"
        facts["interrupt"] = "none, IRQ_STATUS is polled" if self._interrupt is None else str(self._interrupt)
        coherent = ", coherent" if pool.coherent else ""
        return facts | {
            "memory for the accelerator": f"{pool.free} of {pool.size} bytes of {pool.name} are free{coherent}"
        }

    def read(self, offset: int) -> int:
        return int(self._open_words()[_index(offset)])

    def write(self, offset: int, value: int) -> None:
        if not 0 <= value < 2**32:
            raise DeviceError(f"device uio: write of {value} to register {offset:#x}: expected 32 bits")
        self._open_words()[_index(offset)] = value

    def allocate(self, size: int) -> Buffer:
        return self._open_pool().allocate(size)

    def wait(self, timeout: float) -> None:
        """As of the base class, with the interrupt if the UIO device has one.

        Raises
        ------
        DeviceTimeout
            ``timeout`` seconds have passed.
        DeviceError
            The UIO device has gone.
        """
        if self._interrupt is None:
            super().wait(timeout)
        elif not wait_until_pending(self, self._interrupt, timeout):
            self._close_interrupt()

    def close(self) -> None:
        self._close_interrupt()
        self._words = self._pool = None
        self._kernel.close()
        if self._lock is not None:
            self._lock.close()

    def _close_interrupt(self) -> None:
        if self._interrupt is not None:
            self._interrupt.close()
            self._interrupt = None

    def _open_words(self) -> np.ndarray:
        if self._words is None:
            raise DeviceError("device uio: it is closed")
        return self._words

    def _open_pool(self) -> udmabuf.Pool:
        if self._pool is None:
            raise DeviceError("device uio: it is closed")
        return self._pool


def _index(offset: int) -> int:
    if not 0 <= offset < BLOCK_BYTES or offset % 4:
        raise DeviceError(f"register offset {offset:#x}: expected a multiple of 4, 0 to {BLOCK_BYTES - 4:#x}")
    return offset // 4


def _map_uio(kernel: Kernel, folder: Path) -> np.ndarray:
    region = folder / "maps/map0"
    size = kernel.number(region / "size")
    begin = kernel.number(region / "offset") if (region / "offset").exists() else 0
    if size < BLOCK_BYTES:
        raise DeviceError(
            f"{region}: {size} bytes of registers, expected {BLOCK_BYTES}; is this the accelerator's node?"
        )
    words = kernel.registers(kernel.dev / folder.name, begin + size, 0)
    return words[begin // 4 :] if begin else words


def _map_directly(kernel: Kernel, node: str, handoff: Handoff | None) -> np.ndarray:
    if handoff is None or handoff.base is None:
        raise DeviceError(
            f"{kernel.sysfs / 'class/uio'}: no device {node!r} for the registers, and no .hwh that says where they "
            f"are; add a node to the "
            f'device tree (compatible = "generic-uio") and load uio_pdrv_genirq with of_id=generic-uio'
        )
    return kernel.registers(kernel.dev / "mem", BLOCK_BYTES, handoff.base[0])


def _configure(kernel: Kernel, handoff: Handoff | None) -> float | None:
    """Set clock and port widths as a design wants them; returns the clock in Hz, ``None`` if it is not known.

    Without a design they stay as they are.
    """
    compatible = kernel.sysfs / DEVICE_TREE / "compatible"
    if not compatible.exists() or b"xlnx,zynq-7000" not in compatible.read_bytes().split(b"\0"):
        return None
    memory = kernel.dev / "mem"
    if handoff is None and not os.access(memory, os.R_OK | os.W_OK):
        return None
    system = zynq.ProcessingSystem(
        lambda page: kernel.registers(memory, zynq.PAGE_BYTES, page), zynq.oscillator_hz(kernel.sysfs)
    )
    return system.clock_hz if handoff is None else system.prepare(handoff)
