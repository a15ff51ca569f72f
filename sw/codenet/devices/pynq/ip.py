# SPDX-License-Identifier: Apache-2.0
"""The driver that PYNQ binds to the accelerator of an overlay. Needs the package ``pynq``: import it only where that
is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pynq

from codenet.devices.bitstream import VLNV

if TYPE_CHECKING:
    from codenet.devices.pynq.device import PynqDevice


class CodenetIP(pynq.DefaultIP):
    """An accelerator in an overlay.

    Import this module before the overlay is made, and the overlay has one under the accelerator's name::

        overlay = pynq.Overlay("codenet.bit")
        detector = Detector("codenet-a.cdn", overlay.codenet_0.open_device())
    """

    bindto = [VLNV]

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description=description)

    def open_device(self) -> PynqDevice:
        """The device that :class:`codenet.Detector` takes. Its clock and ports stay as they are."""
        from codenet.devices.pynq.device import PynqDevice

        return PynqDevice(self)
