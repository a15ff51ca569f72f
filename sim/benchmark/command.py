# SPDX-License-Identifier: Apache-2.0
"""All performance figures: whole frames in RTL simulation, the cycle model beside them, charts, traces, the search, one
report.

``python -m sim.benchmark [--configs abcdefg] [--search ac] [--no-search] [--again]``, also ``make bench``. Frames run
one after the other in processes of their own, and are kept in ``build/bench`` until graph, photo, hardware or memory
timing change. Writes ``build/bench.json``, ``build/bench/*.svg``, ``build/bench/trace-*.json`` (docs/performance.md),
and the generated sections of ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from typing import Any

from codenet import command, files
from codenet.checkout import BUILD, ROOT
from codenet.command import FAILURE, SUCCESS
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError
from sim.benchmark import results_page
from sim.benchmark.frames import BENCH, Frame, key_of, load_frame
from sim.benchmark.plots import StepBar, causes, pareto_front, roofline, utilization
from sim.benchmark.report import configuration_report, report
from sim.benchmark.trace import trace
from sim.networks import CONFIGURATIONS, letters, load_kept
from sim.performance.roofline import roof
from sim.performance.search import Candidate, choose, search, search_report
from sim.performance.targets import TARGETS, resources_of
from sim.timing import DramTiming

REPORT = BUILD / "bench.json"
RESULTS = ROOT / "docs" / "results.md"
ONE_LAYER = BUILD / "one-layer.json"
TARGET = TARGETS["xc7z020"]


def measure(name: str, again: bool = False) -> Frame:
    """The frame of configuration ``name``, simulated if it is not there yet.

    Raises
    ------
    CodenetError
        The simulation failed; its messages are on standard error.
    """
    key = key_of(name)
    path = BENCH / f"frame-{name}.json"
    if not again and path.exists():
        frame = load_frame(path)
        if frame.key == key:
            return frame
    print(f"configuration {name}: simulating a frame", flush=True)
    command = [sys.executable, "-m", "sim.benchmark.frames", name, "-o", str(path)]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise CodenetError(f"configuration {name}: {' '.join(command[1:])} failed")
    return load_frame(path)


def draw(frame: Frame) -> None:
    """Charts and trace of a frame."""
    steps = [StepBar(step.name, step.causes, step.useful_macs, step.moved_bytes) for step in frame.steps]
    weights = "random weights" if frame.untrained else "trained"
    title = f"configuration {frame.name} ({weights}), RTL simulation, {frame.cycles} cycles"
    config = AcceleratorConfig.from_dict(frame.config)
    charts = {
        "utilization": utilization(title, steps, config.macs_per_cycle),
        "causes": causes(title, steps),
        "roofline": roofline(title, steps, roof(config, DramTiming())),
    }
    for kind, text in charts.items():
        (BENCH / f"{kind}-{frame.name}.svg").write_text(text)
    events = trace(title, [step.traced for step in frame.steps], frame.clock_hz)
    (BENCH / f"trace-{frame.name}.json").write_text(json.dumps(events))


def run_search(names: str) -> tuple[list[Candidate], Candidate | None]:
    """Search with the graphs of ``names``, and draw the Pareto fronts."""
    print(f"searching shapes for configurations {', '.join(names)}", flush=True)
    candidates = search({name: load_kept(name) for name in names}, TARGET)
    chosen = choose(candidates)
    for resource in ("bram36", "dsp", "lut"):
        title = f"{TARGET.chip.name}, configurations {', '.join(names)}: cycle model"
        (BENCH / f"pareto-{resource}.svg").write_text(pareto_front(title, candidates, resource, chosen))
    return candidates, chosen


def one_layer() -> Any:
    """The one-layer study, if it has been made (``python -m sim.one_layer``)."""
    return json.loads(ONE_LAYER.read_text()) if ONE_LAYER.exists() else None


def run(configs: str, searched: str, again: bool) -> dict[str, Any]:
    """Measure, draw, search; returns the report."""
    resources_of(AcceleratorConfig(), TARGET)  # An unusable build/synth.json is found now rather than after the frames.
    BENCH.mkdir(parents=True, exist_ok=True)
    measured = {}
    for name in configs:
        frame = measure(name, again)
        draw(frame)
        measured[name] = configuration_report(frame, TARGET)
    shapes = search_report(*run_search(searched), TARGET) if searched else None
    return report(measured, shapes, one_layer(), dataclasses.asdict(DramTiming()))


def _run(options: argparse.Namespace) -> int:
    found = run(options.configs, "" if options.no_search else options.search, options.again)
    files.write_json(REPORT, found)
    results_page.update(RESULTS, found)
    print(results_page.frames_table(found))
    print(f"written: {REPORT}, {BENCH}, {RESULTS}")
    return FAILURE if any(entry["mismatches"] for entry in found["configurations"].values()) else SUCCESS


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if an integer of a frame differs from the golden model."""
    parser = command.Parser(prog="python -m sim.benchmark", description="Measure frames and report.")
    add = parser.add_argument
    add("--configs", type=letters, default=CONFIGURATIONS, help=f"letters of {CONFIGURATIONS} (default: all)")
    add("--search", type=letters, default="ac", metavar="CONFIGS", help="networks of the search (default ac)")
    add("--no-search", action="store_true", help="leave the search out")
    add("--again", action="store_true", help="simulate frames even if nothing has changed")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
