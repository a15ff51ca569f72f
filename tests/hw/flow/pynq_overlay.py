# SPDX-License-Identifier: Apache-2.0
"""Opens our overlay with the real pynq package on a device that only remembers; run by a Python that has pynq, prints
JSON.

``python pynq_overlay.py FOLDER VLNV CELL``: FOLDER has ``codenet.bit`` and ``codenet.hwh``; CELL is the processor's
block, PS7 or PS8.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pynq
from pynq import DefaultIP, Device, Overlay
from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
from pynq.pl_server.embedded_device import bit2bin, parse_bit_header
from pynqmetadata.frontends import Metadata

SLCR = 0xF800_0000
IO_PLL_CONTROL, FABRIC_CLOCK_0 = SLCR + 0x108, SLCR + 0x170
CRL_APB = 0xFF5E_0000
IOPLL_CONTROL, PL0_CLOCK = CRL_APB + 0x20, CRL_APB + 0xC0


class MemoryDevice(Device):
    """Registers that keep what is written; the clock registers begin as the boot loader of a PYNQ-Z2, or of an Ultra96,
    leaves them.
    """

    def __init__(self, cell):
        super().__init__("memory")
        self.arch = {"PS7": "armv7l", "PS8": "aarch64"}[cell]
        self.capabilities = {"REGISTER_RW": True}
        self.words = {IO_PLL_CONTROL: 20 << 12, FABRIC_CLOCK_0: 1 << 20 | 10 << 8}
        self.words |= {IOPLL_CONTROL: 1 << 16 | 90 << 8, PL0_CLOCK: 1 << 24 | 1 << 16 | 10 << 8}
        for n in range(1, 4):
            self.words[FABRIC_CLOCK_0 + 16 * n] = 1 << 20 | 10 << 8
        self.downloads = []

    def get_bitfile_metadata(self, name, partial=False):
        return RuntimeMetadataParser(Metadata(input=str(Path(name).with_suffix(".hwh"))))

    def read_registers(self, address, length):
        return b"".join(self.words.get(address + n, 0).to_bytes(4, "little") for n in range(0, length, 4))

    def write_registers(self, address, data):
        for n, word in enumerate(np.frombuffer(bytes(data), "<u4")):
            self.words[address + 4 * n] = int(word)

    def download(self, bitstream, parser=None):
        self.downloads.append(Path(bitstream.bitfile_name).name)
        self.post_download(bitstream, parser, self.tag)


def main(folder, vlnv, cell):
    class Driver(DefaultIP):
        bindto = [vlnv]

    device = MemoryDevice(cell)
    overlay = Overlay(str(Path(folder) / "codenet.bit"), device=device)
    ip = overlay.ip_dict["codenet"]
    driver = overlay.codenet
    driver.register_map.SCRATCH = 0x1234_5678
    bit = (Path(folder) / "codenet.bit").read_bytes()
    header = parse_bit_header(bit)
    clock = device.words[FABRIC_CLOCK_0 if cell == "PS7" else PL0_CLOCK]
    widths = overlay.ip_dict[overlay.parser.ps_name]["parameters"] if cell == "PS8" else {}
    result = {
        "pynq": pynq.__version__,
        "driver": type(driver).__name__,
        "address": ip["phys_addr"],
        "size": ip["addr_range"],
        "type": ip["type"],
        "parameters": ip["parameters"],
        "registers": {
            name: [
                r["address_offset"],
                r["access"],
                {f: [v["bit_offset"], v["bit_width"]] for f, v in r["fields"].items()},
            ]
            for name, r in ip["registers"].items()
        },
        "written": {hex(a): v for a, v in device.words.items() if a < SLCR},
        "divisors": [clock >> 8 & 63, clock >> (20 if cell == "PS7" else 16) & 63],
        "widths": {name: value for name, value in widths.items() if name.endswith("_DATA_WIDTH")},
        "mhz": pynq.Clocks.fclk0_mhz,
        "downloads": device.downloads,
        "part": header["part"],
        "bin": bit2bin(bit).hex(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
