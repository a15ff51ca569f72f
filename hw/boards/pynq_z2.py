# SPDX-License-Identifier: Apache-2.0
"""The PYNQ-Z2 of TUL: DDR3 of 16 bits at 1050 Mb/s (its constraint file pynq-z2_v1.0.xdc)."""

from hw.boards.zynq_7020 import plls, zynq_7020

PYNQ_Z2 = zynq_7020(
    "pynq-z2", leds="R14 P14 N16 M14", crystal_mhz=50.0, plls=plls(1000, 1300, 1050), memory_bytes=512 << 20
)
