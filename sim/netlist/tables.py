# SPDX-License-Identifier: Apache-2.0
"""A flat netlist of 7-series cells as the tables that ``engine.hpp`` evaluates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codenet.errors import CodenetError

ZERO, ONE, NOBODY = 0, 1, 2
"""Values of constants, and of outputs that nothing reads."""

_OUTPUTS = {"O", "CO", "Q", "P", "PCOUT"}
"""And those of memories, which begin with DO."""

_RESETS = {"FDRE": "R", "FDSE": "S", "FDPE": "PRE", "FDCE": "CLR"}
"""Pin of the reset, which takes effect at the next clock, be it asynchronous or not."""

_ADDRESS = 12
"""Bits of a block RAM's address: 4096 words of 9 bits."""

_CLOCK_PINS = {"FCLKCLK", "MAXIGP0ACLK", "SAXIHP0ACLK", "SAXIHP1ACLK"}

_LUT = np.dtype([("table", "<u8"), ("inputs", "<u4", 6), ("output", "<u4"), ("unused", "<u4")])


class NetlistError(CodenetError):
    """A netlist with a cell, or a way to use one, that is not known here; or with a loop."""


@dataclass
class _Lut:
    table: int
    inputs: list[int]
    output: int


@dataclass
class Tables:
    """A netlist, ready to be written.

    Attributes
    ----------
    ports:
        Name, width and whether it is an input, in the order of the port bits.
    lut_cells:
        Type and name of the cell that each LUT is of, in the order of evaluation.
    """

    values: int
    ports: list[tuple[str, int, bool]]
    lut_cells: list[str]
    _sections: list[np.ndarray] = field(repr=False)

    def write(self, path: Path) -> None:
        """Binary file, little endian: seven counts, then the rows of each table."""
        with open(path, "wb") as file:
            np.array([self.values, *map(len, self._sections)], "<u4").tofile(file)
            for section in self._sections:
                section.tofile(file)


def tables(module: Mapping[str, Any]) -> Tables:
    """Tables of a module of a JSON netlist (:func:`hw.synthesis.yosys.read_netlist`) that ``synth_xilinx`` made, flat,
    with one clock. Pins of a PS7 become ports under their own names, those that the processor drives inputs.

    Raises
    ------
    NetlistError
        It has a cell of another type, a cell used otherwise than the accelerator does, or a combinational loop.
    """
    return _Builder(module).finish()


class _Builder:
    def __init__(self, module: Mapping[str, Any]) -> None:
        self.module = module
        self.index: dict[int, int] = {}
        self.luts: list[_Lut] = []
        self.names: list[str] = []
        self.flip_flops: list[list[int]] = []
        self.writes: list[list[int]] = []
        self.block_rams: list[list[int]] = []
        self.slices: list[list[int]] = []
        self.ports = {name: (port["direction"] == "input", port["bits"]) for name, port in module["ports"].items()}
        for name, cell in module["cells"].items():
            try:
                self._add(name, cell)
            except NetlistError as error:
                raise NetlistError(f"cell {name} ({cell['type']}): {error}") from None

    def value(self, bit: int | str) -> int:
        """Where a net's value is; undefined constants are 0."""
        if isinstance(bit, str):
            return ONE if bit == "1" else ZERO
        return self.index.setdefault(bit, len(self.index) + 3)

    def pins(self, cell: Mapping[str, Any], pin: str, width: int) -> list[int]:
        """Values of a pin; what is not connected is 0, or nobody's if it is an output."""
        bits = cell["connections"].get(pin, [])
        found = [self.value(bit) for bit in bits[:width]]
        return found + [NOBODY if pin in _OUTPUTS or pin.startswith("DO") else ZERO] * (width - len(found))

    def lut(self, name: str, table: int, inputs: Sequence[int], output: int) -> int:
        self.luts.append(_Lut(table, [*inputs, *[ZERO] * (6 - len(inputs))], output))
        self.names.append(f"{self.module['cells'][name]['type']} {name}")
        return len(self.luts) - 1

    def _add(self, name: str, cell: Mapping[str, Any]) -> None:
        kind = cell["type"]
        if kind.startswith("LUT") and kind[3:].isdigit():
            inputs = [self.pins(cell, f"I{n}", 1)[0] for n in range(int(kind[3:]))]
            self.lut(name, _number(cell, "INIT"), inputs, self.pins(cell, "O", 1)[0])
        elif kind == "INV":
            self.lut(name, 0b01, self.pins(cell, "I", 1), self.pins(cell, "O", 1)[0])
        elif kind in ("MUXF7", "MUXF8"):
            inputs = [self.pins(cell, pin, 1)[0] for pin in ("I0", "I1", "S")]
            self.lut(name, 0b11001010, inputs, self.pins(cell, "O", 1)[0])
        elif kind == "CARRY4":
            self._carry(name, cell)
        elif kind in _RESETS:
            d, enable, r, q = (self.pins(cell, pin, 1)[0] for pin in ("D", "CE", _RESETS[kind], "Q"))
            self.flip_flops.append([d, enable, r, q, _number(cell, "INIT"), int(kind in ("FDSE", "FDPE"))])
        elif kind == "RAM64M":
            self._lut_memory(name, cell, bits=1)
        elif kind == "RAM32M":
            self._lut_memory(name, cell, bits=2)
        elif kind in ("RAMB36E1", "RAMB18E1"):
            self.block_rams.append(self._block_ram(cell, 4 if kind == "RAMB36E1" else 2))
        elif kind == "DSP48E1":
            self.slices.append(self._slice(cell))
        elif kind == "PS7":
            pins = {pin: bits for pin, bits in cell["connections"].items() if pin not in _CLOCK_PINS}
            self.ports |= {pin: (_outward(cell, pin), bits) for pin, bits in pins.items()}
        elif kind not in ("BUFG", "OBUF", "GND", "VCC", "$scopeinfo"):
            raise NetlistError("expected a cell that the engine knows")

    def _carry(self, name: str, cell: Mapping[str, Any]) -> None:
        """CO[n] = S[n] ? CO[n - 1] : DI[n]; O[n] = S[n] ^ CO[n - 1] (UG474)."""
        first = [self.pins(cell, pin, 1)[0] for pin in ("CI", "CYINIT")]
        carry = self.fresh()
        self.lut(name, 0b1110, first, carry)  # One of them is 0.
        s, di, o, co = (self.pins(cell, pin, 4) for pin in ("S", "DI", "O", "CO"))
        for n in range(4):
            if o[n] != NOBODY:
                self.lut(name, 0b0110, [s[n], carry], o[n])
            output = co[n] if co[n] != NOBODY else self.fresh()
            self.lut(name, 0b11001010, [di[n], carry, s[n]], output)
            carry = output

    def fresh(self) -> int:
        """A value of the cell's own."""
        return self.index.setdefault(-1 - len(self.index), len(self.index) + 3)

    def _lut_memory(self, name: str, cell: Mapping[str, Any], bits: int) -> None:
        """Four memories of 64 or 32 x 2 bits, all written at the address of port D (UG474)."""
        address = self.pins(cell, "ADDRD", 6 if bits == 1 else 5)
        address += [ZERO] * (6 - len(address))
        enable = self.pins(cell, "WE", 1)[0]
        for port in "ABCD":
            outputs, data = self.pins(cell, f"DO{port}", bits), self.pins(cell, f"DI{port}", bits)
            initial = _number(cell, f"INIT_{port}")
            for n in range(bits):
                if outputs[n] == NOBODY:
                    continue
                table = initial if bits == 1 else sum((initial >> 2 * word + n & 1) << word for word in range(32))
                lut = self.lut(name, table, self.pins(cell, f"ADDR{port}", len(address) - (bits - 1)), outputs[n])
                self.writes.append([lut, enable, data[n], *address])

    def _block_ram(self, cell: Mapping[str, Any], lanes: int) -> list[int]:
        """``lanes``: bytes of half the widest word, which has a bit of parity for each."""
        parameters = cell["parameters"]
        mode = parameters["RAM_MODE"].strip()
        widths = [_number(cell, f"{way}_WIDTH_{port}") for way in ("READ", "WRITE") for port in "AB"]
        wide = mode == "SDP" and widths == [18 * lanes, 0, 0, 18 * lanes]
        width = widths[1]
        if not wide:
            if mode != "TDP" or widths != [0, width, width, 0] or width not in (4, 9, 18, 9 * lanes):
                raise NetlistError(f"{mode} with widths {widths} of READ A, B, WRITE A, B")
            lanes = max(width // 9, 1)
        used = 8 * lanes if wide or width > 8 else width
        for port in "AB":
            if parameters[f"WRITE_MODE_{port}"].strip() != "READ_FIRST":
                raise NetlistError(f"WRITE_MODE_{port} = {parameters[f'WRITE_MODE_{port}']}")
        if any(_number(cell, name) for name in parameters if name.startswith(("INIT", "SRVAL"))):
            raise NetlistError("contents at the start: expected zeros")
        low = {4: 2, 8: 3, 16: 4, 32: 5}[used]

        def one(*names: str) -> list[int]:
            return [self.pins(cell, name, 1)[0] for name in names]

        def data(port: str, way: str) -> list[int]:
            values = self.pins(cell, f"{way}{port}{way}", used)
            values += [NOBODY if way == "DO" else ZERO] * (8 * lanes - used)
            parities = self.pins(cell, f"{way}P{port}{way}P", lanes)
            mixed = [v for n in range(lanes) for v in (*values[8 * n : 8 * n + 8], parities[n])]
            return mixed + [NOBODY if way == "DO" else ZERO] * (36 - 9 * lanes)

        def address(pin: str) -> list[int]:
            width = 15 if cell["type"] == "RAMB36E1" else 14
            return (self.pins(cell, pin, width)[low:] + [ZERO] * _ADDRESS)[:_ADDRESS]

        row = [lanes, int(wide), _number(cell, "DOA_REG"), _number(cell, "DOB_REG")]
        row += one(
            "ENARDEN", "ENBWREN", "REGCEAREGCE", "REGCEB", "RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"
        )
        row += address("ADDRARDADDR") + address("ADDRBWRADDR")
        row += self.pins(cell, "WEA", 4) + self.pins(cell, "WEBWE", 8)
        return row + data("A", "DI") + data("B", "DI") + data("A", "DO") + data("B", "DO")

    def _slice(self, cell: Mapping[str, Any]) -> list[int]:
        expected = {"MREG": 1, "PREG": 1, "OPMODEREG": 0, "ALUMODEREG": 0, "INMODEREG": 0}
        expected |= {"CARRYINREG": 0, "CARRYINSELREG": 0}
        for name, value in expected.items():
            if _number(cell, name) != value:
                raise NetlistError(f"{name} = {_number(cell, name)}: expected {value}")
        for name, text in {"USE_DPORT": "FALSE", "USE_MULT": "MULTIPLY", "USE_SIMD": "ONE48"}.items():
            if cell["parameters"][name].strip() != text:
                raise NetlistError(f"{name} = {cell['parameters'][name]}: expected {text}")
        constants = {"CEA2": 1, "CEB2": 1, "CEM": 1, "CEP": 1, "RSTA": 0, "RSTB": 0, "RSTM": 0, "RSTP": 0, "RSTC": 0}
        constants |= {"ALUMODE": 0, "INMODE": 0, "CARRYIN": 0, "CARRYINSEL": 0}
        registers = {port: _number(cell, f"{port}REG") for port in "ABC"}
        constants |= {f"CE{port}1": 1 for port in "AB" if registers[port] == 2}
        constants |= {"CEC": 1} if registers["C"] else {}
        for pin, value in constants.items():
            if (found := _constant(cell, pin)) != value:
                raise NetlistError(f"{pin} = {found}: expected {value}")
        modes = {0b0010101: 1, 0b0110101: 0}  # M and PCIN, M and C.
        mode = _constant(cell, "OPMODE")
        if mode not in modes or not registers["A"] or not registers["B"]:
            raise NetlistError(f"OPMODE = {mode}, registers {registers}")
        row = [*registers.values(), modes[mode]]
        for pin, width in (("A", 25), ("B", 18), ("C", 48), ("PCIN", 48), ("P", 48), ("PCOUT", 48)):
            row += self.pins(cell, pin, width)
        return row

    def _order(self) -> list[int]:
        """LUTs so that each comes after those that it reads."""
        maker = {lut.output: n for n, lut in enumerate(self.luts)}
        waiting = [0] * len(self.luts)
        readers: dict[int, list[int]] = defaultdict(list)
        for n, lut in enumerate(self.luts):
            for source in {maker[value] for value in lut.inputs if value in maker}:
                readers[source].append(n)
                waiting[n] += 1
        order = [n for n, count in enumerate(waiting) if not count]
        for n in order:
            for reader in readers[n]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    order.append(reader)
        if len(order) < len(self.luts):
            stuck = self.names[next(n for n, count in enumerate(waiting) if count)]
            raise NetlistError(f"combinational loop through {stuck}")
        return order

    def finish(self) -> Tables:
        order = self._order()
        place = {old: new for new, old in enumerate(order)}
        luts = np.zeros(len(order), _LUT)
        for new, old in enumerate(order):
            lut = self.luts[old]
            luts[new] = (lut.table, lut.inputs, lut.output, 0)
        writes = [[place[lut], *rest] for lut, *rest in self.writes]
        ports, bits = [], []
        for name, (is_input, wires) in self.ports.items():
            ports.append((name, len(wires), is_input))
            bits += [NOBODY if is_input and isinstance(bit, str) else self.value(bit) for bit in wires]
        sections = [luts, *(_rows(r) for r in (self.flip_flops, writes, self.block_rams, self.slices)), _rows(bits)]
        return Tables(len(self.index) + 3, ports, [self.names[n] for n in order], sections)


def _outward(cell: Mapping[str, Any], pin: str) -> bool:
    """Whether a pin of the processor drives the netlist."""
    return bool(cell["port_directions"][pin] == "output")


def _rows(values: Iterable[Any]) -> np.ndarray:
    return np.array(list(values), "<u4")


def _number(cell: Mapping[str, Any], name: str) -> int:
    """A parameter's value, undefined bits as 0; 0 if it is not given."""
    value = cell["parameters"].get(name, 0)
    if isinstance(value, int):
        return value
    return int("".join("1" if bit == "1" else "0" for bit in value) or "0", 2)


def _constant(cell: Mapping[str, Any], pin: str) -> int | None:
    """What a pin is tied to, 0 if it is open; ``None`` for a net."""
    bits = cell["connections"].get(pin, [])
    if any(isinstance(bit, int) for bit in bits):
        return None
    return sum((bit == "1") << n for n, bit in enumerate(bits))
