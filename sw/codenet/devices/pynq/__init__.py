# SPDX-License-Identifier: Apache-2.0
"""The board through PYNQ: the device, and the driver that PYNQ binds to the design."""

from codenet.devices.pynq.device import PynqDevice

__all__ = ["PynqDevice"]
