# SPDX-License-Identifier: Apache-2.0
"""The Arty Z7-20 of Digilent: DDR3 of 16 bits at 1050 Mb/s (Arty-Z7-20-Master.xdc)."""

from hw.boards.zynq_7020 import plls, zynq_7020

ARTY_Z7_20 = zynq_7020(
    "arty-z7-20", leds="R14 P14 N16 M14", crystal_mhz=50.0, plls=plls(1000, 1300, 1050), memory_bytes=512 << 20
)
