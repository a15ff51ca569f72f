# SPDX-License-Identifier: Apache-2.0
"""The simulated board as files of a Linux kernel: FPGA manager, UIO, u-dma-buf and /dev/mem in a folder.

What is a plain file there is one here, with the same text; interrupts come through a node that is opened, polled, read
and written (:mod:`sim.platforms.uio_node`); the memory of u-dma-buf is a file that the driver maps, which is the host's
view of it: the accelerator has its own, and only the commands ``sync_for_device`` and ``sync_for_cpu`` copy between
them, as caches do at worst. Two methods of the driver's :class:`codenet.devices.linux.kernel.Kernel` are replaced,
because nothing happens when a plain file is accessed: mapped registers are objects that read and write the simulation,
and commands to attributes are carried out here. So the call of ``mmap`` for registers, and that the real kernel does
what its documentation says, are not tested.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np

from codenet.devices.linux.kernel import Kernel, naming
from sim.platforms.live_board import LiveBoard
from sim.platforms.processing_system import ProcessingSystem, Words
from sim.platforms.uio_node import UioNode

SYNC_WORD = b"\x66\x55\x99\xaa"
"""As zynq-fpga looks for it: the bytes of each word reversed."""


class SimulatedKernel(Kernel):
    """Files below ``root``, of a PYNQ-Z2 that has just started: nothing is loaded into the logic.

    Parameters
    ----------
    live:
        Stays the caller's.
    base:
        Address of the accelerator's registers.
    memory_bytes:
        Of u-dma-buf.
    memory_class:
        Of u-dma-buf in sysfs.

    Attributes
    ----------
    denied:
        Paths that may not be opened.
    """

    def __init__(
        self,
        root: Path,
        live: LiveBoard,
        system: ProcessingSystem,
        base: int,
        *,
        memory_bytes: int = 1 << 20,
        memory_class: str = "u-dma-buf",
    ) -> None:
        super().__init__(root / "sys", root / "dev", root / "firmware")
        self.live, self.system, self.base = live, system, base
        self.denied: set[Path] = set()
        self.loaded: bytes | None = None
        self._written: dict[str, str] = {}
        self.node = UioNode(lambda: live.interrupt)
        live.on_interrupt.append(self.node.check)
        self.manager = self.sysfs / "class/fpga_manager/fpga0"
        self.uio = self.sysfs / "class/uio/uio0"
        self.udmabuf = self.sysfs / "class" / memory_class / "udmabuf0"
        self.udmabuf_node = self.dev / "udmabuf0"
        address = live.allocate(memory_bytes)
        self._dram = live.memory(address, memory_bytes)
        self._write_files(base, address, memory_bytes)
        self._cache = np.memmap(self.udmabuf_node, np.uint8, "r+")
        self._cache[:] = np.random.default_rng(1).integers(0, 256, memory_bytes, np.uint8)
        self.syncs: list[tuple[str, int, int]] = []
        """Command, offset and size of each."""

    def _write_files(self, base: int, address: int, memory_bytes: int) -> None:
        texts: dict[Path, str] = {
            self.manager / "name": "Xilinx Zynq FPGA Manager",
            self.manager / "state": "unknown",
            self.manager / "firmware": "",
            self.manager / "flags": "0",
            self.uio / "name": "codenet",
            self.uio / "maps/map0/addr": f"{base:#010x}",
            self.uio / "maps/map0/size": "0x00001000",
            self.uio / "maps/map0/offset": "0x0",
            self.udmabuf / "size": str(memory_bytes),
            self.udmabuf / "phys_addr": f"{address:#010x}",
            self.udmabuf / "dma_coherent": "0",
            self.sysfs / "firmware/devicetree/base/compatible": "tul,pynq-z2\0xlnx,zynq-7000\0",
        }
        names = ("sync_offset", "sync_size", "sync_direction", "sync_for_cpu", "sync_for_device")
        texts |= {self.udmabuf / name: "0" for name in names}
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n" if not text.endswith("\0") else text)
        self.dev.mkdir()
        self.firmware.mkdir()
        (self.dev / "uio0").symlink_to(self.node.path)
        (self.dev / "mem").touch()
        self.udmabuf_node.write_bytes(bytes(memory_bytes))

    def open(self, path: Path, flags: int) -> int:
        if path in self.denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return super().open(path, flags)

    def registers(self, path: Path, size: int, offset: int) -> Any:
        with naming(path):
            os.close(self.open(path, os.O_RDWR | os.O_NOCTTY))
        if path == self.dev / "mem" and self.system.has(offset):
            return Words(self.system, offset)
        assert self.loaded is not None, f"access to {path} before a bitstream is loaded: this hangs a real board"
        assert size >= 0x1000 and offset == (self.base if path == self.dev / "mem" else 0), (
            f"{path} mapped at {offset:#x}"
        )
        return Words(self.live, 0)

    def command(self, path: Path, text: str) -> None:
        super().command(path, text)
        self._written[path.name] = text
        with naming(path):
            if path.parent == self.manager and path.name == "firmware":
                self._load(text)
            elif path.parent == self.udmabuf:
                self._synchronize(path.name, int(text, 0))

    def vanish(self) -> None:
        """The UIO device goes away, as when its driver is unbound."""
        (self.dev / "uio0").unlink()
        self.node.close()

    def return_uio(self) -> None:
        """It comes back."""
        self.node = UioNode(lambda: self.live.interrupt)
        self.live.on_interrupt[:] = [self.node.check]
        (self.dev / "uio0").symlink_to(self.node.path)

    def shut_down(self) -> None:
        """Files stay, nothing answers any more."""
        self.node.close()

    def _load(self, name: str) -> None:
        data = (self.firmware / name).read_bytes()
        if SYNC_WORD not in data[:4096]:
            (self.manager / "state").write_text("write init error\n")
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.loaded = data
        self.live.write(0x20, 2)
        (self.manager / "state").write_text("operating\n")

    def _synchronize(self, name: str, value: int) -> None:
        """As udmabuf_sync_command_argments of the module: a command of more than bit 0 has offset, size and direction
        in it.
        """
        if not name.startswith("sync_for") or not value:
            return
        if value & ~1:
            offset, size, direction = value >> 32, value & 0xFFFF_FFF0, value >> 2 & 3
        else:
            keys = ("sync_offset", "sync_size", "sync_direction")
            offset, size, direction = (int(self._written.get(key, "0"), 0) for key in keys)
        if offset + size > self._dram.size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.syncs.append((name, offset, size))
        part = slice(offset, offset + size)
        if name == "sync_for_device" and direction != 2:
            self._dram[part] = self._cache[part]
        elif name == "sync_for_cpu" and direction != 1:
            self._cache[part] = self._dram[part]
