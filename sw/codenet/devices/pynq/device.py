# SPDX-License-Identifier: Apache-2.0
"""The accelerator on a board with PYNQ (2.7 to 4.x), through the package ``pynq``."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device, Parts
from codenet.devices.bitstream import ENVIRONMENT, SHIPPED, VLNV, Handoff, find_bitstream
from codenet.devices.boards import DEVICE_TREE, find_board
from codenet.devices.linux import zynq
from codenet.devices.linux.interrupt import UioInterrupt, find_uio, wait_until_pending
from codenet.devices.linux.kernel import Kernel
from codenet.devices.linux.lock import BoardLock
from codenet.errors import DeviceError
from codenet.isa import PLANE_ALIGNMENT

BOARD = Path("/proc/device-tree/chosen/pynq_board")
"""There on PYNQ's own images."""

MEMORY = Path("/proc/meminfo")

FABRIC = "fabric"
"""UIO device that PYNQ's images have for the first interrupt from the logic (IRQ_F2P[0])."""

WHOLE_ONLY = (3, 1)
"""Since this version of PYNQ its own calls flush and invalidate whole buffers, whatever part they are asked for."""


def is_present() -> bool:
    """Whether this machine is a board with PYNQ."""
    return BOARD.exists() and importlib.util.find_spec("pynq") is not None


def open_device(config: AcceleratorConfig) -> PynqDevice:
    """Load the bitstream (device name ``pynq``).

    Raises
    ------
    DeviceError
        There is none; or see :meth:`PynqDevice.load`.
    """
    bitstream = find_bitstream()
    if bitstream is None:
        raise DeviceError(
            f"device pynq: no bitstream: set {ENVIRONMENT} to one (with its .hwh beside it), or put it at {SHIPPED}"
        )
    return PynqDevice.load(bitstream)


class PynqDevice(Device):
    """The accelerator of an overlay.

    Parameters
    ----------
    ip:
        Driver of the accelerator in an overlay that is loaded (:class:`codenet.devices.pynq.ip.CodenetIP`).
    overlay:
        Kept, as registers and interrupts are of no use without it.
    clock_hz:
        What its clock is set to, if that is known.
    interrupt:
        Where the accelerator's interrupt arrives, for overlays where PYNQ knows of none.
    lock:
        Of the board, if it has been taken already; this device lets it go.

    Raises
    ------
    DeviceError
        Another program has the board.
    """

    name = "pynq"

    def __init__(
        self,
        ip: Any,
        overlay: Any = None,
        clock_hz: float | None = None,
        interrupt: UioInterrupt | None = None,
        lock: BoardLock | None = None,
    ) -> None:
        self._lock = lock or _lock(ip.device, Kernel())
        self._ip = ip
        self._overlay = overlay
        self.clock_hz = clock_hz
        self._interrupt: _LoopInterrupt | UioInterrupt | None = interrupt or _overlay_interrupt(ip)

    @classmethod
    def load(cls, bitstream: Path, kernel: Kernel | None = None) -> PynqDevice:
        """Load ``bitstream``, with its ``.hwh`` beside it, into the logic, and set its clock and ports as that says.

        ``kernel``: where UIO devices are.

        Raises
        ------
        DeviceError
            Package, board, file, permission or accelerator is missing, or the clock cannot be set.
        """
        pynq = _import()
        importlib.import_module("codenet.devices.pynq.ip")  # PYNQ binds what is in it while it reads the overlay.
        if not bitstream.is_file():
            raise DeviceError(f"device pynq: bitstream {bitstream}: no such file")
        handoff = Handoff.read(bitstream)
        if handoff.base is None:
            raise DeviceError(f"device pynq: bitstream {bitstream}: its .hwh has no accelerator ({VLNV})")
        kernel = kernel or Kernel()
        with _foreign(f"bitstream {bitstream}"):
            overlay = pynq.Overlay(str(bitstream), download=False)
            lock = _lock(overlay.device, kernel)
        try:
            handoff.check(bitstream, None if _is_remote(overlay.device) else find_board(kernel.sysfs / DEVICE_TREE))
            with _foreign(f"bitstream {bitstream}"):
                # The clocks are ours to set: 3.1 leaves their source as it was, and 4.0.0 fails where a .hwh has no
                # frequency in UltraScale's words, that is on every Zynq-7000.
                for clock in overlay.clock_dict.values():
                    clock.pop("enable", None)
                overlay.download()
                ip = _find(overlay)
            clock_hz = _configure(pynq, overlay, handoff)
            # At the other end of a network there may be UIO devices, but not for us.
            local = _overlay_interrupt(ip) is None and not _is_remote(overlay.device)
            return cls(ip, overlay, clock_hz, _fabric_interrupt(kernel) if local else None, lock)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    def facts(self) -> dict[str, str]:
        pynq = _import()
        facts = {"PYNQ": pynq.__version__}
        if self._overlay is not None:
            facts["bitstream"] = str(self._overlay.bitfile_name)
        if self.clock_hz is not None:
            facts["clock"] = f"{self.clock_hz / 1e6:g} MHz"
        facts["interrupt"] = "none, IRQ_STATUS is polled" if self._interrupt is None else str(self._interrupt)
        return facts | {"memory for the accelerator": _memory_text()}

    def read(self, offset: int) -> int:
        words = _Words(self._open_ip().mmio)
        try:
            return words.read(offset)
        except DeviceError:
            raise
        except Exception as error:
            raise _error(f"read of register {offset:#x}", error) from error

    def write(self, offset: int, value: int) -> None:
        if self._overlay is not None and not self._overlay.is_loaded():
            raise DeviceError(
                f"device pynq: another overlay has been loaded in place of {self._overlay.bitfile_name}; open it again"
            )
        words = _Words(self._open_ip().mmio)
        try:
            words.write(offset, value)
        except DeviceError:
            raise
        except Exception as error:
            raise _error(f"write of register {offset:#x}", error) from error

    def allocate(self, size: int) -> PynqBuffer:
        if size <= 0:
            raise DeviceError(f"device pynq: buffer of {size} bytes: expected at least 1")
        pynq, target = _import(), self._open_ip().device
        whole = size + -size % PLANE_ALIGNMENT  # Parts are of whole lines.
        try:
            return PynqBuffer(pynq.allocate((whole,), np.uint8, target=target, cacheable=1), size, pynq.__version__)
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(
                f"device pynq: no memory for a buffer of {size} bytes ({_text(error)}); {_memory_text()}; close other "
                f"users of the board, or raise cma= on the kernel's command line"
            ) from error

    def wait(self, timeout: float) -> None:
        """As of the base class, with an interrupt if there is one (in a running event loop, as Jupyter's, not with the
        overlay's).
        """
        if self._interrupt is None or (isinstance(self._interrupt, _LoopInterrupt) and _loop_runs()):
            super().wait(timeout)
        elif not wait_until_pending(self, self._interrupt, timeout):
            self._close_interrupt()

    def close(self) -> None:
        """Let go of the overlay, which stays in the logic."""
        self._close_interrupt()
        self._ip = self._overlay = None
        if self._lock is not None:
            self._lock.close()

    def _close_interrupt(self) -> None:
        if isinstance(self._interrupt, UioInterrupt):
            self._interrupt.close()
        self._interrupt = None

    def _open_ip(self) -> Any:
        if self._ip is None:
            raise DeviceError("device pynq: it is closed")
        return self._ip


class _LoopInterrupt:
    """An interrupt of PYNQ's, which comes by its event loop."""

    def __init__(self, interrupt: Any) -> None:
        self._interrupt = interrupt

    def __str__(self) -> str:
        return "of the overlay"

    def wait(self, seconds: float) -> bool:
        with _foreign("interrupt"):
            loop = asyncio.get_event_loop_policy().get_event_loop()
            try:
                loop.run_until_complete(asyncio.wait_for(self._interrupt.wait(), seconds))
            except asyncio.TimeoutError:
                return False
        return True


def _overlay_interrupt(ip: Any) -> _LoopInterrupt | None:
    """The one that PYNQ knows of, if it can be waited for: over a network it cannot."""
    found = getattr(ip, "interrupt", None)
    return _LoopInterrupt(found) if inspect.iscoroutinefunction(getattr(found, "wait", None)) else None


def _is_remote(device: Any) -> bool:
    return bool(device.has_capability("REMOTE"))


def _lock(device: Any, kernel: Kernel) -> BoardLock | None:
    """Of a board; those at the other end of a network are none of this machine's."""
    return None if _is_remote(device) else BoardLock(kernel, PynqDevice.name)


def _fabric_interrupt(kernel: Kernel) -> UioInterrupt | None:
    folder = find_uio(kernel, FABRIC)
    return None if folder is None else UioInterrupt.open(kernel, folder)


class _Words:
    """Registers behind an MMIO of PYNQ's, by offset or as an array of words. PYNQ 3.1 reads signed ones over the
    network.
    """

    def __init__(self, mmio: Any) -> None:
        self._mmio = mmio

    def read(self, offset: int) -> int:
        return int(self._mmio.read(offset)) & 0xFFFFFFFF

    def write(self, offset: int, value: int) -> None:
        self._mmio.write(offset, int(value))

    def __getitem__(self, index: int) -> int:
        return self.read(4 * index)

    def __setitem__(self, index: int, value: int) -> None:
        self.write(4 * index, value)


class PynqBuffer(Buffer):
    """Memory that PYNQ has allocated, through the cache.

    It goes back when the last array that views it does: one that outlives this object must not fault.
    """

    def __init__(self, memory: Any, size: int, version: str) -> None:
        self.address = int(memory.device_address)
        if self.address % PLANE_ALIGNMENT or self.address + memory.nbytes > 2**32:
            raise DeviceError(
                f"device pynq: buffer of {size} bytes at {self.address:#x}: expected a multiple of {PLANE_ALIGNMENT} "
                f"below 4 GiB"
            )
        self._memory: Any = memory
        self._by_parts = _version(version) < WHOLE_ONLY and hasattr(memory, "bo")
        self.array = np.asarray(_Keeper(memory))[:size]
        self.array[:] = 0

    def flush(self, parts: Parts | None = None) -> None:
        self._sync(parts, "XCL_BO_SYNC_BO_TO_DEVICE", "flush")

    def invalidate(self, parts: Parts | None = None) -> None:
        self._sync(parts, "XCL_BO_SYNC_BO_FROM_DEVICE", "invalidate")

    def _sync(self, parts: Parts | None, direction: str, method: str) -> None:
        if self._memory is None:
            raise DeviceError("device pynq: the buffer is closed")
        memory = self._memory
        with _foreign(f"{method} of a buffer"):
            if parts is None:
                getattr(memory, method)()
            elif self._by_parts:
                for offset, size in parts:
                    getattr(memory[offset : offset + size], method)()
            elif (xrt := _xrt_direction(memory, direction)) is not None:
                for offset, size in parts:
                    memory.bo.sync(xrt, size, offset)
            else:
                getattr(memory, method)()

    def close(self) -> None:
        self._memory = None
        self.array = np.zeros(0, np.uint8)


class _Keeper:
    """An owner of memory that arrays keep, as they would not keep an array of PYNQ's: of views of views NumPy skips
    those in between.
    """

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__


def _xrt_direction(memory: Any, direction: str) -> Any:
    """XRT's own word for a direction if ``memory`` is a buffer object of XRT's, which knows parts; else ``None``."""
    kind = type(getattr(memory, "bo", None))
    if kind.__module__ != "pyxrt":
        return None
    return getattr(importlib.import_module("pyxrt").xclBOSyncDirection, direction)


@contextmanager
def _foreign(what: str) -> Iterator[None]:
    """What goes wrong inside PYNQ, which raises whatever comes up, as a :class:`DeviceError` that says during
    ``what``.
    """
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        raise _error(what, error) from error


def _error(what: str, error: Exception) -> DeviceError:
    hint = ""
    if isinstance(error, PermissionError) or "Root permissions" in str(error):
        hint = f"; PYNQ needs root, this is user {os.geteuid()}: use sudo -E, inside PYNQ's environment"
    elif "No Devices Found" in str(error):
        hint = "; this machine is no board with PYNQ, or XRT is not set up (. /etc/profile.d/xrt_setup.sh)"
    elif "not downloaded" in str(error) or "not currently loaded" in str(error):
        hint = "; another program has taken the board, or it has been reset: open it again"
    return DeviceError(f"device pynq: {what}: {_text(error)}{hint}")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _import() -> Any:
    try:
        import pynq
    except ImportError as error:
        raise DeviceError(
            f"device pynq: the package pynq cannot be imported ({error}); on a board, use the Python of PYNQ's "
            f"environment (. /etc/profile.d/pynq_venv.sh)"
        ) from error
    return pynq


def _find(overlay: Any) -> Any:
    """The accelerator's driver: the IP of our kind, whatever its name."""
    kinds = {name: str(entry.get("type")) for name, entry in overlay.ip_dict.items()}
    name = next((name for name, kind in kinds.items() if kind == VLNV), None)
    if name is None:
        family = VLNV.rpartition(":")[0] + ":"
        others = ", ".join(kind for kind in kinds.values() if kind.startswith(family)) or "no accelerator"
        raise DeviceError(f"device pynq: overlay {overlay.bitfile_name}: PYNQ finds {others} in it, expected {VLNV}")
    found = overlay
    for part in name.split("/"):
        found = getattr(found, part)
    return found


def _configure(pynq: Any, overlay: Any, handoff: Handoff) -> float | None:
    """Set clock and port widths; returns the clock in Hz, ``None`` if the design does not tell what it should be."""
    device = overlay.device
    with _foreign("clock of the logic"):
        if getattr(device, "arch", None) != "armv7l":
            return _configure_other(pynq, handoff)
        system = zynq.ProcessingSystem(
            lambda page: _Words(pynq.MMIO(page, zynq.PAGE_BYTES, device=device)), zynq.oscillator_hz()
        )
        return system.prepare(handoff)


def _configure_other(pynq: Any, handoff: Handoff) -> float | None:
    """On UltraScale+, whose port widths PYNQ sets, and whose clock it knows."""
    if handoff.clock_hz is None:
        return None
    pynq.Clocks.fclk0_mhz = handoff.clock_hz / 1e6
    found = 1e6 * float(pynq.Clocks.fclk0_mhz)
    if found > zynq.ABOVE * handoff.clock_hz:
        raise DeviceError(
            f"device pynq: the clock can be set to {found / 1e6:g} MHz only, but the design is for "
            f"{handoff.clock_hz / 1e6:g}"
        )
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _memory_text() -> str:
    """How much contiguous memory is free, as the kernel says."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        free, total = (int(lines[name].split()[0]) // 1024 for name in ("CmaFree", "CmaTotal"))
    except (OSError, KeyError, ValueError):
        return "the kernel does not tell how much is free"
    return f"{free} of {total} MiB contiguous memory (CMA) are free"


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
