# SPDX-License-Identifier: Apache-2.0
"""Bitstream files for tests: a configuration that only a stand-in takes, and the least .hwh that PYNQ reads, written by
hand.
"""

from __future__ import annotations

from pathlib import Path

BASE = 0x43C0_0000
INTERRUPT_CONTROLLER = 0x4180_0000

VLNV = "codenet.org:user:codenet:1.0"


def bit_file(words: bytes = bytes(range(64))) -> bytes:
    """A .bit as the tools write them: tagged header, dummy words, sync word, ``words``."""
    configuration = b"\xff" * 32 + b"\xaa\x99\x55\x66" + words
    fields = [
        (b"a", b"codenet;Version=2024.1\0"),
        (b"b", b"7z020clg400\0"),
        (b"c", b"2026/01/01\0"),
        (b"d", b"12:00:00\0"),
    ]
    header = b"\x00\x09\x0f\xf0\x0f\xf0\x0f\xf0\x0f\xf0\x00\x00\x01"
    for tag, text in fields:
        header += tag + len(text).to_bytes(2, "big") + text
    return header + b"e" + len(configuration).to_bytes(4, "big") + configuration


def write_bitstream(folder: Path, name: str = "codenet", **changes: object) -> Path:
    """``name.bit`` with its ``.hwh`` (:func:`hwh`) in ``folder``; returns the path of the ``.bit``."""
    path = folder / f"{name}.bit"
    path.write_bytes(bit_file())
    path.with_suffix(".hwh").write_text(hwh(**changes))
    return path


def hwh(
    *,
    clock_mhz: float | None = 150.0,
    vlnv: str = VLNV,
    ports: tuple[int, ...] = (0, 1),
    interrupt: bool = False,
    accelerator: dict[str, str] | None = None,
) -> str:
    """Processing system and accelerator; ``interrupt``: through an interrupt controller, the only way that PYNQ 3 and 4
    look for one. ``accelerator``: its parameters.
    """
    parameters = {}
    for n in range(4):
        parameters |= {
            f"PCW_FCLK{n}_PERIPHERAL_DIVISOR0": "5" if n == 0 else "1",
            f"PCW_FCLK{n}_PERIPHERAL_DIVISOR1": "2" if n == 0 else "1",
            f"PCW_FCLK{n}_PERIPHERAL_CLKSRC": "IO PLL",
            f"PCW_FPGA_FCLK{n}_ENABLE": str(int(n == 0)),
            f"PCW_USE_S_AXI_HP{n}": str(int(n in ports)),
        }
    if clock_mhz is not None:
        parameters["PCW_FPGA0_PERIPHERAL_FREQMHZ"] = f"{clock_mhz:f}"
    text = "".join(f'<PARAMETER NAME="{name}" VALUE="{value}"/>' for name, value in parameters.items())
    ranges = _range("codenet_0", BASE, 0x1000)
    modules = _slave("codenet_0", vlnv, _port("interrupt", "O", "intc_0", "intr") if interrupt else "", accelerator)
    if interrupt:
        ranges += _range("intc_0", INTERRUPT_CONTROLLER, 0x1_0000)
        ports_text = _port("intr", "I", "codenet_0", "interrupt") + _port("irq", "O", "ps7", "IRQ_F2P")
        modules += _slave("intc_0", "xilinx.com:ip:axi_intc:4.1", ports_text)
    system = (
        '<MODULE FULLNAME="/ps7" HWVERSION="5.5" INSTANCE="ps7" IPTYPE="PERIPHERAL" IS_ENABLE="1" '
        'MODCLASS="PERIPHERAL" '
        f'MODTYPE="processing_system7" VLNV="xilinx.com:ip:processing_system7:5.5"><PARAMETERS>{text}</PARAMETERS>'
        f"<PORTS>{_port('IRQ_F2P', 'I', 'intc_0', 'irq') if interrupt else ''}</PORTS>"
        '<BUSINTERFACES><BUSINTERFACE BUSNAME="axi" NAME="M_AXI_GP0" TYPE="MASTER" '
        'VLNV="xilinx.com:interface:aximm:1.0">'
        f"<PORTMAPS/></BUSINTERFACE></BUSINTERFACES><MEMORYMAP>{ranges}</MEMORYMAP></MODULE>"
    )
    return (
        f'<?xml version="1.0"?><EDKSYSTEM><SYSTEMINFO ARCH="zynq" DEVICE="7z020" NAME="codenet"/><EXTERNALPORTS/>'
        f"<EXTERNALINTERFACES/><MODULES>{system}{modules}</MODULES></EDKSYSTEM>"
    )


def _range(instance: str, base: int, size: int) -> str:
    return (
        f'<MEMRANGE ADDRESSBLOCK="reg0" BASENAME="C_BASEADDR" BASEVALUE="{base:#x}" HIGHVALUE="{base + size - 1:#x}" '
        f'INSTANCE="{instance}" IS_DATA="TRUE" MASTERBUSINTERFACE="M_AXI_GP0" MEMTYPE="REGISTER" '
        'SLAVEBUSINTERFACE="s_axi"/>'
    )


def _slave(name: str, vlnv: str, ports: str, parameters: dict[str, str] | None = None) -> str:
    text = "".join(f'<PARAMETER NAME="{key}" VALUE="{value}"/>' for key, value in (parameters or {}).items())
    return (
        f'<MODULE FULLNAME="/{name}" HWVERSION="1.0" INSTANCE="{name}" IPTYPE="PERIPHERAL" IS_ENABLE="1" '
        'MODCLASS="PERIPHERAL" '
        f'MODTYPE="{vlnv.split(":")[2]}" VLNV="{vlnv}"><PARAMETERS>{text}</PARAMETERS><PORTS>{ports}</PORTS>'
        "<BUSINTERFACES>"
        '<BUSINTERFACE BUSNAME="axi" NAME="s_axi" TYPE="SLAVE" '
        'VLNV="xilinx.com:interface:aximm:1.0"><PORTMAPS/></BUSINTERFACE>'
        f"</BUSINTERFACES></MODULE>"
    )


def _port(name: str, direction: str, instance: str, other: str) -> str:
    return (
        f'<PORT DIR="{direction}" NAME="{name}" SIGIS="INTERRUPT"><CONNECTIONS>'
        f'<CONNECTION INSTANCE="{instance}" PORT="{other}"/></CONNECTIONS></PORT>'
    )
