# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff file (``.hwh``) that PYNQ reads beside a bitstream, made by us instead of by a block design.

PYNQ takes from it which driver to bind (by the accelerator's VLNV), where the registers are and what they are called,
the clock's divisors, and that a processor is there at all. Only Vivado's block designs define the format; what is
written here is what PYNQ's parsers read, in their terms: the one of PYNQ 2.x and those of its package ``pynqmetadata``,
for 3.x and 4.x.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from amaranth.hdl._ir import PortDirection as Direction

from codenet.config import AcceleratorConfig
from codenet.devices.bitstream import CLOCK_PARAMETER, VLNV
from codenet.registers import ADDRESS_BITS, REGISTERS, Register
from hw.accelerator import Accelerator
from hw.flow.clocking import FabricClock
from hw.verilog import NAME, Wrapper

AXI = "xilinx.com:interface:aximm:1.0"

PROCESSOR = "processing_system7_0"

MEMORY_BYTES = 512 << 20

INTERFACES = {"S_AXI": "M_AXI_GP0", "M_AXI0": "S_AXI_HP0", "M_AXI1": "S_AXI_HP1"}
"""Interfaces of the accelerator and those of the processor that they are connected to."""

_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only", "w1c": "read-write"}

Net = tuple[str, int, str, str, str]
"""Port of the accelerator, bits, "I" or "O" as seen from it, port of the processor, kind of signal."""


def generate(config: AcceleratorConfig, clock: FabricClock, requested_mhz: float, base: int) -> str:
    """The file for an accelerator with its registers at ``base``.

    ``requested_mhz`` is what timing was held against: our driver sets the nearest clock that is not above it, of any
    PLL. ``clock`` is for PYNQ, which cannot choose the PLL.
    """
    root = Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="")
    SubElement(root, "SYSTEMINFO", ARCH="zynq", DEVICE="7z020", NAME=NAME, PACKAGE="clg400", SPEEDGRADE="-1")
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    nets = list(_nets(config))
    _accelerator(modules, config, nets, clock, requested_mhz, base)
    _processor(modules, nets, clock, requested_mhz, base)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _nets(config: AcceleratorConfig) -> Iterable[Net]:
    """Every port of the accelerator that ends at the processor."""
    ports = Wrapper(Accelerator(config)).ports
    single = {"aclk": ("FCLK_CLK0", "clk"), "aresetn": ("FCLK_RESET0_N", "rst"), "irq": ("IRQ_F2P", "INTERRUPT")}
    for name, (value, direction) in ports.items():
        letter = "I" if direction == Direction.Input else "O"
        interface, _, field = name.rpartition("_")
        if name in single:
            yield name, len(value), letter, *single[name]
        elif interface.upper() in INTERFACES:
            yield name, len(value), letter, f"{INTERFACES[interface.upper()]}_{field.upper()}", "undef"


def _module(parent: Element, instance: str, kind: str, vlnv: str, **attributes: str) -> Element:
    version = vlnv.rsplit(":", 1)[1]
    return SubElement(
        parent,
        "MODULE",
        {
            "FULLNAME": f"/{instance}",
            "HWVERSION": version,
            "INSTANCE": instance,
            "IPTYPE": "PERIPHERAL",
            "IS_ENABLE": "1",
            "MODTYPE": kind,
            "VLNV": vlnv,
            **attributes,
        },
    )


def _accelerator(
    parent: Element, config: AcceleratorConfig, nets: list[Net], clock: FabricClock, requested_mhz: float, base: int
) -> None:
    module = _module(parent, NAME, NAME, VLNV, MODCLASS="PERIPHERAL")
    _address_block(SubElement(module, "ADDRESSBLOCKS"))
    sizes = {f"C_{name.upper()}": str(value) for name, value in config.to_dict().items()}
    addresses = {"C_BASEADDR": f"{base:#010x}", "C_HIGHADDR": f"{base + (1 << ADDRESS_BITS) - 1:#010x}"}
    _parameters(module, {**sizes, **addresses, CLOCK_PARAMETER: str(round(1e6 * requested_mhz))})
    _ports(module, [(mine, bits, letter, other, kind) for mine, bits, letter, other, kind in nets], PROCESSOR, clock)
    buses = SubElement(module, "BUSINTERFACES")
    for interface in INTERFACES:
        prefix = f"{interface.lower()}_"
        ports = [name for name, *_ in nets if name.startswith(prefix)]
        kind = "SLAVE" if interface == "S_AXI" else "MASTER"
        _interface(buses, interface, kind, 32 if kind == "SLAVE" else 64, ports, _bus(interface))
    memory = SubElement(module, "MEMORYMAP")
    for interface, other in INTERFACES.items():
        if interface != "S_AXI":
            _range(memory, f"{other[-3:]}_DDR_LOWOCM", 0, MEMORY_BYTES, PROCESSOR, interface, other, "MEMORY")
    SubElement(module, "PERIPHERALS")


def _processor(parent: Element, nets: list[Net], clock: FabricClock, requested_mhz: float, base: int) -> None:
    vlnv = "xilinx.com:ip:processing_system7:5.5"
    module = _module(parent, PROCESSOR, "processing_system7", vlnv, CONFIGURABLE="TRUE", IS_PL="FALSE")
    _parameters(module, processor_parameters(clock, requested_mhz))
    turned = {"I": "O", "O": "I"}
    ports = [(other, bits, turned[letter], mine, kind) for mine, bits, letter, other, kind in nets]
    _ports(module, ports, NAME, clock)
    buses = SubElement(module, "BUSINTERFACES")
    for interface, other in INTERFACES.items():
        names = [name for name, *_ in ports if name.startswith(f"{other}_")]
        kind = "MASTER" if interface == "S_AXI" else "SLAVE"
        _interface(buses, other, kind, 32 if kind == "MASTER" else 64, names, _bus(interface))
    memory = SubElement(module, "MEMORYMAP")
    _range(memory, "reg0", base, 1 << ADDRESS_BITS, NAME, "M_AXI_GP0", "S_AXI", "REGISTER")
    peripherals = SubElement(module, "PERIPHERALS")
    SubElement(peripherals, "PERIPHERAL", INSTANCE=NAME)


def processor_parameters(clock: FabricClock, requested_mhz: float) -> dict[str, str]:
    """Parameters of the processor: clocks (only the first is on), ports in use.

    The last one is named after another family: PYNQ 4.0 looks for the frequency under that name on a Zynq-7000, too,
    and fails without it.
    """
    parameters = {"PCW_USE_M_AXI_GP0": "1", "PCW_IRQ_F2P_INTR": "1", "PCW_IRQ_F2P_MODE": "DIRECT"}
    for n in (0, 1):
        parameters |= {f"PCW_USE_S_AXI_HP{n}": "1", f"PCW_S_AXI_HP{n}_DATA_WIDTH": "64"}
    for n in range(4):
        divisors = (clock.divisor0, clock.divisor1) if n == 0 else (1, 1)
        parameters |= {
            f"PCW_FPGA_FCLK{n}_ENABLE": "1" if n == 0 else "0",
            f"PCW_FCLK{n}_PERIPHERAL_CLKSRC": clock.pll.name,
            f"PCW_FCLK{n}_PERIPHERAL_DIVISOR0": str(divisors[0]),
            f"PCW_FCLK{n}_PERIPHERAL_DIVISOR1": str(divisors[1]),
        }
    actual = f"{clock.mhz:.6f}"
    return parameters | {
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{requested_mhz:g}",
        "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ": actual,
        "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ": actual,
    }


def _bus(interface: str) -> str:
    """Name of the connection between an interface of the accelerator and the processor."""
    return f"{PROCESSOR}_M_AXI_GP0" if interface == "S_AXI" else f"{NAME}_{interface}"


def _parameters(module: Element, values: dict[str, str]) -> None:
    parameters = SubElement(module, "PARAMETERS")
    for name, value in values.items():
        SubElement(parameters, "PARAMETER", NAME=name, VALUE=value)


def _ports(module: Element, nets: list[Net], other_instance: str, clock: FabricClock) -> None:
    """Ports of one side; a net is called after its driver."""
    ports = SubElement(module, "PORTS")
    for name, bits, letter, other, kind in nets:
        driver = f"{module.get('INSTANCE')}_{name}" if letter == "O" else f"{other_instance}_{other}"
        attributes = {"DIR": letter, "NAME": name, "SIGIS": kind, "SIGNAME": driver}
        if bits > 1:
            attributes |= {"LEFT": str(bits - 1), "RIGHT": "0"}
        if kind == "clk":
            attributes["CLKFREQUENCY"] = str(round(clock.mhz * 1e6))
        port = SubElement(ports, "PORT", attributes)
        connections = SubElement(port, "CONNECTIONS")
        SubElement(connections, "CONNECTION", INSTANCE=other_instance, PORT=other)


def _interface(parent: Element, name: str, kind: str, data_bits: int, ports: list[str], bus: str) -> None:
    interface = SubElement(
        parent, "BUSINTERFACE", BUSNAME=bus, DATAWIDTH=str(data_bits), NAME=name, TYPE=kind, VLNV=AXI
    )
    maps = SubElement(interface, "PORTMAPS")
    for port in ports:
        SubElement(maps, "PORTMAP", LOGICAL=port.rpartition("_")[2].upper(), PHYSICAL=port)


def _range(
    parent: Element, block: str, base: int, size: int, instance: str, master: str, slave: str, kind: str
) -> None:
    SubElement(
        parent,
        "MEMRANGE",
        ADDRESSBLOCK=block,
        BASENAME="C_BASEADDR",
        BASEVALUE=f"{base:#010x}",
        HIGHNAME="C_HIGHADDR",
        HIGHVALUE=f"{base + size - 1:#010x}",
        INSTANCE=instance,
        IS_DATA="TRUE",
        IS_INSTRUCTION="TRUE",
        MASTERBUSINTERFACE=master,
        MEMTYPE=kind,
        SLAVEBUSINTERFACE=slave,
    )


def _address_block(parent: Element) -> None:
    size = str(1 << ADDRESS_BITS)
    block = SubElement(
        parent, "ADDRESSBLOCK", ACCESS="read-write", INTERFACE="S_AXI", NAME="reg0", RANGE=size, USAGE="register"
    )
    registers = SubElement(block, "REGISTERS")
    for register in REGISTERS:
        _register(registers, register)


def _register(parent: Element, register: Register) -> None:
    element = SubElement(parent, "REGISTER", NAME=register.name)
    access = _ACCESS[register.access]
    _properties(
        element,
        DESCRIPTION=register.description,
        ADDRESS_OFFSET=f"{register.offset:#x}",
        SIZE="32",
        ACCESS=access,
        IS_ENABLED="true",
        RESET_VALUE="0",
    )
    fields = SubElement(element, "FIELDS")
    for field in register.fields:
        _properties(
            SubElement(fields, "FIELD", NAME=field.name),
            DESCRIPTION=field.description,
            ADDRESS_OFFSET=str(field.shift),
            ACCESS=access,
            BIT_OFFSET=str(field.shift),
            BIT_WIDTH=str(field.width),
        )


def _properties(element: Element, **values: str) -> None:
    for name, value in values.items():
        SubElement(element, "PROPERTY", NAME=name, VALUE=value)
