# SPDX-License-Identifier: Apache-2.0
"""PS7, the processor block of a Zynq-7000: clock, reset, interrupt, M_AXI_GP0 and two S_AXI_HP ports (UG585, chapters 5
and 25).

Its other ports are left open: pads of memory and peripherals belong to the block whatever the fabric holds, and the
boot loader configures them.
"""

from __future__ import annotations

from hw.axi import ProcessorPort
from hw.boards.hard_cell import AxiWidths, Ports, axi_ports
from hw.boards.processor_system import ProcessorSystem

REGISTERS_PORT = ProcessorPort(address_width=32, id_width=12, len_width=4)

GP = AxiWidths(address=32, data=32, ident=12, length=4, size=2, lock=2, write_id=12)
HP = AxiWidths(address=32, data=64, ident=6, length=4, size=2, lock=2, write_id=6)

PORTS: Ports = {
    "FCLKCLK": ("o", 4),
    "FCLKRESETN": ("o", 4),
    "FCLKCLKTRIGN": ("i", 4),
    "FPGAIDLEN": ("i", 1),
    "IRQF2P": ("i", 20),
    "MAXIGP0ACLK": ("i", 1),
    **axi_ports("MAXIGP0", GP, block_is_master=True),
    **axi_ports("SAXIHP0", HP, block_is_master=False),
    **axi_ports("SAXIHP1", HP, block_is_master=False),
    **{
        f"SAXIHP{n}{name}": ("i", 1)
        for n in (0, 1)
        # Low: as many bursts in flight as the port's FIFOs hold, instead of the limit in a register.
        for name in ("ACLK", "RDISSUECAP1EN", "WRISSUECAP1EN")
    },
}
"""Those in use, which include all inputs of the AXI ports."""

PS7 = ProcessorSystem(
    cell="PS7",
    ports=PORTS,
    registers_signature=REGISTERS_PORT,
    registers_port="MAXIGP0",
    memory_ports=("SAXIHP0", "SAXIHP1"),
    clock=("FCLKCLK", 0),
    clock_buffer="BUFG",
    reset_n=("FCLKRESETN", 0),
    clock_inputs=("MAXIGP0ACLK", "SAXIHP0ACLK", "SAXIHP1ACLK"),
    interrupt=("IRQF2P", 0),
)
