# SPDX-License-Identifier: Apache-2.0
"""The handoff file for PYNQ: its structure, and, where pynq is installed, an overlay opened with the real package.

``CODENET_PYNQ`` names Python programs that have pynq (separated as PATH is), for versions that cannot share an
environment with the project.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import boards
from codenet.devices.bit_file import SYNC_WORD, BitFile
from codenet.devices.bitstream import VLNV, Handoff
from codenet.registers import BY_NAME, REGISTERS
from hw.boards.board import BOARDS, PYNQ_Z2, ULTRA96
from hw.flow import hwh
from hw.flow.clocking import DDR_PLL, FabricClock, fabric_clock
from hw.verilog import Wrapper

CONFIG = AcceleratorConfig(outputs=24)
DATA = b"\xff" * 32 + SYNC_WORD + bytes(range(64))
BIT = BitFile("codenet;UserID=0XFFFFFFFF", "7z020clg400", "2026/11/25", "09:30:00", DATA)

PROGRAMS = os.environ.get("CODENET_PYNQ", "").split(os.pathsep) if os.environ.get("CODENET_PYNQ") else [sys.executable]
HAVE_PYNQ = bool(os.environ.get("CODENET_PYNQ")) or importlib.util.find_spec("pynq") is not None


@pytest.fixture(scope="module")
def text():
    return hwh.generate(PYNQ_Z2, CONFIG, 150, BIT)


@pytest.fixture(scope="module")
def modules(text):
    return {module.get("INSTANCE"): module for module in ElementTree.fromstring(text).iter("MODULE")}


def test_modules(modules):
    assert {name: (m.get("MODTYPE"), m.get("FULLNAME")) for name, m in modules.items()} == {
        "codenet": ("codenet", "/codenet"),
        "processing_system7_0": ("processing_system7", "/processing_system7_0"),
    }
    assert modules["codenet"].get("VLNV") == "codenet.org:user:codenet:1.0"


def test_people_can_read_it(text):
    """An element a line, indented."""
    lines = text.splitlines()
    assert len(lines) > 300 and max(len(line) for line in lines) < 500
    assert all(line.lstrip().startswith("<") for line in lines)


def test_address_range(modules):
    (found,) = modules["processing_system7_0"].iter("MEMRANGE")
    assert (found.get("BASEVALUE"), found.get("HIGHVALUE")) == ("0x43c00000", "0x43c00fff")
    assert (found.get("INSTANCE"), found.get("MEMTYPE")) == ("codenet", "REGISTER")
    interfaces = {m: {b.get("NAME") for b in modules[m].iter("BUSINTERFACE")} for m in modules}
    assert found.get("MASTERBUSINTERFACE") in interfaces["processing_system7_0"]
    assert found.get("SLAVEBUSINTERFACE") in interfaces["codenet"]


def test_widths_of_the_buses(modules):
    found = {b.get("NAME"): b.get("DATAWIDTH") for b in modules["codenet"].iter("BUSINTERFACE")}
    assert found == {"S_AXI": "32", "M_AXI0": "64", "M_AXI1": "64"}


def test_only_ports_of_several_bits_have_a_range(modules):
    ports = {p.get("NAME"): (p.get("LEFT"), p.get("RIGHT")) for p in modules["codenet"].iter("PORT")}
    assert ports["aclk"] == ports["m_axi0_arvalid"] == ports["irq"] == (None, None)
    assert (ports["m_axi0_rresp"], ports["m_axi0_rdata"]) == (("1", "0"), ("63", "0"))


def test_only_clocks_have_a_frequency(modules):
    """Of 150 MHz that are asked for, what a divisor makes."""
    found = {
        p.get("NAME"): p.get("CLKFREQUENCY") for p in modules["codenet"].iter("PORT") if "CLKFREQUENCY" in p.attrib
    }
    assert found == {"aclk": "142857143"}


def test_every_register_is_there(modules):
    found = {r.get("NAME"): r for r in modules["codenet"].iter("REGISTER")}
    assert list(found) == [register.name for register in REGISTERS]
    status = {p.get("NAME"): p.get("VALUE") for p in found["STATUS"].findall("PROPERTY")}
    assert (status["ADDRESS_OFFSET"], status["ACCESS"]) == ("0x24", "read-only")


def test_configuration_travels_along(modules):
    values = {p.get("NAME"): p.get("VALUE") for p in modules["codenet"].find("PARAMETERS")}
    assert {name: values[f"C_{name.upper()}"] for name in CONFIG.to_dict()} == {
        name: str(value) for name, value in CONFIG.to_dict().items()
    }


@pytest.mark.parametrize("board", [PYNQ_Z2, ULTRA96], ids=lambda board: board.name)
def test_clocks_that_are_off_divide_by_one(board):
    """Whoever asks for such a clock's frequency divides by them."""
    found = {
        p.get("NAME"): p.get("VALUE")
        for p in ElementTree.fromstring(hwh.generate(board, CONFIG, 100, BIT)).iter("PARAMETER")
    }
    names = (
        ("PCW_FPGA_FCLK{}_ENABLE", "PCW_FCLK{}_PERIPHERAL_DIVISOR0", "PCW_FCLK{}_PERIPHERAL_DIVISOR1")
        if board is PYNQ_Z2
        else ("PSU__FPGA_PL{}_ENABLE", "PSU__CRL_APB__PL{}_REF_CTRL__DIVISOR0", "PSU__CRL_APB__PL{}_REF_CTRL__DIVISOR1")
    )
    assert [[found[name.format(n)] for name in names] for n in (1, 2, 3)] == [["0", "1", "1"]] * 3
    assert found[names[0].format(0)] == "1"


def test_driver_finds_registers_ports_and_the_clock_of_the_build(text, tmp_path):
    """150 MHz, which it can set, not the 142.857 of the file's other parameters, which are for PYNQ."""
    (tmp_path / "codenet.hwh").write_text(text)
    (tmp_path / "codenet.bit").write_bytes(BIT.encode())
    sharing = ("pynq-z2", "pynq-z1", "arty-z7-20")
    expected = Handoff(150e6, (0x43C0_0000, 4096), (0, 1), sharing, hashlib.sha256(BIT.to_bin()).hexdigest()[:16])
    assert Handoff.read(tmp_path / "codenet.bit") == expected
    expected.check(tmp_path / "codenet.bit", boards.BOARDS["pynq-z1"])


def test_boards_of_one_bitstream_have_one_file():
    texts = {name: hwh.generate(board, CONFIG, 150, BIT) for name, board in BOARDS.items()}
    assert texts["pynq-z1"] == texts["pynq-z2"] == texts["arty-z7-20"]
    assert len(set(texts.values())) == 3
    zybo = ElementTree.fromstring(texts["zybo-z7-20"])
    assert {r.get("HIGHVALUE") for r in zybo.iter("MEMRANGE") if r.get("MEMTYPE") == "MEMORY"} == {"0x3fffffff"}


@pytest.mark.parametrize(
    ("clock", "source", "divisors", "actual"),
    [
        (fabric_clock(150), "IO PLL", ("7", "1"), 1000 / 7),
        (fabric_clock(100), "IO PLL", ("10", "1"), 100),
        (FabricClock(DDR_PLL, 7, 1), "DDR PLL", ("7", "1"), 150),
    ],
)
def test_clock(clock, source, divisors, actual):
    values = hwh.PROCESSORS["PS7"].parameters(clock, 150, PYNQ_Z2)
    assert values["PCW_FCLK0_PERIPHERAL_CLKSRC"] == source
    assert tuple(values[f"PCW_FCLK0_PERIPHERAL_DIVISOR{n}"] for n in (0, 1)) == divisors
    for name in ("PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ", "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"):
        assert float(values[name]) == pytest.approx(actual, abs=1e-6)
    assert [values[f"PCW_FPGA_FCLK{n}_ENABLE"] for n in range(4)] == ["1", "0", "0", "0"]


def test_connections_meet(modules):
    """Every connection names a port of the other module that leads back, of the other direction, on the same net."""
    ports = {(name, p.get("NAME")): p for name, m in modules.items() for p in m.iter("PORT")}
    for (name, port), element in ports.items():
        (connection,) = element.iter("CONNECTION")
        other = ports[connection.get("INSTANCE"), connection.get("PORT")]
        (back,) = other.iter("CONNECTION")
        assert (back.get("INSTANCE"), back.get("PORT")) == (name, port)
        assert {element.get("DIR"), other.get("DIR")} == {"I", "O"}
        assert element.get("SIGNAME") == other.get("SIGNAME")
    assert ports["codenet", "irq"].find("CONNECTIONS/CONNECTION").get("PORT") == "IRQ_F2P"
    for module in modules.values():
        physical = [p.get("PHYSICAL") for p in module.iter("PORTMAP")]
        assert len(physical) == len(set(physical)) > 60
        assert all((module.get("INSTANCE"), name) in ports for name in physical)


def test_ports_are_those_of_the_verilog(modules):
    """All of the accelerator's, but the one that goes to the lights."""
    from hw.accelerator import Accelerator

    found = {p.get("NAME") for p in modules["codenet"].iter("PORT")}
    assert found == set(Wrapper(Accelerator(CONFIG)).ports) - {"step_end"}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
@pytest.mark.skipif(not HAVE_PYNQ, reason="pynq is not installed here; name a Python that has it in CODENET_PYNQ")
def test_overlay_of_the_real_package(program, board, tmp_path):
    """``Overlay("codenet.bit")`` parses our files, sets the clock and an UltraScale's ports, and binds a driver by our
    VLNV; its accesses go to our addresses.
    """
    clock_mhz, base = (250, 0xA000_0000) if board is ULTRA96 else (150, 0x43C0_0000)
    (tmp_path / "codenet.bit").write_bytes(BIT.encode())
    (tmp_path / "codenet.hwh").write_text(hwh.generate(board, CONFIG, clock_mhz, BIT))
    script = Path(__file__).with_name("pynq_overlay.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [program, "-W", "ignore", str(script), str(tmp_path), VLNV, board.system.cell]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["driver"] == "Driver", found["pynq"]
    assert (found["address"], found["size"], found["type"]) == (base, 4096, "codenet.org:user:codenet:1.0")
    assert found["parameters"]["C_OUTPUTS"] == "24"
    assert found["written"][hex(base + BY_NAME["SCRATCH"].offset)] == 0x1234_5678
    assert list(found["registers"]) == [register.name for register in REGISTERS]
    for register in REGISTERS:
        offset, _, fields = found["registers"][register.name]
        assert (offset, fields) == (register.offset, {f.name: [f.shift, f.width] for f in register.fields})
    assert found["downloads"] == ["codenet.bit"]
    if board is ULTRA96:
        assert found["divisors"] == [6, 1]
        assert found["widths"] == {
            "C_MAXIGP0_DATA_WIDTH": "32",
            "C_SAXIGP2_DATA_WIDTH": "64",
            "C_SAXIGP3_DATA_WIDTH": "64",
        }
    else:
        assert found["divisors"] == [7, 1]
        assert found["mhz"] == pytest.approx(1000 / 7, abs=1e-5)
    assert (found["part"], bytes.fromhex(found["bin"])) == ("7z020clg400", BIT.to_bin())
