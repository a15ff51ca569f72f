# SPDX-License-Identifier: Apache-2.0
"""What a machine is, and what a board's drivers miss on it: looked up in files alone, without touching the hardware.

All files are looked for below a root, so that a tree of files can stand for a board.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codenet.devices.boards import BOARDS, DEVICE_TREE, Board, find_board, match_board, read_text
from codenet.devices.linux import udmabuf
from codenet.devices.linux.kernel import Kernel
from codenet.devices.linux.uio import NODE
from codenet.devices.selftest import Check
from codenet.errors import DeviceError

PYNQ_PACKAGES = "usr/local/share/pynq-venv/lib/python3*/site-packages"
"""Of PYNQ's images since 2.7."""

PYNQ_ENVIRONMENT, XRT_ENVIRONMENT = "/etc/profile.d/pynq_venv.sh", "/etc/profile.d/xrt_setup.sh"

JUPYTER = "home/xilinx/jupyter_notebooks"

CHIP_NUMBERS = {"7z020clg400": 0x07}
"""What ``/sys/devices/soc0/soc_id`` is on a Zynq-7000 (UG585, register PSS_IDCODE, DEVICE)."""

LEAST_MEMORY = 8 << 20
"""Bytes that are asked for: two frames of the largest shipped program."""

UDMABUF_BYTES = 32 << 20

Access = Callable[[Path, int], bool]


@dataclass(frozen=True)
class Machine:
    """A machine by its files.

    Attributes
    ----------
    root:
        Where they are.
    user:
        Who asks; 0 is root.
    has_pynq:
        Whether this Python finds the package pynq.
    access:
        As :func:`os.access`.
    """

    root: Path = Path("/")
    user: int = field(default_factory=os.geteuid)
    has_pynq: bool = field(default_factory=lambda: importlib.util.find_spec("pynq") is not None)
    access: Access = os.access

    @property
    def kernel(self) -> Kernel:
        """Its kernel's files."""
        return Kernel(self.root / "sys", self.root / "dev", self.root / "lib/firmware")

    @property
    def tree(self) -> Path:
        """Its device tree."""
        return self.root / "sys" / DEVICE_TREE

    @property
    def model(self) -> str:
        """What its device tree calls it; without one, what its operating system is."""
        return read_text(self.tree / "model") or self.system

    @property
    def system(self) -> str:
        """Its Linux: ``Ubuntu 22.04``."""
        found = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text(self.root / "etc/os-release"), re.MULTILINE)
        return found[1] if found else "unknown Linux"

    @property
    def pynq(self) -> str | None:
        """Version of PYNQ that its image has; ``None``: none."""
        for folder in sorted(self.root.glob(f"{PYNQ_PACKAGES}/pynq-*.dist-info")):
            return folder.name.removeprefix("pynq-").removesuffix(".dist-info")
        return "unknown" if (self.tree / "chosen/pynq_board").exists() else None

    @property
    def device(self) -> str:
        """Name of the device for it."""
        return "uio" if self.pynq is None else "pynq"

    def board(self) -> Board:
        """The board that it is.

        Raises
        ------
        DeviceError
            It is none of those that there is a bitstream for.
        """
        named = re.search(r'^(?:export )?BOARD="?([^"\n]+)', read_text(self.root / "etc/environment"), re.MULTILINE)
        board = find_board(self.tree) or (match_board(named[1]) if named else None)
        if board is None:
            raise DeviceError(
                f"this machine ({self.model}) is none of the boards {', '.join(BOARDS)}; --board says which it is, and "
                f"--device golden runs everything without one"
            )
        return board

    def checks(self, board: Board) -> Iterator[Check]:
        """What the driver needs, one thing each; a text that begins another line says how to get it."""
        yield Check("board", True, f"{board.title} ({self.model})")
        version = "" if self.pynq is None else f", PYNQ {self.pynq}"
        yield Check("system", True, f"{self.system}{version}: device {self.device}")
        yield from self._chip(board)
        yield from self._manager()
        yield from self._of_pynq() if self.device == "pynq" else self._of_linux()

    def _chip(self, board: Board) -> Iterator[Check]:
        number, text = CHIP_NUMBERS.get(board.chip), read_text(self.root / "sys/devices/soc0/soc_id")
        if number is not None and text:
            found = int(text, 0)
            yield _check(
                "chip",
                found == number,
                board.chip,
                f"number {found:#04x}, expected {number:#04x}: the board's smaller model, or another one",
                "none: this design needs the larger chip",
            )

    def _manager(self) -> Iterator[Check]:
        found = self.kernel.entries("fpga_manager")
        if not found:
            yield _missing(
                "FPGA manager", f"{self.kernel.sysfs / 'class/fpga_manager'} is empty", "a kernel with CONFIG_FPGA"
            )
            return
        firmware = found[0] / "firmware"
        if not firmware.exists():
            yield _missing(
                "FPGA manager", f"{firmware} does not exist", "a kernel of Xilinx, as PYNQ's and PetaLinux' images have"
            )
            return
        yield self._may("FPGA manager", firmware)

    def _of_pynq(self) -> Iterator[Check]:
        yield _check(
            "pynq",
            self.has_pynq,
            "this Python has it",
            "this Python does not find the package",
            f". {PYNQ_ENVIRONMENT}, in a root shell: sudo -i",
        )
        yield _check(
            "root", self.user == 0, "this is root", f"this is user {self.user}, and PYNQ needs root", "sudo -i"
        )
        render = self.root / "dev/dri/renderD128"
        yield _check("XRT", render.exists(), f"{render}", f"{render} does not exist", "modprobe zocl")
        memory = self._contiguous()
        if memory is not None:
            yield _check(
                "memory",
                memory >= LEAST_MEMORY,
                f"{memory >> 20} MiB contiguous memory (CMA) are free",
                f"{memory >> 20} MiB contiguous memory (CMA) are free, expected {LEAST_MEMORY >> 20}",
                "close notebooks that hold overlays, or cma=128M on the kernel's command line",
            )

    def _contiguous(self) -> int | None:
        found = re.search(r"^CmaFree:\s+(\d+) kB", read_text(self.root / "proc/meminfo"), re.MULTILINE)
        return int(found[1]) << 10 if found else None

    def _of_linux(self) -> Iterator[Check]:
        firmware = self.kernel.firmware
        if firmware.is_dir():
            yield self._may("firmware", firmware)
        else:
            yield _missing("firmware", f"{firmware} does not exist", f"mkdir -p {firmware}")
        yield from self._shared_memory()
        nodes = [entry for entry in self.kernel.entries("uio") if read_text(entry / "name").partition("@")[0] == NODE]
        if nodes:
            yield self._may("registers", self.kernel.dev / nodes[0].name)
        else:
            yield Check(
                "interrupt", None, f"no UIO device {NODE!r}: it is polled, and registers are taken from /dev/mem"
            )
        yield self._may("processor's registers", self.kernel.dev / "mem")

    def _shared_memory(self) -> Iterator[Check]:
        name = "memory"
        entries = [entry for kind in udmabuf.CLASSES for entry in self.kernel.entries(kind)]
        if not entries:
            built = any(self.root.glob("lib/modules/*/**/u-dma-buf.ko*"))
            load = f"modprobe u-dma-buf udmabuf0={UDMABUF_BYTES}"
            get = load if built else f"build the module (https://github.com/ikwzm/udmabuf), then {load}"
            yield _missing(name, "the kernel module u-dma-buf is not loaded", get)
            return
        size = int(read_text(entries[0] / "size") or "0", 0)
        if size < LEAST_MEMORY:
            get = f"rmmod u-dma-buf; modprobe u-dma-buf udmabuf0={UDMABUF_BYTES}"
            yield _missing(name, f"{entries[0].name} has {size} bytes, expected {LEAST_MEMORY}", get)
            return
        yield self._may(name, self.kernel.dev / entries[0].name)

    def _may(self, name: str, path: Path) -> Check:
        """Whether the user may read and write a file."""
        if not path.exists():
            return _missing(name, f"{path} does not exist", "load the module or device tree that makes it")
        text = f"user {self.user} may not write {path}"
        return _check(name, self.access(path, os.R_OK | os.W_OK), str(path), text, "sudo, or a udev rule for the group")


def _check(name: str, passed: bool, good: str, bad: str, get: str) -> Check:
    return Check(name, True, good) if passed else _missing(name, bad, get)


def _missing(name: str, text: str, get: str) -> Check:
    return Check(name, False, f"{text}; to get it: {get}")
