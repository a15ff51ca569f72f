# SPDX-License-Identifier: Apache-2.0
"""Verilator's lint with all warnings on the generated Verilog: none but those of the list, each with its reason."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import pytest

from codenet.config import AcceleratorConfig
from hw import verilog
from sim.verilator.library import environment

ACCEPTED: dict[str, tuple[str, str]] = {
    "CASEINCOMPLETE": ("Case values incompletely covered", "what is assigned without a case is assigned before it"),
    "DECLFILENAME": ("Filename 'codenet' does not match MODULE name: 'codenet\\.", "all modules are in one file"),
    "PROCASSINIT": ("Procedural assignment to declaration with initial value", "registers begin as reset"),
    "UNUSEDSIGNAL": (
        "(Signal is not used|Signal is not driven, nor used|Bits of signal are not used): (?!'[ms]_axi)",
        "parts of structures that a component does not read, and Yosys' own names for others",
    ),
    "WIDTHEXPAND": (
        r"Operator \w+ expects \d+ bits on the [LR]HS, but",
        "operands are extended to the width of the result, which Amaranth computes so that nothing is lost",
    ),
    "WIDTHTRUNC": (
        r"(Logical operator LOGNOT expects 1 bit on the LHS|Operator ASSIGNW expects 16 bits on the Assign RHS, but "
        r"Assign RHS's SHIFTR generates 128 bits)",
        "! of a vector means that it is 0; one of the values of a peak's vector is shifted down and taken",
    ),
}  # fmt: skip
"""What a warning of a category has to say, and why it is no fault. UNUSEDSIGNAL of a port is none of them."""

UNUSED_PORTS = {
    *(f"s_axi_{name}" for name in verilog.UNUSED["s_axi"]),
    *(f"m_axi{port}_{name}" for port in (0, 1) for name in verilog.UNUSED["read"]),
    *(f"m_axi0_{name}" for name in verilog.UNUSED["write"]),
}


def lint(text: str, folder) -> list[tuple[str, str]]:
    """Category and text of every warning about a module ``codenet``."""
    (folder / "codenet.v").write_text(text)
    command = ["verilator", "--lint-only", "-Wall", "-Wno-fatal", "--top-module", "codenet", "codenet.v"]
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert "%Error" not in result.stderr, result.stderr[:2000]
    return re.findall(r"^%Warning-(\w+): codenet\.v:[\d:]+ (.*)$", result.stderr, re.MULTILINE)


def not_accepted(warnings: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], set[str]]:
    """Warnings that are not in the list, and ports of the module that it does not use."""
    others, ports = [], set()
    for category, text in warnings:
        port = re.fullmatch(r"Signal is not used: '([ms]_axi\w+)'", text)
        if category == "UNUSEDSIGNAL" and port:
            ports.add(port[1])
        elif category not in ACCEPTED or not re.match(ACCEPTED[category][0], text):
            others.append((category, text))
    return others, ports


@pytest.mark.parametrize(
    "config",
    [AcceleratorConfig.small(), pytest.param(AcceleratorConfig(), marks=pytest.mark.slow)],
    ids=["small", "default"],
)
def test_nothing_but_what_is_accepted(config, tmp_path):
    warnings = lint(verilog.generate(config), tmp_path)
    others, ports = not_accepted(warnings)
    assert others == [] and ports == UNUSED_PORTS
    assert {category for category, _ in warnings} == set(ACCEPTED), "the list has more than there is"


FAULTS = {
    "LATCH": "always_comb if (a) b = c;",
    "UNOPTFLAT": "wire [3:0] s; assign s = {s[2:0], a} ^ {s[0], s[3:1]}; always_comb b = s[3];",
    "MULTIDRIVEN": "always @(posedge a) b <= c; always @(posedge c) b <= a;",
    "BLKSEQ": "always @(posedge a) b = c;",
    "UNDRIVEN": "wire s; always_comb b = s;",
    "SELRANGE": "wire [3:0] s = {4{a}}; always_comb b = s[5];",
    "IMPLICIT": "assign s = a; always_comb b = s;",
    "PINMISSING": "inner i(.x(a)); always_comb b = c;",
    "WIDTHTRUNC": "wire [3:0] s = {4{a}}; always_comb b = s + 4'd1;",
    "UNUSEDSIGNAL": "always_comb b = c;",
}
"""Verilog of a module with ports ``a``, ``c`` and ``b``, and what it is to be warned of."""


@pytest.mark.parametrize("category", FAULTS)
def test_faults_are_noticed(category, tmp_path):
    ports = (
        "input s_axi_a, input a, input c, output reg b" if category == "UNUSEDSIGNAL" else "input a, c, output reg b"
    )
    inner = "module inner(input x, input y, output z); assign z = x & y; endmodule" if category == "PINMISSING" else ""
    warnings = lint(f"module codenet({ports});\n{FAULTS[category]}\nendmodule\n{inner}\n", tmp_path)
    others, unused = not_accepted(warnings)
    assert unused == {"s_axi_a"} if category == "UNUSEDSIGNAL" else category in Counter(name for name, _ in others)
