# SPDX-License-Identifier: Apache-2.0
"""The simulated board as a device of the real package ``pynq``, below its own ``Overlay``, ``MMIO``, ``allocate`` and
``Interrupt``.

Everything above is PYNQ's code as it runs on a board. What this replaces is the kernel and XRT: FPGA manager, /dev/mem,
contiguous memory with a cache in between, UIO.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pynq
from pynq.buffer import PynqBuffer
from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
from pynqmetadata.frontends import Metadata

from codenet.devices.bitstream import configuration
from sim.platforms.live_board import LiveBoard
from sim.platforms.processing_system import ProcessingSystem
from sim.platforms.uio_node import UioNode

BLOCK_BYTES = 0x1000


class SimulatedPynqDevice(pynq.Device):
    """A PYNQ-Z2 whose logic holds the simulated accelerator as soon as a bitstream is loaded.

    Parameters
    ----------
    live:
        Stays the caller's.
    base:
        Address of the accelerator's registers.
    controller:
        Address of an AXI interrupt controller, if the design has one.
    """

    def __init__(self, live: LiveBoard, system: ProcessingSystem, base: int, controller: int | None = None) -> None:
        super().__init__("simulated")
        self.name = "simulated"
        self.arch = "armv7l"
        self.capabilities = {"REGISTER_RW": True}
        self.live, self.system, self.base = live, system, base
        self.bitstreams: list[Path] = []
        """Those loaded, in order."""
        self.default_memory = SimulatedMemory(self)
        self.controller = None if controller is None else InterruptController(live)
        self._controller_base = controller or 0

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """What pynq reads beside the bitstream."""
        return RuntimeMetadataParser(Metadata(input=Path(bitfile_name).with_suffix(".hwh")))

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Load a bitstream: only that it was loaded is kept."""
        configuration(Path(bitstream.bitfile_name))  # As a board would, this refuses what is no bitstream.
        self.bitstreams.append(Path(bitstream.bitfile_name))
        self.live.write(0x20, 2)
        self.post_download(bitstream, parser, self.name)

    def read_registers(self, address: int, length: int) -> bytes:
        """Bytes of registers at a physical address."""
        assert length == 4 and address % 4 == 0, f"{length} bytes read at {address:#x}: expected aligned words"
        return int(self._block(address).read(self._inside(address))).to_bytes(4, "little")

    def write_registers(self, address: int, data: bytes) -> None:
        """Write bytes of registers at a physical address."""
        assert len(data) == 4 and address % 4 == 0, f"{len(data)} bytes written at {address:#x}: expected aligned words"
        self._block(address).write(self._inside(address), int.from_bytes(data, "little"))

    def flush(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        """Make what the processor wrote visible to the accelerator."""
        bo.dram[offset : offset + size] = bo.cache[offset : offset + size]

    def invalidate(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        """Make what the accelerator wrote visible to the processor."""
        bo.cache[offset : offset + size] = bo.dram[offset : offset + size]

    def close(self) -> None:
        """End the simulation."""
        if self.controller is not None:
            self.controller.close()

    def _block(self, address: int) -> Any:
        if self.system.has(address):
            return self.system
        assert self.bitstreams, f"access at {address:#x} before a bitstream is loaded: this hangs a real board"
        if self.controller is not None and self._controller_base <= address < self._controller_base + BLOCK_BYTES:
            return self.controller
        assert self.base <= address < self.base + BLOCK_BYTES, f"access at {address:#x}: nothing is there"
        return self.live

    def _inside(self, address: int) -> int:
        return address if self.system.has(address) else address % BLOCK_BYTES


class SimulatedMemory:
    """Contiguous memory with a cache: what the host writes and what the accelerator sees differ until one of them is
    synchronized.
    """

    def __init__(self, device: SimulatedPynqDevice) -> None:
        self.device = device

    def allocate(self, shape: Any, dtype: Any, cacheable: int = 0, **_: Any) -> PynqBuffer:
        """A buffer of contiguous memory, as ``pynq.allocate`` gives it."""
        assert self.device.bitstreams, "allocated before a bitstream is loaded: XRT cannot"
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            bo = BufferObject(self.device.live, size)
        except MemoryError as error:
            raise RuntimeError(f"BO allocation failed: {error}") from error
        host = bo.cache if cacheable else bo.dram
        array = PynqBuffer(
            shape,
            dtype,
            buffer=host.data,
            device=self.device,
            device_address=bo.address,
            bo=bo,
            coherent=not cacheable,
        )
        array.memory = self
        array.pointer, array.return_to = bo, self
        return array

    def return_pointer(self, pointer: BufferObject) -> None:
        """PYNQ calls it when the last array of a buffer goes."""
        self.device.live.free(pointer.address)


class BufferObject:
    """Memory of the board, and what of it is in the cache: uint8 arrays of the same size."""

    def __init__(self, live: LiveBoard, size: int) -> None:
        self.address = live.allocate(size)
        self.dram = live.memory(self.address, size)
        self.cache = np.random.default_rng(size).integers(0, 256, size, np.uint8)


class InterruptController:
    """AXI interrupt controller (Xilinx PG099) with one level-sensitive input, behind a UIO node."""

    STATUS, PENDING, ENABLE, ACKNOWLEDGE, SET, CLEAR, MASTER = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C

    def __init__(self, live: LiveBoard) -> None:
        self._live = live
        self._enable = self._master = 0
        self.node = UioNode(lambda: bool(self.read(self.PENDING)) and self._master == 3)
        live.on_interrupt.append(self.node.check)

    def read(self, offset: int) -> int:
        """A register of the controller."""
        if offset == self.STATUS:
            return int(self._live.interrupt)
        if offset == self.PENDING:
            return int(self._live.interrupt) & self._enable
        return {self.ENABLE: self._enable, self.MASTER: self._master}[offset]

    def write(self, offset: int, value: int) -> None:
        """Write a register of the controller."""
        if offset == self.ENABLE:
            self._enable = value
        elif offset == self.SET:
            self._enable |= value
        elif offset == self.CLEAR:
            self._enable &= ~value
        elif offset == self.MASTER:
            self._master = value
        else:
            assert offset == self.ACKNOWLEDGE, f"write at {offset:#x} of the interrupt controller"
        self.node.check()

    def close(self) -> None:
        """Stop watching the interrupt."""
        self.node.close()
