# SPDX-License-Identifier: Apache-2.0
"""Devices by name: what can run a program, and how to open it.

A factory is a function of an :class:`~codenet.config.AcceleratorConfig` (what the program was compiled for; boards may
ignore it, the driver compares) that returns an open :class:`~codenet.devices.base.Device`. Other packages offer devices
through the entry point group ``codenet.devices``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from codenet.config import AcceleratorConfig
from codenet.devices.base import Buffer, Device
from codenet.errors import DeviceError

__all__ = ["Buffer", "Device", "DeviceFactory", "device_names", "open_device", "register"]

DeviceFactory = Callable[[AcceleratorConfig], Device]

ENTRY_POINTS = "codenet.devices"


@dataclass(frozen=True)
class _Entry:
    factory: DeviceFactory
    is_present: Callable[[], bool] | None
    self_test: bool = False


_registry: dict[str, _Entry] = {}


def register(
    name: str, factory: DeviceFactory, *, is_present: Callable[[], bool] | None = None, self_test: bool = False
) -> None:
    """Make a device known as ``name``; a later registration replaces an earlier one.

    ``is_present`` is for boards: it tells, without side effects, whether this machine has one. ``"auto"`` opens the
    first that is present. ``self_test``: run :func:`codenet.devices.selftest.require` on it when it is opened.
    """
    if name == "auto":
        raise DeviceError("device name 'auto': is reserved for the choice of a device")
    _registry[name] = _Entry(factory, is_present, self_test)


def device_names() -> list[str]:
    """Names that :func:`open_device` knows, ``auto`` aside."""
    return sorted({*_registry, *_entry_points()})


def open_device(name: str, config: AcceleratorConfig, *, test: bool = True) -> Device:
    """Open device ``name``; ``"auto"``: the board if this machine has one, otherwise the golden model.

    ``test``: with the self-test, if it is a board.

    Raises
    ------
    DeviceError
        No such device, or it cannot be opened here, or the self-test failed.
    """
    if name == "auto":
        present = (other for other, entry in _registry.items() if entry.is_present is not None and entry.is_present())
        name = next(present, "golden")
    if name in _registry:
        device = _registry[name].factory(config)
        if test and _registry[name].self_test:
            _require(device)
        return device
    point = _entry_points().get(name)
    if point is None:
        raise DeviceError(f"device {name!r}: expected auto or one of {', '.join(device_names())}")
    try:
        factory: DeviceFactory = point.load()
    except ImportError as error:
        raise DeviceError(
            f"device {name!r} ({point.value}): cannot be loaded here ({error}); the simulated board needs a checkout "
            f"of the project with its simulation packages"
        ) from error
    return factory(config)


def _require(device: Device) -> None:
    from codenet.devices import selftest

    try:
        selftest.require(device)
    except BaseException:
        device.close()
        raise


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def _golden(config: AcceleratorConfig) -> Device:
    from codenet.devices.golden import GoldenDevice

    return GoldenDevice(config)


def _pynq(config: AcceleratorConfig) -> Device:
    from codenet.devices.pynq import device as pynq

    return pynq.open_device(config)


def _pynq_is_present() -> bool:
    from codenet.devices.pynq import device as pynq

    return pynq.is_present()


def _uio(config: AcceleratorConfig) -> Device:
    from codenet.devices.linux import uio

    return uio.open_device(config)


def _uio_is_present() -> bool:
    from codenet.devices.linux import uio

    return uio.is_present()


register("golden", _golden)
register("pynq", _pynq, is_present=_pynq_is_present, self_test=True)
register("uio", _uio, is_present=_uio_is_present, self_test=True)
