# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff file (``.hwh``) that PYNQ reads beside a bitstream, made by us instead of by a block design.

PYNQ takes from it which driver to bind (by the accelerator's VLNV), where the registers are and what they are called,
the clock's divisors, and that a processor is there at all. Only Vivado's block designs define the format; what is
written here is what PYNQ's parsers read, in their terms: the one of PYNQ 2.x and those of its package ``pynqmetadata``,
for 3.x and 4.x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from amaranth.hdl._ir import PortDirection as Direction

from codenet import registers
from codenet.config import AcceleratorConfig
from codenet.devices.bit_file import BitFile
from codenet.devices.bitstream import BOARDS_PARAMETER, CLOCK_PARAMETER, DIGEST_PARAMETER, VLNV, digest
from codenet.registers import ADDRESS_BITS, Register
from hw.accelerator import Accelerator
from hw.boards.board import Board
from hw.flow.clocking import FabricClock, fabric_clock
from hw.verilog import NAME, Wrapper

AXI = "xilinx.com:interface:aximm:1.0"

REGISTERS = "S_AXI"
"""The accelerator's interface that is not to memory."""


@dataclass(frozen=True)
class Processor:
    """A processor block in the file's terms.

    Attributes
    ----------
    architecture, kind, vlnv:
        Of the chip; of the block.
    interfaces:
        Of the accelerator, by name, the block's that it is connected to, and how the ports of that begin.
    signals:
        Of the accelerator's single ports, the block's, and the kind of signal.
    parameters:
        From the clock, the one asked for in MHz, and the board.
    """

    architecture: str
    kind: str
    vlnv: str
    interfaces: Mapping[str, tuple[str, str]]
    signals: Mapping[str, tuple[str, str]]
    parameters: Callable[[FabricClock, float, Board], dict[str, str]]

    @property
    def instance(self) -> str:
        """Name of the block in the design."""
        return f"{self.kind}_0"

    def port(self, interface: str, field: str) -> str:
        """Port of the block for a field of the accelerator's interface."""
        prefix = self.interfaces[interface][1]
        return f"{prefix}{field.upper() if prefix.isupper() else field.lower()}"


_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only", "w1c": "read-write"}

Net = tuple[str, int, str, str, str]
"""Port of the accelerator, bits, "I" or "O" as seen from it, port of the processor, kind of signal."""


def generate(board: Board, config: AcceleratorConfig, requested_mhz: float, bit: BitFile | None = None) -> str:
    """The file for an accelerator on a board, and those that share its bitstream.

    ``requested_mhz`` is what timing was held against: our driver sets the nearest clock that is not above it, of any
    PLL; PYNQ, which cannot choose the PLL, of the first. ``bit`` is the bitstream that the file is for.

    Raises
    ------
    ConfigError
        A clock out of range.
    """
    clock = fabric_clock(requested_mhz, board.plls[:1])
    processor = PROCESSORS[board.system.cell]
    root = Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="")
    speed = board.part.removeprefix(f"{board.chip}{board.package}").removeprefix(f"{board.chip}-{board.package}")
    SubElement(
        root,
        "SYSTEMINFO",
        ARCH=processor.architecture,
        DEVICE=board.chip.removeprefix("xc"),
        NAME=NAME,
        PACKAGE=board.package,
        SPEEDGRADE=speed,
    )
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    nets = list(_nets(config, processor))
    parameters = {CLOCK_PARAMETER: str(round(1e6 * requested_mhz)), BOARDS_PARAMETER: " ".join(board.sharing)}
    if bit is not None:
        parameters[DIGEST_PARAMETER] = digest(bit)
    _accelerator(modules, board, config, nets, clock, processor, parameters)
    _processor(modules, board, nets, clock, processor, processor.parameters(clock, requested_mhz, board))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _nets(config: AcceleratorConfig, processor: Processor) -> Iterable[Net]:
    """Every port of the accelerator that ends at the processor."""
    ports = Wrapper(Accelerator(config)).ports
    for name, (value, direction) in ports.items():
        letter = "I" if direction == Direction.Input else "O"
        interface, _, field = name.rpartition("_")
        if name in processor.signals:
            yield name, len(value), letter, *processor.signals[name]
        elif interface.upper() in processor.interfaces:
            yield name, len(value), letter, processor.port(interface.upper(), field), "undef"


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
    parent: Element,
    board: Board,
    config: AcceleratorConfig,
    nets: list[Net],
    clock: FabricClock,
    processor: Processor,
    parameters: dict[str, str],
) -> None:
    module = _module(parent, NAME, NAME, VLNV, MODCLASS="PERIPHERAL")
    _address_block(SubElement(module, "ADDRESSBLOCKS"))
    sizes = {f"C_{name.upper()}": str(value) for name, value in config.to_dict().items()}
    base = board.base
    addresses = {"C_BASEADDR": f"{base:#010x}", "C_HIGHADDR": f"{base + (1 << ADDRESS_BITS) - 1:#010x}"}
    _parameters(module, {**sizes, **addresses, **parameters})
    _ports(module, nets, processor.instance, clock)
    buses = SubElement(module, "BUSINTERFACES")
    for interface in processor.interfaces:
        prefix = f"{interface.lower()}_"
        ports = [name for name, *_ in nets if name.startswith(prefix)]
        kind = "SLAVE" if interface == REGISTERS else "MASTER"
        _interface(buses, interface, kind, 32 if kind == "SLAVE" else 64, ports, _bus(interface, processor))
    memory = SubElement(module, "MEMORYMAP")
    for interface, (other, _) in processor.interfaces.items():
        if interface != REGISTERS:
            block = f"{other.removeprefix('S_AXI_').removesuffix('_FPD')}_DDR_LOW"
            _range(memory, block, 0, board.memory_bytes, processor.instance, interface, other, "MEMORY")
    SubElement(module, "PERIPHERALS")


def _processor(
    parent: Element,
    board: Board,
    nets: list[Net],
    clock: FabricClock,
    processor: Processor,
    parameters: dict[str, str],
) -> None:
    module = _module(parent, processor.instance, processor.kind, processor.vlnv, CONFIGURABLE="TRUE", IS_PL="FALSE")
    _parameters(module, parameters)
    turned = {"I": "O", "O": "I"}
    ports = [(other, bits, turned[letter], mine, kind) for mine, bits, letter, other, kind in nets]
    _ports(module, ports, NAME, clock)
    buses = SubElement(module, "BUSINTERFACES")
    for interface, (other, prefix) in processor.interfaces.items():
        names = [name for name, *_ in ports if name.startswith(prefix)]
        kind = "MASTER" if interface == REGISTERS else "SLAVE"
        _interface(buses, other, kind, 32 if kind == "MASTER" else 64, names, _bus(interface, processor))
    memory = SubElement(module, "MEMORYMAP")
    master, _ = processor.interfaces[REGISTERS]
    _range(memory, "reg0", board.base, 1 << ADDRESS_BITS, NAME, master, REGISTERS, "REGISTER")
    peripherals = SubElement(module, "PERIPHERALS")
    SubElement(peripherals, "PERIPHERAL", INSTANCE=NAME)


def _zynq_parameters(clock: FabricClock, requested_mhz: float, board: Board) -> dict[str, str]:
    """Parameters of a Zynq-7000's processor: clocks (only the first is on), ports in use.

    The last one is named after another family: PYNQ 4.0 looks for the frequency under that name on a Zynq-7000, too,
    and fails without it.
    """
    parameters = {"PCW_USE_M_AXI_GP0": "1", "PCW_IRQ_F2P_INTR": "1", "PCW_IRQ_F2P_MODE": "DIRECT"}
    parameters["PCW_CRYSTAL_PERIPHERAL_FREQMHZ"] = f"{board.crystal_mhz:.6f}"
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


def _ultrascale_parameters(clock: FabricClock, requested_mhz: float, board: Board) -> dict[str, str]:
    """The same of a Zynq UltraScale+; PYNQ sets the widths of the ports as the ones that begin with C say."""
    parameters = {"PSU__USE__M_AXI_GP0": "1", "PSU__USE__IRQ0": "1", "C_MAXIGP0_DATA_WIDTH": "32"}
    for n in (2, 3):
        parameters |= {f"PSU__USE__S_AXI_GP{n}": "1", f"C_SAXIGP{n}_DATA_WIDTH": "64"}
    for n in range(4):
        divisors = (clock.divisor0, clock.divisor1) if n == 0 else (1, 1)
        parameters |= {
            f"PSU__FPGA_PL{n}_ENABLE": "1" if n == 0 else "0",
            f"PSU__CRL_APB__PL{n}_REF_CTRL__SRCSEL": clock.pll.name,
            f"PSU__CRL_APB__PL{n}_REF_CTRL__DIVISOR0": str(divisors[0]),
            f"PSU__CRL_APB__PL{n}_REF_CTRL__DIVISOR1": str(divisors[1]),
        }
    return parameters | {
        "PSU__PSS_REF_CLK__FREQMHZ": f"{board.crystal_mhz:.6f}",
        "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": f"{requested_mhz:g}",
        "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ": f"{clock.mhz:.6f}",
    }


PROCESSORS = {
    "PS7": Processor(
        "zynq",
        "processing_system7",
        "xilinx.com:ip:processing_system7:5.5",
        {
            REGISTERS: ("M_AXI_GP0", "M_AXI_GP0_"),
            "M_AXI0": ("S_AXI_HP0", "S_AXI_HP0_"),
            "M_AXI1": ("S_AXI_HP1", "S_AXI_HP1_"),
        },
        {"aclk": ("FCLK_CLK0", "clk"), "aresetn": ("FCLK_RESET0_N", "rst"), "irq": ("IRQ_F2P", "INTERRUPT")},
        _zynq_parameters,
    ),
    "PS8": Processor(
        "zynquplus",
        "zynq_ultra_ps_e",
        "xilinx.com:ip:zynq_ultra_ps_e:3.3",
        {
            REGISTERS: ("M_AXI_HPM0_FPD", "maxigp0_"),
            "M_AXI0": ("S_AXI_HP0_FPD", "saxigp2_"),
            "M_AXI1": ("S_AXI_HP1_FPD", "saxigp3_"),
        },
        {"aclk": ("pl_clk0", "clk"), "aresetn": ("pl_resetn0", "rst"), "irq": ("pl_ps_irq0", "INTERRUPT")},
        _ultrascale_parameters,
    ),
}
"""By the primitive."""


def _bus(interface: str, processor: Processor) -> str:
    """Name of the connection between an interface of the accelerator and the processor."""
    if interface == REGISTERS:
        return f"{processor.instance}_{processor.interfaces[interface][0]}"
    return f"{NAME}_{interface}"


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
    found = SubElement(block, "REGISTERS")
    for register in registers.REGISTERS:
        _register(found, register)


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
