# SPDX-License-Identifier: Apache-2.0
"""A package ``pynq`` for tests where the real one is not installed: what the driver uses of it, with a board made of
the golden model.

It keeps what is written apart in cache and memory, refuses what a board would hang or fault at, and has the habits of
versions:

* before 3.1 a part of a buffer is synchronized alone, since then always all of it, unless XRT is asked;
* 4.0 sets an enabled clock to the frequency of the design, which for a Zynq-7000 is ``None``: TypeError.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from sim.platforms.processing_system import ProcessingSystem, Words

MEMORY_BASE = 0x1800_0000


class FakeBoard:
    """The board, and (:meth:`install`) the package.

    Parameters
    ----------
    memory_bytes:
        Contiguous memory that is free.
    root:
        Whether the user may map registers.
    xrt:
        Whether buffers are those of XRT's Python binding, as on real boards since 3.1.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        version: str = "3.0.1",
        *,
        memory_bytes: int = 1 << 20,
        root: bool = True,
        xrt: bool = False,
    ) -> None:
        self.accelerator = GoldenDevice(config)
        self.system = ProcessingSystem(narrow_ports=(0,))
        self.version = version
        self.root, self.xrt = root, xrt
        self.memory_bytes = memory_bytes
        self.loaded: str | None = None
        """Timestamp of the overlay."""
        self.stamps = itertools.count()
        self.synchronized: list[tuple[str, int, int]] = []
        """Method, offset and size of what went between cache and memory."""
        self.arch = "armv7l"

    def has_capability(self, name: str) -> bool:
        return name == "MEMORY_MAPPED"

    @property
    def at_least(self) -> Any:
        numbers = tuple(int(part) for part in self.version.split(".")[:2])
        return lambda *wanted: numbers >= wanted

    def install(self, monkeypatch: Any) -> None:
        """Make it what ``import pynq`` finds, until the end of a test."""
        module = ModuleType("pynq")
        drivers: dict[str, type] = {}

        class DefaultIP:
            def __init_subclass__(cls) -> None:
                drivers.update(dict.fromkeys(getattr(cls, "bindto", []), cls))

            def __init__(self, description: dict[str, Any]) -> None:
                self.device = description["device"]
                self.mmio = MMIO(description["phys_addr"], description["addr_range"], device=self.device)

        module.__dict__.update(
            __version__=self.version,
            DefaultIP=DefaultIP,
            MMIO=MMIO,
            Overlay=lambda name, download=True: Overlay(self, drivers, DefaultIP, name, download),
            allocate=lambda shape, dtype, target, cacheable=0: _allocate(shape, dtype, target, cacheable),
        )
        monkeypatch.setitem(sys.modules, "pynq", module)
        # Imported anew with this package, and not kept for another.
        monkeypatch.setitem(sys.modules, "codenet.devices.pynq.ip", module)
        del sys.modules["codenet.devices.pynq.ip"]
        xrt = ModuleType("pyxrt")
        xrt.__dict__["xclBOSyncDirection"] = SimpleNamespace(XCL_BO_SYNC_BO_TO_DEVICE=0, XCL_BO_SYNC_BO_FROM_DEVICE=1)
        monkeypatch.setitem(sys.modules, "pyxrt", xrt)


class MMIO:
    """Registers of a board at ``base``."""

    def __init__(self, base: int, length: int = 4, device: FakeBoard | None = None) -> None:
        assert device is not None
        if not device.root:
            raise OSError("Root permissions required.")
        self._board, self._base, self._length = device, base, length
        self.array = Words(self, 0)  # type: ignore[arg-type]

    def read(self, offset: int) -> int:
        return self._target().read(self._inside(offset))

    def write(self, offset: int, value: int) -> None:
        assert type(value) is int and 0 <= value < 2**32, f"write of {value!r}: expected an int of 32 bits"
        self._target().write(self._inside(offset), value)

    def _target(self) -> Any:
        if self._board.system.has(self._base):
            return self._board.system
        assert self._board.loaded, "registers accessed before a bitstream is loaded: this hangs a real board"
        return self._board.accelerator

    def _inside(self, offset: int) -> int:
        assert 0 <= offset < self._length and offset % 4 == 0, f"register at {offset:#x} of {self._length:#x}"
        return offset + (self._base if self._board.system.has(self._base) else 0)


class Overlay:
    """A design, read from its ``.hwh`` when it is made, loaded by :meth:`download`."""

    def __init__(self, board: FakeBoard, drivers: dict[str, type], default: type, name: str, download: bool) -> None:
        if not Path(name).is_file():
            raise OSError(f"Bitstream file {name} does not exist.")
        self.bitfile_name, self.device, self.timestamp = name, board, ""
        root = ElementTree.parse(Path(name).with_suffix(".hwh")).getroot()
        kinds = {item.get("INSTANCE"): item.get("VLNV") for item in root.iter("MODULE")}
        self.ip_dict: dict[str, dict[str, Any]] = {"ps7": {"type": kinds["ps7"]}}
        for item in root.iter("MEMRANGE"):
            base = int(item.get("BASEVALUE", ""), 16)
            self.ip_dict[item.get("INSTANCE", "")] = {
                "type": kinds[item.get("INSTANCE")],
                "phys_addr": base,
                "addr_range": int(item.get("HIGHVALUE", ""), 16) + 1 - base,
                "device": board,
            }
        self.clock_dict: dict[int, dict[str, Any]] = {n: {"enable": int(n == 0), "divisor0": 5} for n in range(4)}
        self._drivers, self._default = drivers, default
        if board.at_least(4, 0):
            for clock in self.clock_dict.values():
                clock["frequency"] = None
        if download:
            self.download()

    def download(self) -> None:
        for clock in self.clock_dict.values():
            if clock.get("enable"):
                if "frequency" in clock:
                    1000.0 / clock["frequency"]
                raise AssertionError(
                    "PYNQ sets divisors for another source than the design's: the driver must not let it"
                )
        self.timestamp = self.device.loaded = f"load {next(self.device.stamps)}"

    def is_loaded(self) -> bool:
        return self.timestamp == self.device.loaded

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.ip_dict:
            raise AttributeError(f"Could not find IP or hierarchy {name} in overlay")
        if not self.is_loaded():
            raise RuntimeError("Overlay not currently loaded")
        description = self.ip_dict[name]
        return self._drivers.get(description["type"], self._default)(description)


class PynqBuffer(np.ndarray):
    """What the host sees of a buffer, and where it is."""

    def __array_finalize__(self, other: Any) -> None:
        if isinstance(other, PynqBuffer) and hasattr(other, "bo"):
            self.bo = other.bo
            self.offset = other.offset + self.ctypes.data - other.ctypes.data

    @property
    def device_address(self) -> int:
        address: int = self.bo.address + self.offset
        return address

    def flush(self) -> None:
        self._sync(0)

    def invalidate(self) -> None:
        self._sync(1)

    def _sync(self, direction: int) -> None:
        whole = self.bo.board.at_least(3, 1)
        self.bo.move(direction, *((self.bo.size, 0) if whole else (self.nbytes, self.offset)))


class BufferObject:
    """Cache and memory of a buffer."""

    def __init__(self, board: FakeBoard, size: int) -> None:
        if size > board.memory_bytes:
            raise RuntimeError(f"BO allocation failed: {size} bytes")
        self.board, self.size = board, size
        self._buffer = board.accelerator.allocate(size)
        self.address = self._buffer.address
        self.cache = np.full(size, 0xEE, np.uint8)

    def move(self, direction: int, size: int, offset: int) -> None:
        assert 0 <= offset and offset + size <= self.size, f"{size} bytes at {offset} of a buffer of {self.size}"
        part = slice(offset, offset + size)
        self.board.synchronized.append(("invalidate" if direction else "flush", offset, size))
        if direction:
            self.cache[part] = self._buffer.array[part]
        else:
            self._buffer.array[part] = self.cache[part]


XrtBufferObject = type(
    "bo", (BufferObject,), {"sync": lambda self, *arguments: self.move(*arguments), "__module__": "pyxrt"}
)


def _allocate(shape: tuple[int], dtype: Any, target: FakeBoard, cacheable: int) -> PynqBuffer:
    if not target.loaded:
        raise RuntimeError("Overlay is not downloaded")
    assert cacheable, "memory without cache: the host is slow"
    bo = (XrtBufferObject if target.xrt else BufferObject)(target, int(np.prod(shape)))
    buffer = PynqBuffer(shape, dtype, buffer=bo.cache)
    buffer.bo, buffer.offset = bo, 0
    return buffer
