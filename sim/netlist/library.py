# SPDX-License-Identifier: Apache-2.0
"""Synthesizes the accelerator, and builds the simulated board with its netlist in place of the Verilated RTL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from amaranth.back import rtlil

from codenet.checkout import BUILD, build_folder, digest
from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from hw.boards.board import Board
from hw.lib.cells import Series7
from hw.synthesis.yosys import XC7, read_netlist, synthesize
from hw.verilog import Wrapper
from sim.netlist.tables import Tables, tables
from sim.verilator.library import HARNESS, PREFIX, include_folder, link, made_once

NETLISTS = BUILD / "netlist"
ENGINE = Path(__file__).with_name("engine.hpp")

_WIDTHS = ((8, "uint8_t"), (16, "uint16_t"), (32, "uint32_t"), (64, "uint64_t"))


def to_rtlil(config: AcceleratorConfig) -> str:
    """RTLIL of the accelerator with AXI port names, module ``top``, with the chip's cells."""
    wrapper = Wrapper(Accelerator(config))
    return rtlil.convert(wrapper, name="top", ports=wrapper.ports, platform=Series7(), emit_src=False)


def build(text: str, name: str = "board") -> Path:
    """Path of the simulated board's library for RTLIL text of a module ``top`` with the accelerator's ports.

    Synthesis takes minutes; it and the library are made anew only if their sources have changed.

    Raises
    ------
    SynthesisError, NetlistError
        Yosys failed, or made something that the engine does not know.
    DeviceError
        The library could not be built.
    """
    name = f"netlist-{name}"
    return _library(synthesize({name: text}, XC7)[name], "top")


def build_design(netlist: Path, module: str, board: Board) -> Path:
    """Path of the simulated board's library for the netlist of a board's whole design, as
    :func:`hw.flow.open.synthesize` writes it: its processor's ports are driven as the processor would.

    Raises
    ------
    NetlistError, DeviceError
        As :func:`build`.
    """
    return _library(netlist, module, processor_pins(board))


def _library(netlist: Path, module: str, pins: Mapping[str, str] | None = None) -> Path:
    build_folder(NETLISTS.name)
    here = sorted(path for path in ENGINE.parent.iterdir() if path.is_file())

    def make(folder: Path) -> None:
        made = tables(read_netlist(netlist, module))
        made.write(folder / "tables")
        (folder / "cells").write_text("\n".join(made.lut_cells))
        (folder / f"{PREFIX}.h").write_text(header(made, folder / "tables", pins))
        include = include_folder()
        link(folder, folder, [include / "verilated.cpp", include / "verilated_threads.cpp"])

    return made_once(NETLISTS / digest([netlist, *HARNESS, *here], module, str(pins)), make)


def processor_pins(board: Board) -> dict[str, str]:
    """For pins of a PS7, the expression that drives it or the port that it drives, of the accelerator on its own."""
    pins = {"FCLKRESETN": "aresetn", "IRQF2P": "irq"}
    for way, rest in (("AW", ("VALID", "READY")), ("AR", ("VALID", "READY"))):
        pins |= {f"MAXIGP0{way}{name}": f"s_axi_{(way + name).lower()}" for name in rest}
        pins |= {f"MAXIGP0{way}ADDR": f"{board.base:#x}u + s_axi_{way.lower()}addr"}
        pins |= {f"MAXIGP0{way}SIZE": "2", f"MAXIGP0{way}BURST": "1"}
    pins |= {"MAXIGP0WLAST": "1"}
    for name in (
        "WDATA",
        "WSTRB",
        "WVALID",
        "WREADY",
        "BVALID",
        "BREADY",
        "BRESP",
        "RDATA",
        "RVALID",
        "RREADY",
        "RRESP",
    ):
        pins[f"MAXIGP0{name}"] = f"s_axi_{name.lower()}"
    for port in (0, 1):
        names = [f"AR{name}" for name in ("ADDR", "VALID", "READY", "LEN", "SIZE", "BURST")]
        names += ["RDATA", "RVALID", "RREADY", "RRESP", "RLAST"]
        if port == 0:
            names += [f"AW{name}" for name in ("ADDR", "VALID", "READY", "LEN", "SIZE", "BURST")]
            names += ["WDATA", "WSTRB", "WVALID", "WREADY", "WLAST", "BVALID", "BREADY", "BRESP"]
        pins |= {f"SAXIHP{port}{name}": f"m_axi{port}_{name.lower()}" for name in names}
    return pins


def header(made: Tables, path: Path, pins: Mapping[str, str] | None = None) -> str:
    """C++ of class ``Vcodenet``: what ``board.cpp`` expects of Verilator, on the engine.

    Parameters
    ----------
    pins:
        Of :func:`processor_pins`, for a netlist with a processor; the ports are the accelerator's then.
    """
    sets, gets = [], []
    widths = {name: width for name, width, _ in made.ports}
    if pins is not None:
        widths = {name: len(value) for name, (value, _) in Wrapper(Accelerator(AcceleratorConfig())).ports.items()}
    kinds = {name: next(kind for limit, kind in _WIDTHS if width <= limit) for name, width in widths.items()}
    members = [f"    {kind} {name} = 0;" for name, kind in kinds.items()]
    for name, width, is_input in made.ports:
        outside = name if pins is None else pins.get(name, "0" if is_input else "")
        skip = f"        bit += {width};"
        sets.append(f"        set(bit, {outside}, {width});" if is_input else skip)
        gets.append(skip if is_input or not outside else f"        {outside} = {kinds[outside]}(get(bit, {width}));")
    lines = [
        "#pragma once",
        f'#include "{ENGINE}"',
        "class VerilatedContext;",
        "class Vcodenet : public Netlist {",
        "  public:",
        *members,
        f'    explicit Vcodenet(VerilatedContext*) : Netlist("{path}") {{ last() = this; }}',
        "    static Vcodenet*& last() { static Vcodenet* top = nullptr; return top; }",
        "    void final() {}",
        "    void eval() {",
        "        if (aclk) return tick();  // Inputs stay what they were while the clock was low.",
        "        size_t bit = 0;",
        *sets,
        "        settle();",
        "        bit = 0;",
        *gets,
        "    }",
        "};",
        'extern "C" inline __attribute__((used)) int netlist_invert(uint32_t lut, uint64_t mask) {',
        "    return Vcodenet::last() && Vcodenet::last()->invert(lut, mask);",
        "}",
    ]
    return "\n".join(lines) + "\n"
