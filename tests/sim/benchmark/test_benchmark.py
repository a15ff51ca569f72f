# SPDX-License-Identifier: Apache-2.0
"""The report of ``make bench``, without its hour of simulation: frames from a small accelerator, or with counters made
up by hand.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError, FormatError
from codenet.golden import interpreter
from codenet.registers import ProfileCounter
from codenet.vision.image import load, resize, to_activation
from sim.benchmark import command as benchmark
from sim.benchmark import frames, results_page
from sim.benchmark.frames import Frame, FrameStep, combine, load_frame
from sim.benchmark.report import configuration_report, report
from sim.cycles import dilation_maps, predict
from sim.frame import run_frame
from sim.performance.targets import TARGETS
from sim.verilator.board import RtlDevice
from tests import networks

KEYS = {
    "weights": str,
    "accelerator": dict,
    "tensors": int,
    "mismatches": int,
    "cycles": int,
    "fps_at_150mhz": float,
    "useful_macs": int,
    "array_macs": int,
    "utilization": float,
    "computed_macs": int,
    "computed_utilization": float,
    "dram_read_bytes": int,
    "dram_write_bytes": int,
    "active_cycles": int,
    "stall_cycles": dict,
    "resources": dict,
    "model": dict,
}
PAGE = "\n".join(
    ["# Results", "by hand"]
    + [
        f"<!-- bench: {name} -->\nold\n<!-- end of bench: {name} -->"
        for name in ("frames", "cycles", "model", "search")
    ]
    + ["by hand, too", ""]
)


def made_up(name: str = "a", **changes) -> Frame:
    """Two steps: 100 and 300 cycles, the model 2 % off in the second."""
    steps = (
        FrameStep("first", (60, 10, 20, 5, 0, 5, 90, 30), 100, 1000, 70, 20),
        FrameStep("second", (250, 1, 0, 0, 40, 9, 100, 50), 306, 90_000, 100, 0),
    )
    values = dict(
        key="k",
        name=name,
        untrained=True,
        config=AcceleratorConfig().to_dict(),
        clock_hz=150e6,
        tensors=3,
        mismatches=0,
        detections=1,
        graph_macs=91_000,
        steps=steps,
    )
    return Frame(**(values | changes))


def test_figures_of_a_frame():
    entry = configuration_report(made_up(), TARGETS["xc7z020"])
    assert {key: type(entry[key]) for key in entry} == KEYS
    assert entry["cycles"] == 400 == entry["active_cycles"] + sum(entry["stall_cycles"].values())
    assert entry["stall_cycles"] == dict(wait_parameters=11, wait_input=20, wait_window=5, wait_output=40, drain=14)
    assert entry["fps_at_150mhz"] == 375_000
    assert entry["array_macs"] == 400 * 16 * 32
    assert entry["utilization"] == round(91_000 / 204_800, 4)
    assert entry["computed_macs"] == sum(step.useful_macs for step in made_up().steps)
    assert entry["computed_utilization"] == round(entry["computed_macs"] / 204_800, 4)
    assert (entry["dram_read_bytes"], entry["dram_write_bytes"]) == (8 * 190, 8 * 80)
    assert set(entry["resources"]) == {"lut", "ff", "dsp", "bram36", "source"}
    assert entry["model"] == dict(cycles=406, frame_error=0.015, worst_step_error=0.02, worst_step="second")


def test_frame_file(tmp_path):
    frame = made_up()
    frame.save(tmp_path / "frame.json")
    assert load_frame(tmp_path / "frame.json") == frame
    for text in ("", "[]", '{"steps": []}', json.dumps(dataclasses.asdict(frame) | {"more": 1})):
        (tmp_path / "frame.json").write_text(text)
        with pytest.raises(FormatError, match=r"frame\.json: expected a measured frame"):
            load_frame(tmp_path / "frame.json")


def test_page_keeps_what_is_written_by_hand(tmp_path):
    page = tmp_path / "results.md"
    page.write_text(PAGE)
    found = report({"a": configuration_report(made_up(), TARGETS["xc7z020"])}, None, None, {})
    results_page.update(page, found)
    text = page.read_text()
    assert text.startswith("# Results\nby hand\n") and text.endswith("by hand, too\n")
    # No search: its section stays. Nothing else is old.
    assert text.count("old") == 1
    assert "| a | untrained | 3 | 0 | 400 | 375000.0 | 44.4 % |" in text
    assert "310 (77.5 %)" in text and "+1.50 % | +2.00 % | second" in text
    results_page.update(page, found)
    assert page.read_text() == text


@pytest.mark.parametrize("damage", ["<!-- bench: frames -->", "<!-- end of bench: model -->"])
def test_page_without_a_marker(tmp_path, damage):
    page = tmp_path / "results.md"
    page.write_text(PAGE.replace(damage, ""))
    with pytest.raises(FormatError, match="found 0 pairs of markers"):
        results_page.update(page, report({"a": configuration_report(made_up(), TARGETS["xc7z020"])}, None, None, {}))
    assert page.read_text() == PAGE.replace(damage, "")


def test_page_of_the_project_has_the_markers():
    text = benchmark.RESULTS.read_text()
    for section in ("frames", "cycles", "model", "search"):
        assert results_page.replace_section(text, section, "body") != text


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """The command in a folder of its own; frames are made up, one each, and counted."""
    simulated = []

    def simulate(command, cwd, check):
        name, path = command[3], command[5]
        simulated.append(name)
        made_up(name, key=f"key-{name}").save(benchmark.BENCH / f"frame-{name}.json")
        assert path == str(benchmark.BENCH / f"frame-{name}.json")
        return type("Done", (), {"returncode": 0})()

    monkeypatch.setattr(benchmark, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(benchmark, "REPORT", tmp_path / "bench.json")
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results.md")
    monkeypatch.setattr(benchmark, "ONE_LAYER", tmp_path / "one-layer.json")
    monkeypatch.setattr(benchmark, "key_of", lambda name: f"key-{name}")
    monkeypatch.setattr(benchmark.subprocess, "run", simulate)
    (tmp_path / "results.md").write_text(PAGE)
    return tmp_path, simulated


def test_command(bench, capsys):
    folder, simulated = bench
    (folder / "one-layer.json").write_text('{"rows": [1, 2]}')
    assert benchmark.main(["--configs", "ab", "--no-search"]) == 0
    assert simulated == ["a", "b"]
    found = json.loads((folder / "bench.json").read_text())
    assert list(found["configurations"]) == ["a", "b"]
    assert found["one_layer"] == {"rows": [1, 2]} and found["search"] is None
    assert found["dram_timing"]["latency"] == 60
    written = {path.name for path in (folder / "bench").iterdir()}
    assert {f"{kind}-a.svg" for kind in ("utilization", "causes", "roofline")} | {"trace-b.json"} <= written
    trace = json.loads((folder / "bench" / "trace-a.json").read_text())
    assert trace["otherData"]["cycles"] == 400
    # Nothing has changed: nothing is simulated; unless it is asked for.
    assert benchmark.main(["--configs", "ab", "--no-search"]) == 0 and simulated == ["a", "b"]
    assert benchmark.main(["--configs", "b", "--no-search", "--again"]) == 0 and simulated == ["a", "b", "b"]
    assert "| b | untrained |" in capsys.readouterr().out


def test_unusable_synthesis_is_found_before_the_frames(bench, monkeypatch, capsys):
    def unusable(config, target):
        raise FormatError("build/synth.json: expected config, lut, ff, dsp and bram36")

    monkeypatch.setattr(benchmark, "resources_of", unusable)
    assert benchmark.main(["--configs", "ab", "--no-search"]) == 2
    assert "synth.json" in capsys.readouterr().err and bench[1] == []


def test_command_with_a_search(bench, monkeypatch):
    folder, _ = bench
    monkeypatch.setattr(benchmark, "load_kept", lambda name: networks.network(32))
    monkeypatch.setattr(benchmark, "search", lambda graphs, target: benchmark_search(graphs, target))
    assert benchmark.main(["--configs", "a", "--search", "c"]) == 0
    shapes = json.loads((folder / "bench.json").read_text())["search"]["shapes"]
    assert {shape["accelerator"]["outputs"] for shape in shapes} == {8, 16}
    assert all(set(shape["fps"]) == {"c"} for shape in shapes)
    assert (folder / "bench" / "pareto-bram36.svg").exists()
    assert "**chosen**" in (folder / "results.md").read_text()


def benchmark_search(graphs, target):
    from sim.performance.search import search

    return search(graphs, target, {"outputs": (8, 16)})


def test_wrong_values_fail_the_command(bench, monkeypatch):
    _, _ = bench
    monkeypatch.setattr(benchmark, "measure", lambda name, again: made_up(name, mismatches=2))
    assert benchmark.main(["--configs", "a", "--no-search"]) == 1


def test_failed_simulation(bench, monkeypatch, capsys):
    failed = type("Done", (), {"returncode": 2})()
    monkeypatch.setattr(benchmark.subprocess, "run", lambda *_, **__: failed)
    assert benchmark.main(["--configs", "a"]) == 2
    assert "error: configuration a: -m sim.benchmark.frames a" in capsys.readouterr().err
    with pytest.raises(CodenetError):
        benchmark.measure("a")


@pytest.mark.parametrize("arguments", [["--configs", "h"], ["--configs", ""], ["--search", "x"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(arguments)
    assert "expected letters of abcdefg" in capsys.readouterr().err


def test_key_depends_on_the_network(monkeypatch):
    graphs = {"a": networks.network(32), "b": networks.network(32, seed=1), "c": networks.network(32)}
    monkeypatch.setattr(frames, "load_kept", graphs.__getitem__)
    keys = {name: frames.key_of(name) for name in graphs}
    assert keys["a"] == keys["c"] != keys["b"]
    assert frames.key_of("a", AcceleratorConfig.small()) != keys["a"]


def test_measured_steps(tmp_path):
    """A real frame of the small accelerator: counters, prediction and traffic come together step by step."""
    graph, config = networks.network(32), AcceleratorConfig.small()
    program = compiler.compile(graph, config)
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    activation = to_activation(resize(load(tmp_path / "photo.png"), 32, 32))
    prediction = predict(program, dilations=dilation_maps(program, interpreter.run(graph, activation)))
    with RtlDevice(config) as device:
        result = run_frame(device, program, graph, tmp_path / "photo.png", name="x", threshold=0.3)
    steps = combine(graph, program, result.profile, prediction)
    frame = made_up(steps=steps, graph_macs=program.graph_macs, config=config.to_dict())
    assert frame.cycles == result.cycles and frame.predicted == prediction.cycles
    read = sum(step.activation_beats + step.parameter_beats for step in steps)
    assert read == frame.beats(ProfileCounter.READ_BEATS)
    assert sum(step.moved_bytes for step in steps) == 8 * (read + frame.beats(ProfileCounter.WRITE_BEATS))
    assert abs(configuration_report(frame, TARGETS["xc7z020"])["model"]["frame_error"]) < 0.02
