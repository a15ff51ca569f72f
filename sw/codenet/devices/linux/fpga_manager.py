# SPDX-License-Identifier: Apache-2.0
"""Loads bitstreams through the kernel's FPGA manager, as the kernels of Zynq boards have it (attribute
``firmware``).
"""

from __future__ import annotations

from pathlib import Path

from codenet import files
from codenet.devices.bitstream import configuration
from codenet.devices.linux.kernel import Kernel, naming
from codenet.errors import DeviceError

FIRMWARE = "codenet.bin"
"""Name of the file below ``/lib/firmware``."""

OPERATING = "operating"


def state(kernel: Kernel) -> str:
    """Of the logic, in the kernel's words: ``operating`` if a bitstream is loaded.

    Raises
    ------
    DeviceError
        There is no FPGA manager.
    """
    return kernel.attribute(_manager(kernel) / "state")


def load(kernel: Kernel, bitstream: Path) -> None:
    """Load a whole bitstream (``.bit`` or ``.bin``).

    Raises
    ------
    FormatError
        The file is no bitstream.
    DeviceError
        There is no FPGA manager, a permission is missing, or the manager refuses the bitstream.
    """
    manager = _manager(kernel)
    if not (manager / "firmware").exists():
        raise DeviceError(
            f"{manager}: has no attribute 'firmware', which Xilinx's kernels have; with this one, load the bitstream "
            f"by a device tree overlay, and open the device without a bitstream"
        )
    data = configuration(bitstream)
    target = kernel.firmware / FIRMWARE
    with naming(target):
        files.write(target, data)
    if (manager / "flags").exists():
        kernel.command(manager / "flags", "0")  # All of the logic, not a region.
    try:
        kernel.command(manager / "firmware", FIRMWARE)
    except DeviceError as error:
        raise DeviceError(f"bitstream {bitstream}: {error}; state {kernel.attribute(manager / 'state')!r}") from error
    found = kernel.attribute(manager / "state")
    if found != OPERATING:
        raise DeviceError(
            f"bitstream {bitstream}: {manager / 'state'} is {found!r} after loading it, expected {OPERATING!r}"
        )


def _manager(kernel: Kernel) -> Path:
    found = kernel.entries("fpga_manager")
    if not found:
        raise DeviceError(
            f"{kernel.sysfs / 'class/fpga_manager'}: there is none: no Zynq, or a kernel without CONFIG_FPGA"
        )
    return found[0]
