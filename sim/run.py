# SPDX-License-Identifier: Apache-2.0
"""A photo through the accelerator's RTL, end to end: every tensor compared with the golden model, boxes drawn.

``python -m sim.run --config a [--photo PHOTO] [--graph FILE] [--small | --outputs N] [--via board|cocotb]``, also
``make sim``. The driver is the one that runs on boards. The program ends with status 1 if any integer differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import sys
import time
from pathlib import Path

from codenet import command, compiler
from codenet.checkout import BUILD, ROOT
from codenet.command import FAILURE, SUCCESS
from codenet.config import AcceleratorConfig
from codenet.graph import Graph
from codenet.program import Program
from codenet.runtime.profile import profile_table
from codenet.vision.draw import draw
from sim.frame import Result, run_frame
from sim.networks import CONFIGURATIONS, PHOTO, load_graph
from sim.verilator.board import RtlDevice

LISTED = 20
"""Mismatches that are listed, at most."""


def run_board(graph: Graph, program: Program, photo: Path, name: str, threshold: float) -> Result:
    """Simulate with the shared library (:mod:`sim.verilator.board`)."""
    begin = time.monotonic()
    with RtlDevice(program.config) as device:
        print(f"simulated board ready after {time.monotonic() - begin:.1f} s", flush=True)
        return run_frame(device, program, graph, photo, name=name, threshold=threshold)


def run_cocotb(graph: Graph, program: Program, photo: Path, name: str, threshold: float) -> Result:
    """Simulate under cocotb, in a process of its own (:mod:`sim.testbench.cocotb_device`)."""
    from hw.verilog import NAME
    from sim.testbench import cocotb_device, cocotb_frame, runner

    folder = BUILD / f"cocotb-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    graph.save(folder / "graph.cdg")
    program.save(folder / "program.cdn")
    top = cocotb_device.build(program.config)
    print(f"simulating under cocotb; its log is in {top}", flush=True)
    runner.simulate(
        top, NAME, cocotb_frame.__file__, workspace=str(folder), photo=str(photo), name=name, threshold=threshold
    )
    result: Result = pickle.loads((folder / "result").read_bytes())
    return result


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = command.Parser(prog="python -m sim.run", description="Run a photo through the accelerator's RTL.")
    parser.add_argument(
        "--config", choices=CONFIGURATIONS, default="a", help="configuration of the network (default a)"
    )
    parser.add_argument("--graph", type=Path, help="graph file instead of a configuration's own")
    parser.add_argument("--photo", type=Path, default=PHOTO, help=f"photo (default {PHOTO.relative_to(ROOT)})")
    parser.add_argument("--threshold", type=float, default=0.3, help="smallest score of a detection (default 0.3)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="the small array that tests use")
    size.add_argument("--outputs", type=int, help="output channels of the array (default 32)")
    parser.add_argument(
        "--via", choices=("board", "cocotb"), default="board", help="simulator: shared library or cocotb"
    )
    parser.add_argument("--profile", action="store_true", help="list where each step's cycles went")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> Result:
    """Compile, simulate, report; returns what the frame gave."""
    name = options.graph.stem if options.graph else options.config
    graph = Graph.load(options.graph) if options.graph else load_graph(options.config, options.photo)
    config = AcceleratorConfig.small() if options.small else AcceleratorConfig()
    if options.outputs is not None:
        config = dataclasses.replace(config, outputs=options.outputs)
    program = compiler.compile(graph, config)
    weights = "random weights (untrained)" if graph.metadata.get("untrained") else "trained"
    print(f"{graph.name}: {weights}, {len(program.descriptors)} steps, photo {options.photo}", flush=True)
    simulator = run_cocotb if options.via == "cocotb" else run_board
    result = simulator(graph, program, options.photo, name, options.threshold)
    if options.profile:
        print(profile_table(result.profile))
    BUILD.mkdir(exist_ok=True)
    target = BUILD / f"sim-{name}.jpg"
    draw(options.photo, result.detections).save(target, quality=90)
    for detection in result.detections:
        print(f"{detection.label} {detection.score:.2f} {[round(edge) for edge in detection.box]}")
    print(f"boxes drawn in {target}")
    for mismatch in result.mismatches[:LISTED]:
        print(f"mismatch: {mismatch}", file=sys.stderr)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if an integer differs."""

    def work() -> int:
        result = run(parse(arguments))
        sys.stderr.flush()
        print(result, flush=True)
        return FAILURE if result.mismatches else SUCCESS

    return command.run("sim.run", work)


if __name__ == "__main__":
    sys.exit(main())
