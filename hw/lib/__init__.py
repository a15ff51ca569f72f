# SPDX-License-Identifier: Apache-2.0
"""General gateware that knows nothing of CoDeNet: delays, counters, memories, registers and queues of streams."""

from hw.lib.block_memory import READ_LATENCY, BlockMemory
from hw.lib.bundle import connect_bundle, taken
from hw.lib.counter import count_to
from hw.lib.pipeline import delay
from hw.lib.ports import flat_ports
from hw.lib.relay import relay, relays
from hw.lib.skid_buffer import StreamRegister
from hw.lib.stream_fifo import StreamQueue

__all__ = [
    "BlockMemory",
    "READ_LATENCY",
    "StreamQueue",
    "StreamRegister",
    "connect_bundle",
    "count_to",
    "delay",
    "flat_ports",
    "relay",
    "relays",
    "taken",
]
