# SPDX-License-Identifier: Apache-2.0
"""Reference pages made from the definitions that hardware and software share:
``python -m codenet.cli.reference FOLDER``.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from types import ModuleType

from codenet import files
from codenet.isa import DESCRIPTOR_BYTES, FIELDS, DepthwiseOp, ErrorCause, Section
from codenet.isa import descriptor as isa
from codenet.registers import ADDRESS_BITS, REGISTERS, ProfileCounter

_SOURCE = "<!-- Made by `make docs` from sw/codenet/{}; change that file. -->"


def registers_page() -> str:
    """docs/registers.md: the AXI-Lite register map."""
    access = {
        "ro": "read only",
        "rw": "read and write",
        "wo": "write only, reads as 0",
        "w1c": "writing a 1 clears the bit",
    }
    lines = [
        "# Registers",
        _SOURCE.format("registers.py"),
        "",
        f"32-bit registers on AXI4-Lite, at byte offsets from the accelerator's base; the block is {1 << ADDRESS_BITS} "
        f"bytes long. How the driver uses them: [architecture](architecture.md).",
        "",
        *_table(
            ("offset", "name", "access", "meaning"),
            ((f"`0x{r.offset:02x}`", f"`{r.name}`", r.access, r.description) for r in REGISTERS),
        ),
        "",
        "Access: " + "; ".join(f"`{key}` {text}" for key, text in access.items()) + ".",
    ]
    for register in REGISTERS:
        if register.fields:
            lines += ["", f"## {register.name}", ""]
            lines += _table(
                ("bits", "field", "meaning"),
                ((_bits(f.shift, f.width), f"`{f.name}`", f.description) for f in register.fields),
            )
    lines += ["", "## Error causes", "", "`STATUS.cause`.", "", *_enumeration(ErrorCause)]
    lines += [
        "",
        "## Profile",
        "",
        "Words of a step, read through `PROFILE_INDEX` and `PROFILE_DATA`: word `8 * step + counter`. The first six "
        "sum to the cycles from the end of the step before to the end of this one.",
        "",
        *_enumeration(ProfileCounter),
    ]
    return "\n".join(lines) + "\n"


def isa_page() -> str:
    """docs/isa.md: descriptors, parameter blocks, peak records."""
    text = _markdown(inspect.getdoc(isa) or "")
    lines = [
        "# Steps",
        _SOURCE.format("isa/descriptor.py"),
        "",
        text,
        "",
        "Descriptor",
        "----------",
        f"{DESCRIPTOR_BYTES} bytes, little-endian 32-bit words; all other bits are 0. This is version "
        f"{isa.ISA_VERSION}.",
        "",
        *_table(
            ("word", "bits", "field"),
            ((str(f.word), _bits(f.shift, f.width), f"`{f.name}`" + (" (signed)" if f.signed else "")) for f in FIELDS),
        ),
        "",
        f"`depthwise_op`: {_values(DepthwiseOp)}. Sections of the parameter block: {_values(Section)}.",
        "",
        _markdown(_docstrings(isa)["FIELDS"]),
        "",
        "Peak record",
        "-----------",
        _markdown(_docstrings(isa)["PEAK_BYTES"]),
    ]
    return "\n".join(lines) + "\n"


PAGES = {"registers.md": registers_page, "isa.md": isa_page}


def write(folder: Path) -> None:
    """Write every page into ``folder``."""
    for name, page in PAGES.items():
        files.write(folder / name, page())


def _bits(shift: int, width: int) -> str:
    return str(shift) if width == 1 else f"{shift + width - 1}..{shift}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in cells]


def _values(kind: type[IntEnum]) -> str:
    return ", ".join(f"{member.value} {member.name}" for member in kind)


def _enumeration(kind: type[IntEnum]) -> list[str]:
    texts = _docstrings(kind)
    return _table(
        ("value", "name", "meaning"), ((str(m.value), f"`{m.name}`", _markdown(texts.get(m.name, ""))) for m in kind)
    )


def _docstrings(thing: ModuleType | type) -> dict[str, str]:
    """Strings that follow assignments in the source of a module or class, by the name assigned to."""
    body = ast.parse(inspect.getsource(thing)).body
    if isinstance(body[0], ast.ClassDef):
        body = body[0].body
    found: dict[str, str] = {}
    for node, following in zip(body, body[1:], strict=False):
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name):
                found[target.id] = inspect.cleandoc(str(following.value.value))
    return found


def _markdown(text: str) -> str:
    """Docstring markup as Markdown: roles and double quotes become code, indented blocks keep their indentation."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    return re.sub(r"^::\n", "", text, flags=re.MULTILINE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write docs/registers.md and docs/isa.md.")
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
