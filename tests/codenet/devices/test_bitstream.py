# SPDX-License-Identifier: Apache-2.0
"""Bitstream files in the forms that tools write and the kernel takes, the description beside them, clocks and ports of
the processor.
"""

import hashlib

import pytest

from codenet.devices import bitstream
from codenet.devices.bitstream import Handoff, configuration
from codenet.devices.boards import BOARDS, find_board
from codenet.devices.linux import zynq
from codenet.errors import DeviceError, FormatError
from sim.platforms.processing_system import ProcessingSystem, Words
from tests.board.handoff import BASE, bit_file, write_bitstream

WORDS = bytes.fromhex("01020304 a1a2a3a4")
TAKEN = b"\xff" * 32 + bytes.fromhex("665599aa 04030201 a4a3a2a1")
"""What zynq-fpga looks for: the sync word, and all the rest, with the bytes of each word reversed."""


def test_bit_file_loses_its_header_and_its_byte_order(tmp_path):
    (tmp_path / "a.bit").write_bytes(bit_file(WORDS))
    assert configuration(tmp_path / "a.bit") == TAKEN


def test_bin_file_of_either_byte_order(tmp_path):
    (tmp_path / "vivado.bin").write_bytes(b"\xff" * 32 + bytes.fromhex("aa995566") + WORDS)
    (tmp_path / "bootgen.bin").write_bytes(TAKEN)
    assert configuration(tmp_path / "vivado.bin") == configuration(tmp_path / "bootgen.bin") == TAKEN


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.bit", b"", "as a .bit file does"),
        ("a.bit", b"\x00\x09" + bytes(100), "as a .bit file does"),
        ("a.bit", bit_file(WORDS)[:-1], "43 bytes of bitstream: expected 44, as its header says"),
        ("a.bin", bytes(4096), "no sync word aa995566"),
        ("a.bin", b"\xff" * 32 + bytes.fromhex("aa995566") + WORDS + b"x", "expected whole words of 4 bytes"),
    ],
)
def test_no_bitstream(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=words):
        configuration(tmp_path / name)


def test_handoff(tmp_path):
    path = write_bitstream(tmp_path, clock_mhz=142.857, ports=(0, 2))
    assert Handoff.read(path) == Handoff(142.857e6, (BASE, 4096), (0, 2))
    path = write_bitstream(tmp_path, clock_mhz=None, vlnv="xilinx.com:ip:axi_gpio:2.0", ports=())
    assert Handoff.read(path) == Handoff(None, None, ())


FOREIGN = {
    "another release": (
        {"C_BITSTREAM": "0123456789abcdef"},
        "digest is [0-9a-f]{16}, but codenet.hwh beside it describes",
    ),
    "another board": ({"C_BOARDS": "zybo-z7-20"}, "is for zybo-z7-20, but this board is pynq-z1; codenet setup"),
}
"""Handoff files that do not belong to a bitstream on a PYNQ-Z1, and what is said of them."""


@pytest.mark.parametrize("case", FOREIGN)
def test_what_does_not_belong_together(tmp_path, case):
    parameters, words = FOREIGN[case]
    path = write_bitstream(tmp_path, accelerator=parameters)
    with pytest.raises(DeviceError, match=words):
        Handoff.read(path).check(path, BOARDS["pynq-z1"])


def test_bitstream_of_another_chip(tmp_path):
    path = write_bitstream(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"7z020clg400", b"7z010clg400"))
    with pytest.raises(DeviceError, match="is for the chip 7z010clg400, but this board has 7z020clg400"):
        Handoff.read(path).check(path, BOARDS["pynq-z1"])


def test_what_belongs_together(tmp_path):
    """The digest is that of the kernel's form, whatever the kind of the file; an unknown board may be any."""
    digest = hashlib.sha256(configuration(write_bitstream(tmp_path))).hexdigest()[:16]
    path = write_bitstream(tmp_path, accelerator={"C_BITSTREAM": digest, "C_BOARDS": "pynq-z2 pynq-z1"})
    (tmp_path / "codenet.bin").write_bytes(configuration(path))
    for file in (path, path.with_suffix(".bin")):
        for board in (BOARDS["pynq-z1"], BOARDS["pynq-z2"], None):
            Handoff.read(file).check(file, board)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (
            {"model": "Zynq ARTY Z7 Development Board\0", "compatible": "digilent,zynq-artyz7\0xlnx,zynq-7000\0"},
            "arty-z7-20",
        ),
        (
            {"model": "Zynq Zybo Z7 Development Board\0", "compatible": "digilent,zynq-zybo-z7\0xlnx,zynq-7000\0"},
            "zybo-z7-20",
        ),
        ({"model": "xlnx,zynq-7000\0", "chosen/pynq_board": "Pynq-Z1\0"}, "pynq-z1"),
        ({"model": "Zynq Pynq Development Board\0", "compatible": "tul,pynq-z2\0xlnx,zynq-7000\0"}, "pynq-z2"),
        ({"model": "Avnet Ultra96-V2 Rev1\0"}, "ultra96"),
        ({"model": "Raspberry Pi 4 Model B\0"}, None),
        ({"model": "Digilent Zybo board\0"}, None),  # the first Zybo has a xc7z010
        ({}, None),
    ],
)
def test_board_of_a_device_tree(tmp_path, files, name):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    found = find_board(tmp_path)
    assert (found and found.name) == name


def test_reached_frequency_counts_before_the_one_asked_for(tmp_path):
    path = write_bitstream(tmp_path)
    text = path.with_suffix(".hwh").read_text()
    text = text.replace(
        "<PARAMETER ", '<PARAMETER NAME="PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ" VALUE="142.857132"/><PARAMETER ', 1
    )
    path.with_suffix(".hwh").write_text(text)
    assert Handoff.read(path).clock_hz == 142.857132e6


def test_search(tmp_path, monkeypatch):
    monkeypatch.delenv(bitstream.ENVIRONMENT, raising=False)
    monkeypatch.setattr(bitstream, "SHIPPED", tmp_path / "codenet.bit")
    assert bitstream.find_bitstream() is None
    write_bitstream(tmp_path)
    assert bitstream.find_bitstream() == tmp_path / "codenet.bit"
    other = write_bitstream(tmp_path, "other")
    monkeypatch.setenv(bitstream.ENVIRONMENT, str(other))
    assert bitstream.find_bitstream() == other
    monkeypatch.setenv(bitstream.ENVIRONMENT, str(tmp_path / "no.bit"))
    with pytest.raises(DeviceError, match="no.bit, which CODENET_BITSTREAM names: no such file"):
        bitstream.find_bitstream()


def on(system, **options):
    return zynq.ProcessingSystem(lambda page: Words(system, page), **options)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (150e6, 1050e6 / 7),  # of the DDR PLL: of IO 1000 / 7 and of ARM 1300 / 9 are further below
        (100e6, 100e6),
        (142e6, 1050e6 / 8),  # 131.25; of ARM 1300 / 10, of IO 1000 / 8
        (166.667e6, 1000e6 / 6),
        (10e6, 10e6),
    ],
)
def test_clock_is_the_nearest_that_is_not_faster(wanted, found):
    system = ProcessingSystem()
    assert on(system).set_clock(wanted) == pytest.approx(found)
    assert system.clock_hz == pytest.approx(found)
    assert on(system).clock_hz == pytest.approx(found)


def test_clock_keeps_other_bits_and_the_lock():
    system = ProcessingSystem(locked=True)
    system._words[zynq.SLCR + zynq.FPGA0_CLOCK] |= 0xC000_000F
    on(system).set_clock(150e6)
    assert system.locked
    assert system.clock_hz == 150e6
    assert system.read(zynq.SLCR + zynq.FPGA0_CLOCK) & 0xC000_000F == 0xC000_000F


def test_clock_of_another_oscillator():
    system = ProcessingSystem()
    assert on(system, oscillator_hz=100e6 / 3).clock_hz == pytest.approx(200e6 / 3)
    with pytest.raises(DeviceError, match="clock of 5000 MHz: the PLLs .* 1000, 1300, 1050 MHz"):
        on(system).set_clock(5e9)


def test_ports_become_wide_and_keep_their_other_bits():
    system = ProcessingSystem(narrow_ports=(1, 3))
    wide = on(system)
    assert [wide.widen(port) for port in range(4)] == [False, True, False, True]
    assert all(system.is_wide(port) for port in range(4))
    assert system.read(zynq.PORTS + 0x1014) == 7 << 4
    assert not wide.widen(1)


def test_oscillator_from_the_device_tree(tmp_path):
    assert zynq.oscillator_hz(tmp_path) == 50e6
    folder = tmp_path / "firmware/devicetree/base/axi/slcr@f8000000/clkc@100"
    folder.mkdir(parents=True)
    (folder / "ps-clk-frequency").write_bytes((33_333_333).to_bytes(4, "big"))
    assert zynq.oscillator_hz(tmp_path) == 33_333_333
