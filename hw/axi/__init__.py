# SPDX-License-Identifier: Apache-2.0
"""AXI: signatures, read and write masters, and the bridge from a processor to AXI4-Lite."""

from hw.axi.burst_splitter import BURST_BEATS, RUN
from hw.axi.lite_bridge import RegistersBridge
from hw.axi.processor_port import ProcessorPort
from hw.axi.read_master import BurstReader
from hw.axi.signatures import AxiLite, BusControl, BusMaster, ReadPort, WritePort
from hw.axi.write_master import BurstWriter

__all__ = [
    "AxiLite",
    "BusControl",
    "BusMaster",
    "BURST_BEATS",
    "BurstReader",
    "BurstWriter",
    "ProcessorPort",
    "RUN",
    "ReadPort",
    "RegistersBridge",
    "WritePort",
]
