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


class BusControl(wiring.Signature):
    """What every bus master is told, and tells; seen from who tells it.

    Members
    -------
    clear:
        Pulse or level: forget what is to be done, let the transfers on the bus end, clear ``error``.
    reset:
        With ``clear``, and the bus in reset too: forget what is in flight.
    beat:
        One cycle high for each beat moved, for counters.
    error:
        Sticky: a response was not OKAY. Cleared by ``clear``.
    """

    def __init__(self):
        super().__init__({"clear": Out(1), "reset": Out(1), "beat": In(1), "error": In(1)})


class BusMaster(wiring.Signature):
    """:class:`BusControl` of a component that moves what a step, or the next one's fetch, wants.

    Members
    -------
    base:
        Added to every address; stable while ``busy``.
    busy:
        High from the cycle after the start until all is done, and while clearing until all transfers have ended.
    """

    def __init__(self):
        super().__init__({"base": Out(32), "busy": In(1), **BusControl().members})


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
