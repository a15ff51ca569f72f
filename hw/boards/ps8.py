# SPDX-License-Identifier: Apache-2.0
"""PS8, the processor block of a Zynq UltraScale+: clock, reset, interrupt, M_AXI_HPM0_FPD, S_AXI_HP0_FPD and
S_AXI_HP1_FPD (UG1085, chapter 35).

The block numbers its ports otherwise: HPM0_FPD is MAXIGP0, HP0_FPD and HP1_FPD are SAXIGP2 and SAXIGP3. All data are
128 bits wide at the block; registers of the block choose how many of them are used (32 for the registers here, 64 for
memory), and what loads the bitstream must set them. The fabric's reset is the last bit of the extended GPIO.
"""

from __future__ import annotations

from hw.axi import ProcessorPort
from hw.boards.hard_cell import AxiWidths, Ports, axi_ports
from hw.boards.processor_system import ProcessorSystem

REGISTERS_PORT = ProcessorPort(address_width=40, id_width=16, len_width=8)

HPM = AxiWidths(address=40, data=128, ident=16, length=8, size=3, lock=1, write_id=0)
HP = AxiWidths(address=49, data=128, ident=6, length=8, size=3, lock=1, write_id=0)

PORTS: Ports = {
    "PLCLK": ("o", 4),
    "EMIOGPIOO": ("o", 96),
    "PLPSIRQ0": ("i", 8),
    "MAXIGP0ACLK": ("i", 1),
    **axi_ports("MAXIGP0", HPM, block_is_master=True),
    **axi_ports("SAXIGP2", HP, block_is_master=False),
    **axi_ports("SAXIGP3", HP, block_is_master=False),
    **{f"SAXIGP{n}{name}": ("i", 1) for n in (2, 3) for name in ("RCLK", "WCLK", "ARUSER", "AWUSER")},
}

PS8 = ProcessorSystem(
    cell="PS8",
    ports=PORTS,
    registers_signature=REGISTERS_PORT,
    registers_port="MAXIGP0",
    memory_ports=("SAXIGP2", "SAXIGP3"),
    clock=("PLCLK", 0),
    clock_buffer="BUFG_PS",
    reset_n=("EMIOGPIOO", 95),
    clock_inputs=("MAXIGP0ACLK", *(f"SAXIGP{n}{channel}CLK" for n in (2, 3) for channel in "RW")),
    interrupt=("PLPSIRQ0", 0),
)
