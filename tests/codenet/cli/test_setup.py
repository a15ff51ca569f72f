# SPDX-License-Identifier: Apache-2.0
"""``codenet setup`` on trees of files that stand for boards, and on none."""

import hashlib
import json
import lzma
import shutil

import pytest

from codenet import devices
from codenet.cli import command as cli
from codenet.cli import setup
from codenet.devices import bitstream, installation
from codenet.devices.golden import GoldenDevice
from codenet.devices.machine import Machine
from codenet.isa import ISA_VERSION
from tests.board.handoff import bit_file, hwh, write_bitstream
from tests.board.networks import SMALL, program

PYNQ = {
    "sys/firmware/devicetree/base/model": "xlnx,zynq-7000\0",
    "sys/firmware/devicetree/base/chosen/pynq_board": "Pynq-Z1\0",
    "usr/local/share/pynq-venv/lib/python3.10/site-packages/pynq-3.0.1.dist-info/METADATA": "",
    "etc/os-release": 'NAME="PynqLinux"\nPRETTY_NAME="PynqLinux, based on Ubuntu 22.04"\n',
    "proc/meminfo": "MemTotal: 509120 kB\nCmaFree: 131072 kB\n",
    "dev/dri/renderD128": "",
}
LINUX = {
    "sys/firmware/devicetree/base/model": "Zynq Zybo Z7 Development Board\0",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/class/u-dma-buf/udmabuf0/size": "33554432\n",
    "sys/class/uio/uio0/name": "codenet\n",
    "lib/firmware/readme": "",
    "dev/udmabuf0": "",
    "dev/uio0": "",
}
BOTH = {"sys/class/fpga_manager/fpga0/firmware": "", "dev/mem": "", "sys/devices/soc0/soc_id": "0x7\n"}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def grow(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def release(folder, design, boards):
    """What a release has for a design."""
    place = folder / design
    place.mkdir(parents=True)
    bit = bit_file(design.encode().ljust(12))
    (place / "codenet.bit.xz").write_bytes(lzma.compress(bit))
    (place / "codenet.hwh").write_text(hwh(accelerator={"C_BOARDS": boards}))
    report = {"of": {"isa": ISA_VERSION}, "bit_sha256": hashlib.sha256(bit).hexdigest()}
    (place / "report.json").write_text(json.dumps(report))


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A release of its own, an installed one of its own, and drivers that are the golden model."""
    release(tmp_path / "packed", "pynq-z2", "pynq-z2 pynq-z1 arty-z7-20")
    release(tmp_path / "packed", "zybo-z7-20", "zybo-z7-20")
    (tmp_path / "zoo").mkdir()
    program().save(tmp_path / "zoo" / "small.cdn")
    monkeypatch.setattr(installation, "PACKED", tmp_path / "packed")
    monkeypatch.setattr(bitstream, "SHIPPED", tmp_path / "zoo" / "bitstream" / "codenet.bit")
    monkeypatch.setattr(cli, "DEFAULT_PROGRAM", tmp_path / "zoo" / "small.cdn")
    monkeypatch.setattr(devices, "_registry", dict(devices._registry))
    for name in ("pynq", "uio"):
        devices.register(name, lambda config: GoldenDevice(SMALL))
    monkeypatch.setattr(setup, "Machine", lambda root: Machine(root, user=0, has_pynq=True, access=lambda *_: True))


def run(capsys, root, *arguments):
    status = cli.main(["setup", "--root", str(root), *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


@pytest.mark.parametrize(
    ("files", "design", "lines"),
    [
        (PYNQ, "pynq-z2", ["board: PYNQ-Z1", "system: PynqLinux, based on Ubuntu 22.04, PYNQ 3.0.1: device pynq"]),
        (LINUX, "zybo-z7-20", ["board: Zybo Z7-20", "system: Debian GNU/Linux 12 (bookworm): device uio"]),
    ],
    ids=["PYNQ-Z1 with PYNQ", "Zybo Z7-20 with Debian"],
)
def test_board_that_has_all(root, capsys, files, design, lines):
    grow(root, BOTH | files)
    status, out, err = run(capsys, root)
    assert status == 0 and not err
    assert [any(line.startswith(f"ok      {text}") for line in out) for text in lines] == [True, True]
    assert bitstream.SHIPPED.read_bytes() == bit_file(design.encode().ljust(12))
    assert out[-1] == "all is well" and any("identity: a CoDeNet accelerator" in line for line in out)


def without(*names):
    return lambda root: [
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink() for name in names
    ]


MISSING = {
    "FPGA manager": (LINUX, without("sys/class/fpga_manager"), "class/fpga_manager is empty; to get it: a kernel with"),
    "attribute": (
        LINUX,
        without("sys/class/fpga_manager/fpga0/firmware"),
        "fpga0/firmware does not exist; to get it: a kernel of Xilinx",
    ),
    "module": (
        LINUX,
        without("sys/class/u-dma-buf"),
        "u-dma-buf is not loaded; to get it: build the module (https://github.com/ikwzm/udmabuf), then modprobe "
        "u-dma-buf udmabuf0=33554432",
    ),
    "module that is not loaded": (
        LINUX,
        lambda root: [
            without("sys/class/u-dma-buf")(root),
            grow(root, {"lib/modules/6.1.0/extra/u-dma-buf.ko": ""}),
        ],
        "u-dma-buf is not loaded; to get it: modprobe u-dma-buf udmabuf0=33554432",
    ),
    "too little memory": (
        LINUX,
        lambda root: grow(root, {"sys/class/u-dma-buf/udmabuf0/size": "1048576"}),
        "udmabuf0 has 1048576 bytes, expected 8388608; to get it: rmmod u-dma-buf; modprobe",
    ),
    "node": (LINUX, without("dev/uio0"), "registers: {root}/dev/uio0 does not exist"),
    "firmware": (LINUX, without("lib/firmware"), "lib/firmware does not exist; to get it: mkdir -p"),
    "XRT": (PYNQ, without("dev/dri"), "renderD128 does not exist; to get it: modprobe zocl"),
    "CMA": (
        PYNQ,
        lambda root: grow(root, {"proc/meminfo": "CmaFree: 1024 kB\n"}),
        "1 MiB contiguous memory (CMA) are free",
    ),
    "chip": (LINUX, lambda root: grow(root, {"sys/devices/soc0/soc_id": "0x2"}), "chip: number 0x02, expected 0x07"),
    "bitstream": (
        LINUX,
        lambda root: shutil.rmtree(installation.PACKED / "zybo-z7-20"),
        "bitstream: this release has none for zybo-z7-20; to get it: make bitstream BOARD=zybo-z7-20",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_said_with_how_to_get_it(root, capsys, case):
    """And the device is not opened."""
    files, take_away, words = MISSING[case]
    grow(root, BOTH | files)
    take_away(root)
    status, out, err = run(capsys, root)
    assert status == 1 and not err
    (line,) = [line for line in out if line.startswith("FAILED")]
    assert words.format(root=root) in line
    assert out[-1] == "the board is not ready: get what is missing, then run codenet setup again"


@pytest.mark.parametrize(
    ("files", "machine", "words"),
    [
        (PYNQ, {"user": 1000}, "root: this is user 1000, and PYNQ needs root; to get it: sudo -i"),
        (
            PYNQ,
            {"has_pynq": False},
            "pynq: this Python does not find the package; to get it: . /etc/profile.d/pynq_venv.sh",
        ),
        (LINUX, {"user": 1000, "access": lambda path, mode: path.name != "udmabuf0"}, "user 1000 may not write"),
    ],
    ids=["no root", "another Python", "no permission"],
)
def test_who_asks(root, capsys, monkeypatch, files, machine, words):
    grow(root, BOTH | files)
    options = {"user": 0, "has_pynq": True, "access": lambda *_: True} | machine
    monkeypatch.setattr(setup, "Machine", lambda root: Machine(root, **options))
    status, out, _ = run(capsys, root)
    (line,) = [line for line in out if line.startswith("FAILED")]
    assert status == 1 and words in line


@pytest.mark.parametrize(
    "files", [{}, {"sys/firmware/devicetree/base/model": "Raspberry Pi 4\0"}], ids=["a PC", "an ARM"]
)
def test_machine_that_is_no_board(root, capsys, files):
    grow(root, {"etc/os-release": 'PRETTY_NAME="Debian"\n'} | files)
    status, out, err = run(capsys, root)
    assert status == 1 and not out and len(err.splitlines()) == 1
    assert "is none of the boards pynq-z2, pynq-z1, arty-z7-20, zybo-z7-20, ultra96; --board says" in err
    assert ("Raspberry Pi 4" if files else "Debian") in err


def test_board_that_only_the_environment_names(root, capsys):
    grow(root, BOTH | LINUX | {"etc/environment": 'PATH=/bin\nBOARD="Arty-Z7-20"\n'})
    (root / "sys/firmware/devicetree/base/model").unlink()
    status, out, _ = run(capsys, root)
    assert status == 0 and out[0].startswith("ok      board: Arty Z7-20")


def test_notebook_goes_to_jupyter(root, capsys, tmp_path, monkeypatch):
    grow(root, BOTH | PYNQ)
    (root / "home/xilinx/jupyter_notebooks").mkdir(parents=True)
    grow(tmp_path, {"notebooks/codenet.ipynb": "{}"})
    monkeypatch.setattr(setup, "NOTEBOOKS", tmp_path / "notebooks")
    assert run(capsys, root)[0] == 0
    assert (root / "home/xilinx/jupyter_notebooks/codenet/codenet.ipynb").read_text() == "{}"


def test_bitstream_of_a_file(root, capsys, tmp_path):
    """The right one is installed; another board's, a handoff file of another release, none at all: a line, and what
    was installed stays.
    """
    grow(root, BOTH | LINUX)
    path = write_bitstream(tmp_path, accelerator={"C_BOARDS": "zybo-z7-20"})
    assert run(capsys, root, "--bitstream", path)[0] == 0
    assert bitstream.SHIPPED.read_bytes() == path.read_bytes()
    for parameters, words in (
        ({"C_BOARDS": "pynq-z2 pynq-z1"}, "is for pynq-z2, pynq-z1, but this board is zybo-z7-20"),
        ({"C_BITSTREAM": "0" * 16}, "but codenet.hwh beside it describes 0000000000000000; take both of one release"),
    ):
        write_bitstream(tmp_path, accelerator=parameters)
        status, _, err = run(capsys, root, "--bitstream", path)
        assert status == 1 and words in err and len(err.splitlines()) == 1
    path.write_bytes(b"nothing")
    status, _, err = run(capsys, root, "--bitstream", path)
    assert "as a .bit file does" in err
    shutil.rmtree(installation.PACKED / "zybo-z7-20")
    status, out, _ = run(capsys, root)
    assert status == 0 and any(
        "bitstream.codenet.bit, which was installed before" in line.replace("/", ".") for line in out
    )


def test_release_of_another_isa(root, capsys):
    grow(root, BOTH | PYNQ)
    report = installation.PACKED / "pynq-z2" / "report.json"
    report.write_text(report.read_text().replace(f'"isa": {ISA_VERSION}', f'"isa": {ISA_VERSION + 1}'))
    status, _, err = run(capsys, root)
    assert status == 2 and f"for ISA version {ISA_VERSION + 1}: expected {ISA_VERSION}" in err
