# SPDX-License-Identifier: Apache-2.0
"""Whether what answers is an accelerator, and the one that a program was compiled for."""

from __future__ import annotations

from codenet.config import AcceleratorConfig
from codenet.devices.base import Device
from codenet.errors import ConfigError, DeviceError
from codenet.isa import ISA_VERSION
from codenet.program import Program
from codenet.registers import BY_NAME, IDENTITY, config_from_registers, config_registers


def check_identity(device: Device) -> None:
    """Compare a device's identity; nothing is written to what may be something else.

    Raises
    ------
    DeviceError
        Something else answers, or nothing.
    """
    identity = device.read(BY_NAME["IDENTITY"].offset)
    if identity != IDENTITY:
        raise DeviceError(
            f"device {device.name}: IDENTITY reads {identity:#010x}, expected {IDENTITY:#010x}; no CoDeNet accelerator "
            f"answers"
        )


def read_config(device: Device) -> AcceleratorConfig:
    """Sizes of the accelerator that a device is.

    Raises
    ------
    DeviceError
        It is none, of another version than this package, or its configuration makes no sense.
    """
    check_identity(device)
    version = device.read(BY_NAME["VERSION"].offset)
    if version != ISA_VERSION:
        raise DeviceError(
            f"device {device.name}: version {version}, but this package drives version {ISA_VERSION}; load another "
            f"bitstream, or install the package that belongs to this one"
        )
    words = {name: device.read(BY_NAME[name].offset) for name in ("CONFIG0", "CONFIG1", "CONFIG2")}
    try:
        return config_from_registers(words)
    except ConfigError as error:
        raise DeviceError(f"device {device.name}: its configuration registers make no sense ({error})") from error


def check_device(device: Device, program: Program) -> None:
    """Compare a device's identity, version and configuration with what the program was compiled for.

    Raises
    ------
    DeviceError
        They differ; the message names both.
    """
    check_identity(device)
    expected = config_registers(program.config)
    words = {name: device.read(BY_NAME[name].offset) for name in expected}
    if words["VERSION"] != expected["VERSION"]:
        raise DeviceError(
            f"device {device.name}: version {words['VERSION']}, but program {program.name!r} is of version "
            f"{expected['VERSION']}"
        )
    if words == expected:
        return
    try:
        found = config_from_registers(words).to_dict()
    except ConfigError as error:
        raise DeviceError(f"device {device.name}: its configuration registers make no sense ({error})") from error
    wanted = program.config.to_dict()
    differing = [name for name in wanted if found[name] != wanted[name]]
    if not differing:  # The lanes: a constant, not part of the configuration.
        raise DeviceError(
            f"device {device.name}: CONFIG0 {words['CONFIG0']:#010x}, expected {expected['CONFIG0']:#010x}"
        )
    raise DeviceError(
        f"device {device.name}: configuration {_values(found, differing)}, but program {program.name!r} was compiled "
        f"for {_values(wanted, differing)}"
    )


def _values(config: dict[str, int], names: list[str]) -> str:
    return ", ".join(f"{name}={config[name]}" for name in names)
