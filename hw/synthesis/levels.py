# SPDX-License-Identifier: Apache-2.0
"""Levels of logic between registers, on a netlist that ``synth_xilinx`` made.

A level is a LUT (also one that is an inverter, or a distributed memory that is read), a MUXF7 or MUXF8, or a whole
carry chain, however long. Yosys' own ``ltp`` counts every CARRY4 of a chain. Ports of the netlist count as registers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hw.synthesis.yosys import SynthesisError

Bit = int | str
"""A net of the netlist, or a constant: "0", "1", "x"."""

_LOGIC = re.compile(r"LUT[1-6]|INV|MUXF[78]")
_LUT_RAM = re.compile(r"RAM\d+(M|X1[SD])")
_SHIFT_REGISTER = re.compile(r"SRL16E|SRLC32E")
_REGISTER = re.compile(r"FD[RSCP]E(_1)?|DSP48E1|RAMB(18|36)E1")


@dataclass(frozen=True)
class LongPath:
    """A path from register to register: levels, names of the nets at both ends, types of the cells between, in
    order.
    """

    levels: int
    start: str
    end: str
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.levels}: {self.start} -> {' '.join(self.cells) or 'nothing'} -> {self.end}"


class Levels:
    """Depth of every net of a netlist.

    Parameters
    ----------
    netlist:
        Module of :func:`hw.synthesis.yosys.read_netlist`.

    Raises
    ------
    SynthesisError
        The netlist has a combinational loop.
    """

    def __init__(self, netlist: Mapping[str, Any]) -> None:
        self._netlist = netlist
        self._cells = netlist["cells"]
        self._driver: dict[Bit, tuple[str, str, int]] = {}
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) == "output":
                    for index, bit in enumerate(bits):
                        self._driver[bit] = (name, port, index)
        # Nets that a net is computed from, and whether that takes a level; filled on demand, as is the depth.
        self._depth: dict[Bit, tuple[int, Bit | None]] = {}
        self._names = self._name_nets()

    def _name_nets(self) -> dict[Bit, str]:
        names: dict[Bit, str] = {}
        for name, net in self._netlist["netnames"].items():
            for index, bit in enumerate(net["bits"]):
                label = f"{name}[{index}]" if len(net["bits"]) > 1 else name
                if bit not in names or net.get("hide_name", 0) == 0 and names[bit].startswith("$"):
                    names[bit] = label
        return names

    def _inputs(self, bit: Bit) -> Iterator[tuple[Bit, int]]:
        """Nets that ``bit`` is computed from without a register, each with the levels (0 or 1) that this adds."""
        if bit not in self._driver:
            return
        name, port, index = self._driver[bit]
        cell = self._cells[name]
        kind, nets = cell["type"], cell["connections"]
        if kind == "CARRY4":
            yield from ((net, 0 if self._continues(net) else 1) for net in nets["CI"])
            yield from ((net, 1) for end in ("S", "DI") for net in nets[end][: index + 1])
            yield from ((net, 1) for net in nets["CYINIT"])
        elif _LOGIC.fullmatch(kind):
            yield from ((net, 1) for net in self._of(cell, "input"))
        elif _LUT_RAM.fullmatch(kind):
            # RAM32M: DOA is read at ADDRA; RAM64X1D: DPO at DPRA, SPO at A.
            ends = {"DO": f"ADDR{port[2:]}", "DP": "DPRA", "SP": "A", "O": "A"}
            prefix = next(address for output, address in ends.items() if port.startswith(output))
            yield from ((net, 1) for end, bits in nets.items() if re.fullmatch(rf"{prefix}\d*", end) for net in bits)
        elif _SHIFT_REGISTER.fullmatch(kind):
            # Its length is an address; a constant one for a delay line.
            ends_ = (net for end, bits in nets.items() if re.fullmatch(r"A\d?", end) for net in bits)
            yield from ((net, 1) for net in ends_ if net in self._driver)
        elif not _REGISTER.fullmatch(kind):
            if kind not in ("GND", "VCC", "BUFG"):
                raise SynthesisError(f"cell of type {kind}: expected one of a 7-series netlist (hw.synthesis.levels)")

    def _continues(self, net: Bit) -> bool:
        return net in self._driver and self._cells[self._driver[net][0]]["type"] == "CARRY4"

    @staticmethod
    def _of(cell: Mapping[str, Any], direction: str) -> Iterator[Bit]:
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == direction:
                yield from bits

    def depth(self, bit: Bit) -> int:
        """Levels from the registers to this net."""
        stack, open_nets = [bit], set()
        while stack:
            net = stack[-1]
            if net in self._depth:
                stack.pop()
                continue
            inputs = list(self._inputs(net))
            missing = [source for source, _ in inputs if source not in self._depth]
            if missing:
                if net in open_nets:
                    raise SynthesisError(f"net {self._names.get(net, net)}: expected no combinational loop")
                open_nets.add(net)
                stack += missing
                continue
            candidates = [(self._depth[source][0] + level, source) for source, level in inputs]
            self._depth[net] = max(candidates, key=lambda c: c[0], default=(0, None))
            open_nets.discard(net)
            stack.pop()
        return self._depth[bit][0]

    def _ends(self) -> dict[Bit, str]:
        """Nets that a register or an output port takes, with their names; a net without one is called after the
        register.
        """
        ends: dict[Bit, str] = {}
        for name, port in self._netlist["ports"].items():
            if port["direction"] == "output":
                ends.update((bit, self._names.get(bit, name)) for bit in port["bits"])
        for cell in self._cells.values():
            kind = cell["type"]
            if _REGISTER.fullmatch(kind) or _LUT_RAM.fullmatch(kind) or _SHIFT_REGISTER.fullmatch(kind):
                outputs = [self._names[bit] for bit in self._of(cell, "output") if bit in self._names]
                for port, bits in cell["connections"].items():
                    if cell["port_directions"][port] == "input" and outputs:
                        named = {bit: self._named(bit, f"{outputs[0]} ({kind} {port})") for bit in bits}
                        ends.update((bit, name) for bit, name in named.items() if bit not in ends or port == "D")
        return ends

    def _named(self, bit: Bit, otherwise: str) -> str:
        """Name of a net, unless it is one that a tool made."""
        name = self._names.get(bit, "$")
        return otherwise if name.startswith("$") else name

    def longest(self, count: int = 1) -> list[LongPath]:
        """The longest paths, at most one to each net, longest first; buses count once."""
        names = self._ends()
        ends = sorted((bit for bit in names if bit in self._driver), key=self.depth, reverse=True)
        paths: list[LongPath] = []
        seen = set()
        for end in ends:
            path = self._trace(end, names[end])
            bus = (path.start.split("[")[0], path.end.split("[")[0])
            if bus not in seen:
                seen.add(bus)
                paths.append(path)
            if len(paths) == count:
                break
        return paths

    def _trace(self, end: Bit, name: str) -> LongPath:
        cells: list[str] = []
        net: Bit = end
        levels = self.depth(end)
        while True:
            source = self._depth[net][1]
            if source is None:
                break
            cells.append(self._cells[self._driver[net][0]]["type"])
            net = source
        return LongPath(levels, self._names.get(net, str(net)), name, tuple(reversed(cells)))


def unregistered(netlist: Mapping[str, Any]) -> list[str]:
    """DSP slices without operand, product or result register, and block RAMs without output register whose outputs
    reach anything but one.

    Returns
    -------
    A line for each kind of lack, with the number of cells.
    """
    cells = netlist["cells"].values()
    lacks: dict[str, int] = {}

    def note(lack: str) -> None:
        lacks[lack] = lacks.get(lack, 0) + 1

    taken_by_logic = set()
    for cell in cells:
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input" and not _registers(cell, port):
                taken_by_logic.update(bits)
    for cell in cells:
        if cell["type"] == "DSP48E1":
            for register in ("AREG", "BREG", "MREG", "PREG"):
                if not _parameter(cell, register):
                    note(f"DSP48E1 without {register}")
        elif cell["type"].startswith("RAMB") and not (_parameter(cell, "DOA_REG") or _parameter(cell, "DOB_REG")):
            outputs = {bit for port, bits in cell["connections"].items() if port.startswith("DO") for bit in bits}
            if outputs & taken_by_logic:
                note(f"{cell['type']} whose output is not registered")
    return [f"{count} x {lack}" for lack, count in sorted(lacks.items())]


def _registers(cell: Mapping[str, Any], port: str) -> bool:
    """Whether an input of a cell is a register's data."""
    if cell["type"] == "DSP48E1" and port in ("A", "B", "C", "D"):
        return _parameter(cell, f"{port}REG") > 0
    # A delay line begins with a register too.
    return bool(cell["type"].startswith(("FD", "SRL")) and port == "D")


def _parameter(cell: Mapping[str, Any], name: str) -> int:
    """Value of a parameter, which netlists give as a binary number."""
    return int(str(cell.get("parameters", {}).get(name, "0")), 2)
