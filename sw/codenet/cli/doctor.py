# SPDX-License-Identifier: Apache-2.0
"""``codenet doctor``: opens a device, checks it, and says in words what was found."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from codenet import files
from codenet.command import SUCCESS
from codenet.config import AcceleratorConfig
from codenet.devices import memory, open_device, selftest
from codenet.devices.selftest import Check
from codenet.errors import DeviceError, FormatError
from codenet.program import Program


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], program: Path) -> None:
    """Add the command; ``program`` is what a device has to fit if none is given, as long as there is such a file."""
    parser = commands.add_parser("doctor", help="check a device, and say what is wrong with it")
    parser.add_argument("--device", default="auto", help="device to check (default: auto)")
    parser.add_argument("--program", type=Path, help=f"program (.cdn) that it shall run (default: {program.name})")
    parser.add_argument("--memory", action="store_true", help="also measure its memory, beside what predictions assume")
    parser.add_argument(
        "--timing", type=Path, metavar="FILE", help="with --memory: write it as a file for codenet plan --timing"
    )
    parser.set_defaults(run=_run, default_program=program)


def examine(name: str, program: Program | None = None) -> Iterator[Check]:
    """Open device ``name`` and check it; the first check is whether it opens.

    ``program``: what the device shall run.
    """
    config = AcceleratorConfig() if program is None else program.config
    try:
        device = open_device(name, config, test=False)
    except DeviceError as error:
        yield Check("device", False, str(error))
        return
    with device:
        yield Check("device", True, f"{device.name} opens")
        yield from selftest.diagnose(device, program)


def report(name: str, program: Program | None = None) -> int:
    """Print what :func:`examine` finds; returns the exit status."""
    status = 0
    for check in examine(name, program):
        print(" ".join(str(check).split("\n")), flush=True)  # The clock takes a while.
        status |= check.passed is False
    print("something is wrong, see above" if status else "all is well")
    return int(status)


def _run(options: argparse.Namespace) -> int:
    path = options.program or (options.default_program if options.default_program.exists() else None)
    if options.timing is not None:
        if not options.memory:
            raise FormatError(f"--timing {options.timing}: expected --memory with it")
        files.check_output(options.timing)
    status = report(options.device, None if path is None else Program.load(path))
    if status == SUCCESS and options.memory:
        _memory(options.device, options.timing)
    return status


def _memory(name: str, timing: Path | None) -> None:
    with open_device(name, AcceleratorConfig(), test=False) as device:
        measurement = memory.measure(device)
    print(memory.table(measurement))
    if timing is not None:
        files.write_json(timing, measurement.timing())
