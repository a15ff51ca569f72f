# SPDX-License-Identifier: Apache-2.0
"""The accelerator as Verilog with AXI port names that FPGA tools recognize.

``python -m hw.verilog [--small | --outputs N] [-o build/codenet.v]``
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth import C, ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.back import verilog
from amaranth.hdl import Value
from amaranth.hdl._ir import PortDirection as Direction  # without directions, unused inputs would become outputs
from amaranth.lib import wiring

from codenet import command, files
from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from hw.axi import AxiLite

NAME = "codenet"

READ_CONSTANTS = {
    "arid": (0, 1),
    "arsize": (3, 3),
    "arburst": (1, 2),
    "arlock": (0, 2),
    "arcache": (3, 4),
    "arprot": (0, 3),
}
"""Fields (value, width) that every read has: 8-byte beats, INCR, normal, bufferable and modifiable, one ID."""

WRITE_CONSTANTS = {
    "awid": (0, 1),
    "awsize": (3, 3),
    "awburst": (1, 2),
    "awlock": (0, 2),
    "awcache": (3, 4),
    "awprot": (0, 3),
    "wid": (0, 1),
}

UNUSED = {"s_axi": {"awprot": 3, "arprot": 3}, "read": {"rid": 1}, "write": {"bid": 1}}
"""Inputs that the standard has and the accelerator ignores."""


class Wrapper(Elaboratable):
    """An :class:`hw.accelerator.Accelerator` with flat ports: ``aclk``, ``aresetn`` (synchronous, active low), ``irq``,
    ``step_end``, ``s_axi_*`` (AXI4-Lite slave), ``m_axi0_*`` (AXI3 or AXI4 master), ``m_axi1_*`` (the same, read only).

    Attributes
    ----------
    ports:
        Name to (value, direction), for :func:`amaranth.back.verilog.convert`.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.clock, self.reset_n = Signal(name="aclk"), Signal(name="aresetn")
        self.ports: dict[str, tuple[Value, Direction]] = {
            "aclk": (self.clock, Direction.Input),
            "aresetn": (self.reset_n, Direction.Input),
            "irq": (self.accelerator.interrupt, Direction.Output),
            "step_end": (self.accelerator.step_end, Direction.Output),
        }
        self._constants: list[tuple[Signal, int]] = []
        top = self.accelerator
        self._add("s_axi", top.registers, AxiLite().flip(), {}, UNUSED["s_axi"])
        self._add("m_axi0", top.port0_read, top.port0_read.signature, READ_CONSTANTS, UNUSED["read"])
        self._add("m_axi0", top.port0_write, top.port0_write.signature, WRITE_CONSTANTS, UNUSED["write"])
        self._add("m_axi1", top.port1_read, top.port1_read.signature, READ_CONSTANTS, UNUSED["read"])

    def _add(
        self,
        prefix: str,
        interface: Any,
        signature: wiring.Signature,
        constants: Mapping[str, tuple[int, int]],
        unused: Mapping[str, int],
    ) -> None:
        for path, member, value in signature.flatten(interface):
            direction = Direction.Output if member.flow.name == "Out" else Direction.Input
            self.ports[f"{prefix}_{path[0].replace('_', '')}"] = (value, direction)
        for name, (constant, width) in constants.items():
            signal = Signal(width, name=f"{prefix}_{name}")
            self._constants.append((signal, constant))
            self.ports[signal.name] = (signal, Direction.Output)
        for name, width in unused.items():
            signal = Signal(width, name=f"{prefix}_{name}")
            self.ports[signal.name] = (signal, Direction.Input)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # Local, so that the wrapper can be part of a design with its own clock; the accelerator spreads the reset
        # itself.
        m.domains += ClockDomain("sync", local=True, reset_less=True)
        m.submodules.accelerator = self.accelerator
        m.d.comb += [ClockSignal().eq(self.clock), self.accelerator.reset.eq(~self.reset_n)]
        m.d.comb += [signal.eq(C(constant, len(signal))) for signal, constant in self._constants]
        return m


def generate(config: AcceleratorConfig) -> str:
    """Verilog of the accelerator, module ``codenet``."""
    return convert(Wrapper(Accelerator(config)))


def convert(wrapper: Wrapper) -> str:
    """Verilog of a wrapper."""
    text: str = verilog.convert(wrapper, name=NAME, ports=wrapper.ports, emit_src=False, strip_internal_attrs=True)
    return compact_memories(text)


_MEMORY = re.compile(r"  initial begin\n    (\S+ ?)\[0\] = (\d+'[dh][0-9a-f]+);\n((?:    \1\[\d+\] = \2;\n)+)  end\n")
"""A memory whose words all begin with the same value, word by word."""


def compact_memories(text: str) -> str:
    """Initialize memories by loops; a line for each word is three quarters of the text, and of what simulators
    compile.
    """

    def loop(match: re.Match[str]) -> str:
        memory, value, others = match.groups()
        index = f"word_{match.start()}"
        return (
            f"  integer {index};\n  initial begin\n    for ({index} = 0; {index} < {others.count(chr(10)) + 1}; "
            f"{index} = {index} + 1)\n      {memory}[{index}] = {value};\n  end\n"
        )

    return _MEMORY.sub(loop, text)


def _run(options: argparse.Namespace) -> None:
    config = AcceleratorConfig.small() if options.small else AcceleratorConfig()
    if options.outputs is not None:
        config = dataclasses.replace(config, outputs=options.outputs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    files.write(options.output, generate(config))
    print(f"{options.output}: {config}")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = command.Parser(prog="python -m hw.verilog", description="Write the accelerator as Verilog.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="the small array that tests use")
    size.add_argument("--outputs", type=int, help="output channels of the pointwise array (default 32)")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/codenet.v"))
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
