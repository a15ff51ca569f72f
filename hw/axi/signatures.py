# SPDX-License-Identifier: Apache-2.0
"""Signatures of AXI ports, seen from the master."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.registers import ADDRESS_BITS


class ReadPort(wiring.Signature):
    """AXI3/AXI4 read channels of a master with one ID, 64-bit data, INCR bursts of 1 to 16 beats of 8 bytes, 32-bit
    addresses.

    ``ar_len`` is beats - 1. Constant fields (size 3, burst INCR, cache 0b0011, prot 0, id 0) are added by the top
    level.
    """

    def __init__(self):
        super().__init__(
            {
                "ar_valid": Out(1),
                "ar_ready": In(1),
                "ar_addr": Out(32),
                "ar_len": Out(4),
                "r_valid": In(1),
                "r_ready": Out(1),
                "r_data": In(64),
                "r_resp": In(2),
                "r_last": In(1),
            }
        )


class WritePort(wiring.Signature):
    """AXI3/AXI4 write channels of a master with one ID; conventions of :class:`ReadPort`."""

    def __init__(self):
        super().__init__(
            {
                "aw_valid": Out(1),
                "aw_ready": In(1),
                "aw_addr": Out(32),
                "aw_len": Out(4),
                "w_valid": Out(1),
                "w_ready": In(1),
                "w_data": Out(64),
                "w_strb": Out(8),
                "w_last": Out(1),
                "b_valid": In(1),
                "b_ready": Out(1),
                "b_resp": In(2),
            }
        )


class AxiLite(wiring.Signature):
    """AXI4-Lite seen from the master: 32-bit data, 12-bit byte addresses, no protection bits."""

    def __init__(self):
        super().__init__(
            {
                "aw_valid": Out(1),
                "aw_ready": In(1),
                "aw_addr": Out(ADDRESS_BITS),
                "w_valid": Out(1),
                "w_ready": In(1),
                "w_data": Out(32),
                "w_strb": Out(4),
                "b_valid": In(1),
                "b_ready": Out(1),
                "b_resp": In(2),
                "ar_valid": Out(1),
                "ar_ready": In(1),
                "ar_addr": Out(ADDRESS_BITS),
                "r_valid": In(1),
                "r_ready": Out(1),
                "r_data": In(32),
                "r_resp": In(2),
            }
        )
