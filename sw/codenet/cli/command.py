# SPDX-License-Identifier: Apache-2.0
"""The ``codenet`` command.

Exit status: 0 success, 1 a device failed or differs from the golden model, 2 a bad argument or file, 130 interrupted.

Other packages add commands through the entry point group ``codenet.commands``: functions that take what
``ArgumentParser.add_subparsers`` returned, add a parser, and set its default ``run`` to a function from options to exit
status.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from codenet import __version__, command, files
from codenet.cli import detect, doctor, live, setup
from codenet.command import FAILURE
from codenet.config import AcceleratorConfig
from codenet.devices import open_device
from codenet.errors import CodenetError, FormatError
from codenet.graph import FORMAT, Graph, walk
from codenet.program import FILE_MAGIC, Program
from codenet.zoo import DEFAULT_PROGRAM, shipped_program

COMMANDS = "codenet.commands"
"""Entry point group of other packages' commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""

    def work() -> int:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
        return status

    return command.run("codenet", work)


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = command.Parser(prog="codenet", description="Object detection on a small FPGA.")
    parser.add_argument("--version", action="version", version=f"codenet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    detect.add_command(commands)
    live.add_command(commands)

    info = commands.add_parser("info", help="describe a program or a graph")
    info.add_argument("file", type=Path, metavar="FILE", help="program (.cdn) or graph (.cdg)")
    info.set_defaults(run=_info)

    compile_ = commands.add_parser("compile", help="compile a graph to a program")
    compile_.add_argument("graph", type=Path, metavar="GRAPH", help="graph (.cdg)")
    compile_.add_argument("-o", "--output", type=Path, required=True, metavar="PROGRAM", help="program (.cdn) to write")
    size = compile_.add_mutually_exclusive_group()
    size.add_argument("--outputs", type=int, metavar="N", help="output channels of the array")
    size.add_argument("--small", action="store_true", help="for the small accelerator of the tests")
    compile_.set_defaults(run=_compile)

    verify = commands.add_parser("verify", help="compare a device with the golden model, bit for bit")
    verify.add_argument("program", type=Path, metavar="PROGRAM", help="program (.cdn)")
    verify.add_argument("photo", metavar="PHOTO", help="image file")
    verify.add_argument("--device", default="auto", help="device to check (default: auto)")
    verify.add_argument("--graph", type=Path, help="the graph that was compiled: compares every tensor of every step")
    verify.set_defaults(run=_verify)

    benchmark = commands.add_parser("benchmark", help="time the host's part of a frame, and the accelerator's")
    benchmark.add_argument("photos", nargs="*", metavar="PHOTO", help="image file (default: frames of cameras)")
    benchmark.add_argument("--program", type=Path, help="compiled detector (default: the package's)")
    benchmark.add_argument("--device", default="auto", help="whose frame to measure; golden: none (default: auto)")
    benchmark.add_argument("--frames", type=int, default=30, metavar="N", help="repetitions (default: 30)")
    benchmark.add_argument(
        "--clock", type=float, default=150.0, metavar="MHZ", help="of an accelerator that isn't there (default: 150)"
    )
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    benchmark.set_defaults(run=_benchmark)
    doctor.add_command(commands, DEFAULT_PROGRAM)
    setup.add_command(commands, DEFAULT_PROGRAM)
    for point in sorted(metadata.entry_points(group=COMMANDS), key=lambda point: point.name):
        _add_command(commands, point)
    return parser


def _add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], point: metadata.EntryPoint) -> None:
    """Add another package's command; one that cannot be loaded here says so when it is used."""
    try:
        add = point.load()
    except ImportError as error:
        reason = (
            f"command {point.name!r} ({point.value}): cannot be loaded here ({error}); "
            f"it needs a checkout of the project"
        )

        def refuse(options: argparse.Namespace) -> int:
            raise CodenetError(reason)

        missing = commands.add_parser(point.name, help="(not available here)")
        missing.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        missing.set_defaults(run=refuse)
    else:
        add(commands)


def _info(options: argparse.Namespace) -> int:
    with options.file.open("rb") as file:
        start = file.read(len(FILE_MAGIC))
    if start == FILE_MAGIC:
        print(Program.load(options.file).info())
    elif start.startswith(b"PK"):  # A graph is a NumPy archive, a zip file.
        print(graph_table(Graph.load(options.file)))
    else:
        raise FormatError(f"{options.file}: expected a program (.cdn) or a graph (.cdg), found something else")
    return 0


def _compile(options: argparse.Namespace) -> int:
    from codenet.compiler import compile as compile_graph

    config = AcceleratorConfig.small() if options.small else AcceleratorConfig()
    if options.outputs is not None:
        config = AcceleratorConfig(outputs=options.outputs)
    files.check_output(options.output, [options.graph])
    program = compile_graph(Graph.load(options.graph), config)
    program.save(options.output)
    print(f"{options.output}: {len(program.descriptors)} steps, {options.output.stat().st_size} bytes")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from codenet.runtime.verify import verify

    graph = Graph.load(options.graph) if options.graph is not None else None
    result = verify(Program.load(options.program), options.photo, options.device, graph)
    for mismatch in result.comparison.mismatches:
        print(mismatch)
    print(result)
    return 0 if result.passed else FAILURE


def _benchmark(options: argparse.Namespace) -> int:
    from codenet.cli import benchmark as host_benchmark

    for name, value in (("--frames", options.frames), ("--clock", options.clock)):
        if not value > 0:
            raise FormatError(f"{name} {value}: expected more than 0")
    path = options.program or shipped_program()
    inputs = [path, *options.photos]
    if options.json is not None:
        files.check_output(options.json, inputs)
    program = Program.load(path)
    photos = [(Path(photo).name, photo) for photo in options.photos] or host_benchmark.cameras()
    with open_device(options.device, program.config) as device:
        result = host_benchmark.measure(program, device, photos, frames=options.frames, clock_hz=1e6 * options.clock)
    print(result)
    if options.json is not None:
        files.write_json(options.json, result.to_dict(), inputs=inputs)
    return 0


def graph_table(graph: Graph) -> str:
    """Operations of a graph with their inputs, shapes and multiply-accumulates, as text."""
    macs = graph.macs()
    rows = [("operation", "name", "shape", "dtype", "MMAC", "inputs")]
    for operation, tensor in walk(graph):
        count = f"{macs[operation.name] / 1e6:.2f}" if operation.name in macs else ""
        shape = "x".join(map(str, tensor.shape))
        rows.append((operation.kind, operation.name, shape, tensor.dtype, count, " ".join(operation.inputs)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    outputs = ", ".join(f"{role} = {name}" for role, name in graph.outputs.items())
    return "\n".join(
        [
            f"{graph.name} ({FORMAT}): {len(rows) - 1} operations, {sum(macs.values()) / 1e6:.1f} MMAC",
            f"outputs: {outputs}",
            f"classes: {', '.join(graph.classes)}",
            *(f"{key}: {value}" for key, value in graph.metadata.items()),
            "",
            *lines,
        ]
    )
