# SPDX-License-Identifier: Apache-2.0
"""The PYNQ-Z1 of Digilent: DDR3 of 16 bits at 1050 Mb/s (constraints of PYNQ's base design, boards/Pynq-Z1)."""

from hw.boards.zynq_7020 import plls, zynq_7020

PYNQ_Z1 = zynq_7020(
    "pynq-z1", leds="R14 P14 N16 M14", crystal_mhz=50.0, plls=plls(1000, 1300, 1050), memory_bytes=512 << 20
)
