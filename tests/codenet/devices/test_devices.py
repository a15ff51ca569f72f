# SPDX-License-Identifier: Apache-2.0
"""Devices by name, from this package and from others."""

from importlib import metadata

import pytest

from codenet import devices
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from tests.codenet.fakes import FakeDevice

CONFIG = AcceleratorConfig.small()


@pytest.fixture
def registry(monkeypatch):
    """Registrations of a test end with it."""
    monkeypatch.setattr(devices, "_registry", dict(devices._registry))
    return devices._registry


def points(monkeypatch, *found):
    monkeypatch.setattr(devices, "_entry_points", lambda: {point.name: point for point in found})


def test_registered_device_gets_the_configuration(registry):
    devices.register("mine", FakeDevice)
    device = devices.open_device("mine", CONFIG)
    assert isinstance(device, FakeDevice)
    assert device.registers["CONFIG0"] & 0xFF == CONFIG.outputs
    assert "mine" in devices.device_names()


def test_unknown_device_lists_the_known():
    with pytest.raises(DeviceError, match=r"'fpga': expected auto or one of .*golden"):
        devices.open_device("fpga", CONFIG)


def test_auto_is_a_reserved_name():
    with pytest.raises(DeviceError, match="reserved"):
        devices.register("auto", FakeDevice)


@pytest.mark.parametrize(("present", "opened"), [([], "golden"), ([False, False], "golden"), ([False, True], "board1")])
def test_auto_takes_the_first_board_that_is_present(registry, present, opened):
    def factory(name):
        def open_it(config):
            device = FakeDevice(config)
            device.name = name
            return device

        return open_it

    devices.register("golden", factory("golden"))
    devices.register("simulator", factory("simulator"))
    for n, answer in enumerate(present):
        devices.register(f"board{n}", factory(f"board{n}"), is_present=lambda answer=answer: answer)
    assert devices.open_device("auto", CONFIG).name == opened


def test_device_of_another_package(monkeypatch):
    points(monkeypatch, metadata.EntryPoint("extra", "tests.codenet.fakes:FakeDevice", devices.ENTRY_POINTS))
    assert isinstance(devices.open_device("extra", CONFIG), FakeDevice)


def test_device_whose_package_is_missing(monkeypatch):
    points(monkeypatch, metadata.EntryPoint("extra", "no_such_package.board:open_device", devices.ENTRY_POINTS))
    with pytest.raises(DeviceError, match=r"'extra' \(no_such_package.board:open_device\): cannot be loaded.*checkout"):
        devices.open_device("extra", CONFIG)


def test_simulated_board_is_declared():
    assert "rtl" in devices.device_names()
