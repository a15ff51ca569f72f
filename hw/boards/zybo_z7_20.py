# SPDX-License-Identifier: Apache-2.0
"""The Zybo Z7-20 of Digilent: DDR3L of 32 bits at 1066 Mb/s, twice as wide as on the others (Zybo-Z7-Master.xdc).

Where the others have lights it has sockets for modules, which must not be driven: so its bitstream is another one.
"""

from hw.boards.zynq_7020 import plls, zynq_7020

CRYSTAL_MHZ = 100 / 3

ZYBO_Z7_20 = zynq_7020(
    "zybo-z7-20",
    leds="M14 M15 G14 D18",
    crystal_mhz=CRYSTAL_MHZ,
    plls=plls(30 * CRYSTAL_MHZ, 40 * CRYSTAL_MHZ, 32 * CRYSTAL_MHZ),
    memory_bytes=1 << 30,
)
