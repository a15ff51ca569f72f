# SPDX-License-Identifier: Apache-2.0
"""The PYNQ-Z2's pins, as Amaranth describes boards (TUL's constraint file pynq-z2_v1.0.xdc)."""

from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal
from amaranth.vendor import XilinxPlatform

LVCMOS33 = Attrs(IOSTANDARD="LVCMOS33")


def _lines(name: str, pins: str, direction: str) -> list[Resource]:
    return [Resource(name, n, Pins(pin, dir=direction), LVCMOS33) for n, pin in enumerate(pins.split())]


def _rgb(number: int, r: str, g: str, b: str) -> Resource:
    colours = {"r": r, "g": g, "b": b}
    return Resource("rgb_led", number, *(Subsignal(c, Pins(pin, dir="o")) for c, pin in colours.items()), LVCMOS33)


class PynqZ2Platform(XilinxPlatform):
    """Clock, switches, buttons and lights. LD0 to LD3 are ``led``, LD4 and LD5 ``rgb_led``."""

    device = "xc7z020"
    package = "clg400"
    speed = "1"
    default_clk = "clk125"  # from the Ethernet chip; the design has its clock from the processor
    resources = [
        Resource("clk125", 0, Pins("H16", dir="i"), Clock(125e6), LVCMOS33),
        *_lines("led", "R14 P14 N16 M14", "o"),
        *_lines("button", "D19 D20 L20 L19", "i"),
        *_lines("switch", "M20 M19", "i"),
        _rgb(0, "N15", "G17", "L15"),
        _rgb(1, "M15", "L14", "G14"),
    ]
    connectors = []
