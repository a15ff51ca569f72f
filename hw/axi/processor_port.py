# SPDX-License-Identifier: Apache-2.0
"""The port by which a processor reaches the fabric, as a signature: AXI3 (Zynq-7000) or AXI4 (Zynq UltraScale+), 32-bit
data.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OKAY, EXOKAY, SLVERR, DECERR = range(4)
"""Responses."""

FIXED, INCR, WRAP, RESERVED = range(4)
"""Kinds of burst."""


class ProcessorPort(wiring.Signature):
    """AXI seen from the master, without what a slave of registers has no use for: lock, cache, protection, quality of
    service, write ID.

    ``w_id`` of AXI3 may be left out because a slave that takes one write after the other allows no interleaving of
    their data.

    Parameters
    ----------
    address_width:
        Bits of an address: 32 for a Zynq-7000, 40 for a Zynq UltraScale+.
    id_width:
        Bits of an ID.
    len_width:
        Bits of a burst's length: 4 for AXI3, 8 for AXI4.
    """

    def __init__(self, address_width: int, id_width: int, len_width: int) -> None:
        self.address_width, self.id_width, self.len_width = address_width, id_width, len_width
        members = {}
        for channel in ("ar", "aw"):
            members |= {
                f"{channel}_valid": Out(1),
                f"{channel}_ready": In(1),
                f"{channel}_id": Out(id_width),
                f"{channel}_addr": Out(address_width),
                f"{channel}_len": Out(len_width),
                f"{channel}_size": Out(3),
                f"{channel}_burst": Out(2),
            }
        members |= {
            "w_valid": Out(1),
            "w_ready": In(1),
            "w_data": Out(32),
            "w_strb": Out(4),
            "w_last": Out(1),
            "b_valid": In(1),
            "b_ready": Out(1),
            "b_id": In(id_width),
            "b_resp": In(2),
            "r_valid": In(1),
            "r_ready": Out(1),
            "r_id": In(id_width),
            "r_data": In(32),
            "r_resp": In(2),
            "r_last": In(1),
        }
        super().__init__(members)
