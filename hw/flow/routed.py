# SPDX-License-Identifier: Apache-2.0
"""A routed design's features against its netlist: what each cell of the chip is set to, and what was asked of it.

Cells are taken from the netlist that went into place and route, places and pin swaps from the one that came out.
Features are read by the meaning that Project X-Ray gives them, from the addresses of its tile grid, so that a mistake
of the program that wrote them shows.
The clock is followed from the processor's pin over its buffers to the slices; the processor itself has no settings but
its wires. Not compared: which wires the other nets take, and the input and output buffers.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hw.flow import clock_tree

Module = Mapping[str, Any]
Sites = Mapping[str, tuple[str, str]]
"""Site: its tile, its kind."""

_LUT_PINS = ("A1", "A2", "A3", "A4", "A5", "A6")
_RAM_LUTS = {
    "RAMD64E": {"RAM"},
    "RAMS64E": {"RAM"},
    "RAMD32": {"RAM", "SMALL"},
    "RAMS32": {"RAM", "SMALL"},
    "SRL16E": {"SRL", "SMALL"},
    "SRLC32E": {"SRL"},
}
_FLIP_FLOPS = {"FDRE": ("0", True), "FDSE": ("1", True), "FDCE": ("0", False), "FDPE": ("1", False)}
"""Value that the reset gives, and whether it waits for the clock."""
_DSP_REGISTERS = tuple(
    f"{name}REG" for name in ("AD", "ALUMODE", "CARRYIN", "CARRYINSEL", "C", "D", "INMODE", "M", "OPMODE", "P")
)
_MEMORY_PINS = ("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN")
_DSP_CONTROLS = {"ALUMODE": 4, "INMODE": 5, "OPMODE": 7}


def sites_of(tilegrid: Path) -> dict[str, tuple[str, str]]:
    """Tile and kind of each site, of Project X-Ray's ``tilegrid.json``."""
    tiles = json.loads(tilegrid.read_text())
    return {site: (tile, kind) for tile, entry in tiles.items() for site, kind in entry["sites"].items()}


def differences(netlist: Module, routed: Module, fasm: str, sites: Sites) -> list[str]:
    """A line for each cell that the features set otherwise than its netlist asks.

    Parameters
    ----------
    netlist
        Module as Yosys' JSON has it.
    routed
        The same module as nextpnr's ``--write`` has it after routing.
    fasm
        Features, one a line.
    """
    return list(_Comparison(netlist, routed, fasm, sites).all())


class _Comparison:
    def __init__(self, netlist: Module, routed: Module, fasm: str, sites: Sites) -> None:
        self.asked = netlist["cells"]
        self.cells = routed["cells"]
        self.sites = sites
        self.features: dict[str, dict[str, str]] = defaultdict(dict)
        for tile, feature, value in re.findall(
            r"^((?:CLBL|DSP_|BRAM_|CLK_|HCLK_|PSS)\w*_X\d+Y\d+|INT_[LR]_X\d+Y\d+(?=\.CLK))\.([^ =\n]+)"
            r"(?: *= *\d+'b([01]+))?",
            fasm,
            re.M,
        ):
            self.features[tile][feature] = value
        self.drivers = {
            bit: (name, port)
            for name, cell in self.cells.items()
            for port, bits in cell["connections"].items()
            if cell.get("port_directions", {}).get(port) == "output"
            for bit in bits
        }
        self.readers: dict[int, set[str]] = defaultdict(set)
        for cell in self.cells.values():
            for port, bits in cell["connections"].items():
                if cell.get("port_directions", {}).get(port) != "output":
                    for bit in bits:
                        self.readers[bit].add(_site(cell))
        self.bels: dict[str, dict[str, str]] = defaultdict(dict)
        for name, cell in self.cells.items():
            site, _, bel = cell["attributes"].get("NEXTPNR_BEL", "").partition("/")
            self.bels[site][bel] = name

    def all(self) -> Iterator[str]:
        yield from self._clock()
        yield from self._processor()
        for site, bels in self.bels.items():
            if site.startswith("SLICE_"):
                yield from self._slice(site, bels)
        for name, cell in self.asked.items():
            if cell["type"] in ("DSP48E1", "RAMB36E1"):
                if name not in self.cells:
                    yield f"{cell['type']} {name}: not placed"
                else:
                    yield from (self._dsp if cell["type"] == "DSP48E1" else self._memory)(name, cell)

    # ---- slices

    def _slice(self, site: str, bels: Mapping[str, str]) -> Iterator[str]:
        tile, kind = self.sites[site]
        column, _ = _place(site)
        part = f"{kind}_X{column % 2}"
        have = {
            feature.partition(".")[2]: value
            for feature, value in self.features[tile].items()
            if feature.startswith(part + ".")
        }
        for letter in "ABCD":
            yield from self._lut(site, letter, bels, have)
            yield from self._output(site, letter, bels, have)
        yield from self._written(site, bels, have)
        resets = set()
        clock_enabled, reset_used = False, False
        for bel in ("AFF", "BFF", "CFF", "DFF", "A5FF", "B5FF", "C5FF", "D5FF"):
            if bel not in bels:
                continue
            name = bels[bel]
            cell = self.cells[name]
            kind_of = cell["attributes"].get("X_ORIG_TYPE", "")
            value, synchronous = _FLIP_FLOPS[kind_of]
            resets.add(synchronous)
            init = self.asked.get(name, cell)["parameters"].get("INIT", "x")[-1]
            if init in "01" and (f"{bel}.ZINI" in have) != (init == "0"):
                yield f"{kind_of} {name} at {site}/{bel}: starts with {1 - int(init)}, expected {init}"
            if (f"{bel}.ZRST" in have) != (value == "0"):
                yield f"{kind_of} {name} at {site}/{bel}: reset gives the other value than {value}"
            clock_enabled |= self._constant(cell, "CE") != "1"
            reset_used |= self._constant(cell, "SR") != "0"
            yield from self._data(site, bel, name, bels, have)
            inverted = _number(self.asked.get(name, cell)["parameters"].get("IS_C_INVERTED", "0")) == 1
            if ("NOCLKINV" in have) == inverted:
                yield f"{kind_of} {name} at {site}/{bel}: clock {'not ' * inverted}inverted"
        if resets:
            if resets != {"FFSYNC" in have}:
                yield f"{site}: FFSYNC {'set' if 'FFSYNC' in have else 'not set'}, flip-flops of {resets} in it"
            for used, feature in ((clock_enabled, "CEUSEDMUX"), (reset_used, "SRUSEDMUX")):
                if used != (feature in have):
                    yield f"{site}: {feature} {'not ' if used else ''}set"
        if "CARRY4" in bels:
            yield from self._carry(site, bels, have)
        if resets or any(self._is_memory(name) for name in bels.values()):
            yield from self._clocked(site)

    def _clocked(self, site: str) -> Iterator[str]:
        """The slice's clock is one of the two of its interconnect tile, and that one is of the clock's row."""
        tile, _ = self.sites[site]
        taken = {
            feature.rpartition("CLK")[2] for feature in self._sources(tile, f"{_side(*self.sites[site], site)}_CLK")
        }
        place = re.sub(r"^CLBL[LM]_([LR])", r"INT_\1", tile)
        wires = {source for n in taken for name in ("CLK", "CLK_L") for source in self._sources(place, f"{name}{n}")}
        if len(taken) != 1 or len(wires) != 1 or not all(wire.startswith("GCLK_") for wire in wires):
            yield f"{site}: its clock comes from {sorted(wires)}, expected one wire of the clock's row"

    def _output(self, site: str, letter: str, bels: Mapping[str, str], have: Mapping[str, str]) -> Iterator[str]:
        """The second output of a quarter of a slice: what leaves the slice by it alone, and nothing else."""
        n = "ABCD".index(letter)
        inside = {
            f"{letter}5Q": (f"{letter}5FF", "Q"),
            "O5": (f"{letter}5LUT", "O5"),
            "O6": (f"{letter}6LUT", "O6"),
            "XOR": ("CARRY4", f"O{n}"),
            "CY": ("CARRY4", f"CO{n}"),
        }
        chosen = {feature.partition(".")[2] for feature in have if feature.startswith(f"{letter}OUTMUX.")}
        # A carry goes on to the slice above, and O6 out, by wires of their own.
        above = {f"SLICE_X{_place(site)[0]}Y{_place(site)[1] + 1}"}
        leaving = set()
        for name, (bel, port) in inside.items():
            bits = self.cells[bels[bel]]["connections"].get(port) if bel in bels else None
            readers = self.readers[bits[0]] if bits else set()
            if name in chosen and not readers:
                yield f"{site}/{letter}: its second output is {name}, which no one reads"
            if name != "O6" and readers - {site} - (above if name == "CY" and letter == "D" else set()):
                leaving.add(name)
        if len(chosen) > 1 or not leaving <= chosen:
            yield f"{site}/{letter}: its second output is {sorted(chosen)}, expected {sorted(leaving)}"

    def _is_memory(self, name: str) -> bool:
        return self.cells[name]["attributes"].get("X_ORIG_TYPE", "") in _RAM_LUTS

    def _written(self, site: str, bels: Mapping[str, str], have: Mapping[str, str]) -> Iterator[str]:
        """What the memories of a slice are written with, and when."""
        memories = {bel: name for bel, name in bels.items() if bel.endswith("LUT") and self._is_memory(name)}
        if not memories:
            return
        data = {
            bel[0]: bits
            for bel, name in memories.items()
            if (bits := self.cells[name]["connections"].get("DI1")) and bits[0] in self.drivers
        }
        for letter, neighbour in (("A", "B"), ("B", "D"), ("C", "D")):
            own = f"{letter}LUT.DI1MUX.{letter}I" in have
            if letter in data and not own and data[letter] != data.get(neighbour):
                yield f"{site}/{letter}: written with what {neighbour} is, expected its own"
        pin = "CE" if "WEMUX.CE" in have else "WE"
        if not self._sources(self.sites[site][0], f"{_side(*self.sites[site], site)}_{pin}"):
            yield f"{site}: its memories are written by {pin}, which nothing drives"

    def _lut(self, site: str, letter: str, bels: Mapping[str, str], have: Mapping[str, str]) -> Iterator[str]:
        halves = {bel: bels[bel] for bel in (f"{letter}6LUT", f"{letter}5LUT") if bel in bels}
        if not halves:
            return
        table = int(have.get(f"{letter}LUT.INIT[63:0]") or "0", 2)
        modes = set()
        for bel, name in halves.items():
            cell = self.cells[name]
            kind = cell["attributes"].get("X_ORIG_TYPE", cell["type"])
            modes |= _RAM_LUTS.get(kind, set())
            if not kind.startswith("LUT"):
                continue
            addresses = (
                range(64) if len(halves) == 1 and bel[1] == "6" else range(32, 64) if bel[1] == "6" else range(32)
            )
            asked = self.asked.get(name, cell)
            init = "10" if asked["type"] == "INV" else asked["parameters"]["INIT"][::-1]
            pins = [cell["attributes"].get(f"X_ORIG_PORT_{pin}", "").split() for pin in _LUT_PINS]
            logical = [sum(1 << int(port[1:]) for port in set(ports)) for ports in pins]
            missing = {port for port in self._inputs(name)} - {port for ports in pins for port in ports}
            if missing:
                yield f"{kind} {name} at {site}/{bel}: no pin for {', '.join(sorted(missing))}"
            for address in addresses:
                index = 0
                for pin, mask in enumerate(logical):
                    if address >> pin & 1:
                        index |= mask
                want = init[index] if index < len(init) else "0"
                if want in "01" and int(want) != table >> address & 1:
                    yield f"{kind} {name} at {site}/{bel}: another function (bit {address} of its table)"
                    break
        for mode in ("RAM", "SMALL", "SRL"):
            if (f"{letter}LUT.{mode}" in have) != (mode in modes):
                yield f"{site}/{letter}: {mode} {'not ' if mode in modes else ''}set"

    def _inputs(self, name: str) -> list[str]:
        cell = self.asked.get(name)
        if cell is None:
            return []
        return [
            port
            for port, bits in cell["connections"].items()
            if re.fullmatch(r"I\d", port) and bits and not isinstance(bits[0], str)
        ]

    def _data(self, site: str, bel: str, name: str, bels: Mapping[str, str], have: Mapping[str, str]) -> Iterator[str]:
        """What a flip-flop takes: a net of the slice only if it is the one of its D."""
        letter = bel[0]
        chosen = [feature.partition(".")[2] for feature in have if feature.startswith(f"{bel}MUX.")]
        if len(chosen) != 1:
            yield f"flip-flop {name} at {site}/{bel}: takes {chosen}, expected one of its inputs"
            return
        inside = {
            "O6": (f"{letter}6LUT", "O6"),
            "O5": (f"{letter}5LUT", "O5"),
            "IN_A": (f"{letter}5LUT", "O5"),
            "XOR": ("CARRY4", f"O{'ABCD'.index(letter)}"),
            "CY": ("CARRY4", f"CO{'ABCD'.index(letter)}"),
        }.get(chosen[0])
        if inside is None:
            return
        (data,) = self.cells[name]["connections"]["D"]
        if self.drivers.get(data) != (bels.get(inside[0]), inside[1]):
            yield f"flip-flop {name} at {site}/{bel}: takes {chosen[0]}, which is not its D"

    def _carry(self, site: str, bels: Mapping[str, str], have: Mapping[str, str]) -> Iterator[str]:
        name = bels["CARRY4"]
        cell = self.cells[name]
        start = {feature.partition(".")[2] for feature in have if feature.startswith("PRECYINIT.")}
        wires = self.features[self.sites[site][0]]
        constant = self._constant(cell, "CYINIT")
        if cell["connections"].get("CIN"):
            want = {"CIN"}
        elif not cell["connections"].get("CYINIT"):
            want = start & {"C0", "C1"} or {"C0"}  # placed without the constant that it had
        else:
            want = {f"C{constant}"} if constant else {"AX"}
        if start != want:
            yield f"CARRY4 {name} at {site}: begins with {sorted(start)}, expected {sorted(want)}"
        for k, letter in enumerate("ABCD"):
            bits = cell["connections"].get(f"DI{k}")
            inside = bool(bits) and self.drivers.get(bits[0]) == (bels.get(f"{letter}5LUT"), "O5")
            outside = any(feature.startswith(f"{_side(*self.sites[site], site)}_{letter}X.") for feature in wires)
            if bits and not (inside if f"CARRY4.{letter}CY0" in have else outside):
                yield f"CARRY4 {name} at {site}: DI[{k}] is {'' if outside else 'not '}taken from outside"

    # ---- clock and processor

    def _sources(self, tile: str, wire: str) -> list[str]:
        """What the pips of a tile drive a wire of it from."""
        return [feature.partition(".")[2] for feature in self.features.get(tile, ()) if feature.startswith(f"{wire}.")]

    def _clock(self) -> Iterator[str]:
        buffers = {_site(cell): cell for cell in self.cells.values() if cell["type"] == "BUFGCTRL"}
        sources = {}
        for site, cell in buffers.items():
            name, port = self.drivers.get((cell["connections"].get("I0") or [None])[0], ("", ""))
            sources[site] = port if name in self.cells and self.cells[name]["type"] == "PS7_PS7" else ""
        tiles = (
            (tile, features) for tile, features in self.features.items() if tile.startswith(("CLK_", "HCLK_", "PSS"))
        )
        return clock_tree.faults(buffers, sources, {f"{tile}.{name}" for tile, features in tiles for name in features})

    def _processor(self) -> Iterator[str]:
        """Each pin of the processor that a net is at has its wire."""
        pips = [feature for tile, features in self.features.items() if tile.startswith("PSS") for feature in features]
        ends = {end for feature in pips for end in feature.split(".")}
        for name, cell in self.cells.items():
            if cell["type"] != "PS7_PS7":
                continue
            for port, bits in cell["connections"].items():
                driven = cell.get("port_directions", {}).get(port) == "output"
                if (
                    bits
                    and (self.readers[bits[0]] if driven else bits[0] in self.drivers)
                    and f"PS7_{port}" not in ends
                ):
                    yield f"PS7 {name}: no wire at {port}"

    # ---- DSP slices and block RAMs

    def _dsp(self, name: str, cell: Module) -> Iterator[str]:
        site = self.cells[name]["attributes"]["NEXTPNR_BEL"].partition("/")[0]
        tile, _ = self.sites[site]
        slot = f"DSP_{_place(site)[1] % 2}"
        have = self.features[tile]
        parameters = cell["parameters"]

        def setting(feature: str) -> bool:
            return f"DSP48.{slot}.{feature}" in have

        for register in _DSP_REGISTERS:
            stages = _number(parameters.get(register, "1"))
            if setting(f"Z{register}[0]") != (stages == 0):
                yield f"DSP48E1 {name} at {site}: {register} is not {stages}"
        for port in "AB":
            stages = _number(parameters.get(f"{port}REG", "1"))
            found = 0 if setting(f"{port}REG_0") else 2 if setting(f"{port}REG_2") else 1
            if found != stages:
                yield f"DSP48E1 {name} at {site}: {port}REG is {found}, expected {stages}"
            cascade = parameters.get(f"{port}_INPUT", "DIRECT").strip() == "CASCADE"
            if setting(f"{port}_INPUT[0]") != cascade:
                yield f"DSP48E1 {name} at {site}: {port} comes {'not ' if cascade else ''}from the cascade"
        if setting("USE_DPORT[0]") != (parameters.get("USE_DPORT", "FALSE").strip() == "TRUE"):
            yield f"DSP48E1 {name} at {site}: USE_DPORT is not {parameters.get('USE_DPORT')}"
        if not setting("ZIS_CLK_INVERTED"):
            yield f"DSP48E1 {name} at {site}: clock inverted"
        for port, width in _DSP_CONTROLS.items():
            for k, asked in enumerate((cell["connections"].get(port) or ["0"] * width)[:width]):
                pin = f"{port}{k}"
                tie = self._tie(tile, slot, pin) or self._constant(self.cells[name], pin)
                inverted = not setting(f"ZIS_{port}_INVERTED[{k}]")
                value = "a net" if tie is None else str(int(tie) ^ inverted)
                if isinstance(asked, int):
                    want = "a net"
                elif asked in ("0", "1"):
                    want = str(int(asked) ^ _number(parameters.get(f"IS_{port}_INVERTED", "0")) >> k & 1)
                else:
                    continue
                if value != want or (isinstance(asked, int) and inverted):
                    yield f"DSP48E1 {name} at {site}: {port}[{k}] is {value}{', inverted' * inverted}, expected {want}"

    def _tie(self, tile: str, slot: str, pin: str) -> str | None:
        side = tile[4]
        for value, supply in (("0", "GND"), ("1", "VCC")):
            if f"{slot}_{pin}.DSP_{supply}_{side}" in self.features[tile]:
                return value
        return None

    def _memory(self, name: str, cell: Module) -> Iterator[str]:
        site = self.cells[name]["attributes"]["NEXTPNR_BEL"].partition("/")[0]
        tile, _ = self.sites[site]
        parameters = cell["parameters"]
        for half in (0, 1):
            prefix = f"RAMB18_Y{half}."
            have = {
                feature[len(prefix) :]: value
                for feature, value in self.features[tile].items()
                if feature.startswith(prefix)
            }
            wrong = [text for text in self._half(parameters, have, half)]
            if "IN_USE" not in have:
                wrong = ["not in use"]
            if wrong:
                yield f"RAMB36E1 {name} at {site}, half {half}: {', '.join(wrong)}"

    def _half(self, parameters: Mapping[str, str], have: Mapping[str, str], half: int) -> Iterator[str]:
        for port in ("READ_WIDTH_A", "READ_WIDTH_B", "WRITE_WIDTH_A", "WRITE_WIDTH_B"):
            width = _number(parameters.get(port, "0"))
            kind = port.split("_")[0]
            if width == 72:
                want = {f"SDP_{kind}_WIDTH_36"}
            else:
                want = {f"{port}_{max(1, width // 2)}"} if width else set()
            if not want <= set(have):
                yield f"{port} is not {width}"
        for register in ("DOA_REG", "DOB_REG"):
            if (register in have) != bool(_number(parameters.get(register, "0"))):
                yield f"{register} is not {parameters.get(register)}"
        for port in "AB":
            mode = parameters.get(f"WRITE_MODE_{port}", "WRITE_FIRST").strip()
            found = next((text[13:] for text in have if text.startswith(f"WRITE_MODE_{port}_")), "WRITE_FIRST")
            if found != mode:
                yield f"WRITE_MODE_{port} is {found}, expected {mode}"
        for pin in _MEMORY_PINS:
            inverted = _number(parameters.get(f"IS_{pin}_INVERTED", "0")) == 1
            if (f"ZINV_{pin}" in have) == inverted:
                yield f"{pin} is {'not ' * inverted}inverted"
        for key, value in parameters.items():
            if (match := re.fullmatch(r"(INIT|SRVAL)_[AB]", key)) and "1" not in value:
                if have.get(f"Z{key}[17:0]") != "1" * 18:
                    yield f"{key} is not 0"
            if match := re.fullmatch(r"INIT(P?)_([0-9A-F]{2})", key):
                row = int(match[2], 16)
                stored = have.get(f"INIT{match[1]}_{row // 2:02X}[255:0]") or ""
                bits = stored.rjust(256, "0")[::-1][row % 2 * 128 : row % 2 * 128 + 128]
                content = value[::-1].ljust(256, "0")[half::2]
                if any(a in "01" and a != b for a, b in zip(content, bits, strict=True)):
                    yield f"{key} differs"

    def _constant(self, cell: Module, port: str) -> str | None:
        """Value of a pin that a constant drives, None if a net does or nothing."""
        bits = cell["connections"].get(port)
        if not bits:
            return None
        if isinstance(bits[0], str):
            return bits[0]
        name, _ = self.drivers.get(bits[0], ("", ""))
        kind = self.cells[name]["type"] if name in self.cells else ""
        return {"PSEUDO_GND": "0", "PSEUDO_VCC": "1"}.get(kind)


def _number(text: str | int) -> int:
    return text if isinstance(text, int) else int(text.strip() or "0", 2)


def _site(cell: Module) -> str:
    return str(cell["attributes"].get("NEXTPNR_BEL", "")).partition("/")[0]


def _side(tile: str, kind: str, site: str) -> str:
    """How the wires of a slice begin."""
    second = _place(site)[0] % 2 == 1
    first = "M" if kind == "SLICEM" else "LL"
    return f"{tile[:5]}_{'L' if second else first}"


def _place(site: str) -> tuple[int, int]:
    """Column and row in the name of a site."""
    x, y = re.findall(r"_X(\d+)Y(\d+)$", site)[0]
    return int(x), int(y)
