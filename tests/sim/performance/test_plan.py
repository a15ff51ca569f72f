# SPDX-License-Identifier: Apache-2.0
"""``codenet plan``, roofline and resources."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from codenet import compiler
from codenet.checkout import ROOT
from codenet.cli import command as cli
from codenet.config import AcceleratorConfig
from codenet.errors import ConfigError, FormatError
from hw.chips import Usage
from hw.lib import BlockMemory
from hw.lib.block_memory import LUT_RAM_WORDS
from hw.lib.cells import Series7
from hw.synthesis.components import to_rtlil
from sim.cycles.dilation import dilation_sources
from sim.performance import plan
from sim.performance import targets as resources
from sim.performance.plan import load_program
from sim.performance.roofline import Roof, points, roof
from sim.performance.targets import TARGETS, block_memory, block_ram, estimate, synthesized, total
from sim.timing import DramTiming
from tests import networks


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A graph, its program for the small accelerator, and a text."""
    folder = tmp_path_factory.mktemp("plan")
    graph = networks.network(32)
    graph.save(folder / "graph.cdg")
    compiler.compile(graph, AcceleratorConfig.small()).save(folder / "small.cdn")
    (folder / "notes.txt").write_text("neither graph nor program")
    return folder


def run(capsys, *arguments):
    status = cli.main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_plan_of_a_graph(files, capsys):
    status, out, err = run(capsys, files / "graph.cdg")
    assert (status, err) == (0, "")
    program = load_program(files / "graph.cdg", None)
    expected = plan.plan(program, TARGETS["xc7z020"])
    assert all(name in out for name in program.step_names)
    assert f"{expected.fps:.1f} frames a second: {expected.prediction.cycles} cycles" in out
    assert "16 x 32 multipliers at 150 MHz" in out and "all dilations from 0 to 7 equally frequent" in out
    bounds = [line.split()[5] for line in out.splitlines() if line[:6].strip().isdigit()]
    assert len(bounds) == len(program.descriptors) and set(bounds) <= {"compute", "memory"}


def test_plan_of_a_program(files, capsys):
    status, out, _ = run(capsys, files / "small.cdn", "--target", "zu3eg")
    assert status == 0
    assert "16 x 8 multipliers at 250 MHz" in out


def test_configuration_by_name(capsys, monkeypatch):
    monkeypatch.setattr(plan, "load_kept", lambda name: networks.network(32, name=f"named-{name}"))
    status, out, _ = run(capsys, "--config", "c", "--outputs", "16")
    assert status == 0 and "named-c on xc7z020, 16 x 16 multipliers" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["notes.txt"], "notes.txt: expected a program (.cdn) or a graph (.cdg)"),
        (["missing.cdg"], "missing.cdg: No such file"),
        (["small.cdn", "--outputs", "24"], "outputs = 24: expected 8, for which"),
        (["graph.cdg", "--outputs", "12"], "outputs = 12: expected a multiple of 8"),
        (["graph.cdg", "--clock", "0"], "clock = 0.0 MHz: expected more than 0"),
        (["graph.cdg", "--clock", "nan"], "clock = nan MHz: expected more than 0"),
        (["graph.cdg", "--clock", "9000"], "bytes_per_cycle = 0: expected at least 1"),
    ],
)
def test_bad_input(files, capsys, arguments, text):
    status, out, err = run(capsys, files / arguments[0], *arguments[1:])
    assert (status, out) == (2, "")
    assert text in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["x.cdg", "--config", "a"], ["x.cdg", "--target", "vu9p"], ["--config", "z"]]
)
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("codenet plan") and ": error: " in error and len(error.splitlines()) == 1


def test_command_that_cannot_be_loaded(capsys, monkeypatch):
    point = cli.metadata.EntryPoint("paint", "no_such_package:add", cli.COMMANDS)
    monkeypatch.setattr(cli.metadata, "entry_points", lambda group: [point] if group == cli.COMMANDS else [])
    assert cli.main(["paint", "x.cdg", "--colour", "red"]) == 2
    assert "command 'paint'" in (err := capsys.readouterr().err) and "checkout" in err
    # The others still work.
    assert cli._parser().parse_args(["info", "x"]).file.name == "x"


def test_memory_follows_the_clock():
    target = TARGETS["xc7z020"]
    assert target.timing() == DramTiming()
    assert TARGETS["zu3eg"].timing() == DramTiming()
    half = target.timing(75)
    assert (half.latency, half.bytes_per_cycle) == (30, 20)
    assert (half.refresh_interval, half.refresh_cycles) == (585, 20)
    # 1.5 GB/s at 200 MHz are 7.5 bytes a cycle.
    assert target.timing(200).bytes_per_cycle == 7


def test_ceiling():
    limits = Roof(macs_per_cycle=512, bytes_per_cycle=8.0)
    assert limits.ridge == 64
    assert [limits.ceiling(x) for x in (1.0, 64.0, 1000.0)] == [8, 512, 512]


def test_no_step_beats_its_roof(files):
    result = plan.plan(load_program(files / "graph.cdg", None), TARGETS["xc7z020"])
    limits = roof(result.prediction.program.config, result.timing)
    found = points(result.prediction.steps, limits)
    assert len(found) == len(result.prediction.steps)
    for point in found:
        assert point.bound == (
            "memory" if point.intensity * limits.bytes_per_cycle < limits.macs_per_cycle else "compute"
        )
    # Parameters are read before the step, so only a step's own traffic counts against its own time.
    own = [
        (point.step.useful_macs, point.step.read_bytes + point.step.write_bytes, point.step.cycles) for point in found
    ]
    macs, moved, cycles = (sum(column) for column in zip(*own, strict=True))
    assert macs / cycles <= limits.ceiling(macs / moved)


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [(128, 1024, 4), (128, 512, 2), (1600, 512, 25), (64, 65, 1), (3, 600, 1), (64, 64, 0)],
)
def test_block_memories_are_as_they_are_made(width, depth, expected):
    """A RAMB36 for each cell of the chip in the RTLIL."""
    text = to_rtlil(BlockMemory(width, depth), Series7())
    assert block_memory(width, depth) == expected == len(re.findall(r"^ *cell \\RAMB36E1 ", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [
        (64, 512, 1),  # UG473: 512 words of 72 bits
        (32, 512, 0.5),
        (64, 1024, 2),  # 36 + 28 bits
        (64, 2048, 4),  # 3 of 18 bits and one of 10
        (3, 4096, 0.5),
    ],
)
def test_block_ram_that_synthesis_takes(width, depth, expected):
    assert block_ram(width, depth) == expected
    if depth > 1024:
        assert block_memory(width, depth) == expected


def test_memories_in_luts():
    """Of up to 64 words; deeper ones are block RAM, one for 64 bits."""
    assert resources.LUT_RAM_WORDS == LUT_RAM_WORDS
    small, large = (resources.memories(25, words) for words in (LUT_RAM_WORDS, 2 * LUT_RAM_WORDS))
    assert small.bram36 == 0 and small.lut > 0
    assert (large.lut, large.bram36) == (0, 25)


def test_estimate_counts_slices():
    """176 slices serve 22 outputs, the others are in LUTs; 24 requantizers have one each."""
    small, large = (total(AcceleratorConfig(outputs=n, weight_depth=1024)) for n in (16, 32))
    assert (small.dsp, large.dsp) == (128 + 24, 176 + 24)
    assert large.lut - small.lut > 10 * resources.MULTIPLY_LUTS
    # Two RAMs an output for 1024 words of weights.
    assert large.bram36 - small.bram36 == 32


@pytest.mark.parametrize("size", ["window_depth", "weight_depth", "store_depth", "vector_depth", "outputs"])
def test_estimate_grows(size):
    config = AcceleratorConfig()
    larger = dataclasses.replace(config, **{size: 2 * getattr(config, size)})
    assert total(larger).bram36 > total(config).bram36
    assert total(config).within(total(larger))


def test_sum_of_components():
    assert total(AcceleratorConfig()) == sum(estimate(AcceleratorConfig()).values(), Usage())
    assert Usage(1, 2, 3, 4).exceeding(Usage(1, 1, 3, 3.5)) == ["ff", "bram36"]


def test_budgets():
    """The budget of the xc7z020 is that of synthesis; the larger chip's is the same part of it."""
    small, large = TARGETS["xc7z020"], TARGETS["zu3eg"]
    assert small.chip.budget == Usage(40_000, 60_000, 200, 125)
    for target in (small, large):
        assert target.chip.budget.within(target.chip.resources)
        # Of 24 requantizers too.
        assert target.chip.array_slices + 24 <= target.chip.budget.dsp and target.chip.array_slices % 16 == 0
    assert large.chip.budget.dsp == int(360 * 200 / 220)


def test_over_budget(files, capsys):
    status, out, _ = run(capsys, files / "graph.cdg", "--outputs", "64")
    assert status == 0 and "over the budget for xc7z020, which is lut 40000, bram36 125" in out


def test_synthesis_report(tmp_path):
    path = tmp_path / "synth.json"
    default, small = AcceleratorConfig(), AcceleratorConfig.small()
    assert synthesized(default, path) is None
    path.write_text(json.dumps({"config": small.to_dict(), "lut": 1, "ff": 2, "dsp": 3, "bram36": 4.5, "budget": {}}))
    assert synthesized(default, path) is None
    assert synthesized(small, path) == Usage(1, 2, 3, 4.5)
    assert resources.resources_of(small, TARGETS["xc7z020"], path) == (Usage(1, 2, 3, 4.5), "synthesis")
    # Synthesis is for one chip only.
    assert resources.resources_of(small, TARGETS["zu3eg"], path)[1] == "estimate"
    assert resources.resources_of(default, TARGETS["xc7z020"], path)[1].startswith("synthesis of commit ")
    for bad in ("[1]", "{}", "nothing", json.dumps({"config": default.to_dict(), "lut": "many"})):
        path.write_text(bad)
        with pytest.raises(FormatError, match=r"synth\.json: expected config, lut, ff, dsp and bram36"):
            synthesized(default, path)


def test_the_standard_shape_has_synthesized_figures_of_a_commit(files, capsys, monkeypatch, tmp_path):
    """The figures of docs/synthesis.md; no estimate says that the design is over a budget which it keeps to."""
    monkeypatch.setattr(resources.resources_of, "__defaults__", (tmp_path / "none.json",))
    status, out, _ = run(capsys, files / "graph.cdg")
    (line,) = [line for line in out.splitlines() if line.startswith("resources")]
    page = (ROOT / "docs" / "synthesis.md").read_text()
    (row,) = [row for row in page.splitlines() if row.startswith("| **design of the PYNQ-Z2**")]
    lut, ff, dsp, bram = (cell.strip(" *").replace(",", "") for cell in row.split("|")[2:6])
    shipped = resources.SHIPPED["xc7z020"]
    source = f"synthesis of commit {shipped.commit}, {shipped.tool}"
    assert status == 0 and line.startswith(f"resources ({source}): lut {lut} of 53200")
    assert f"ff {ff} of" in line and f"dsp {dsp} of" in line and f"bram36 {bram} of" in line
    assert "over the budget" not in out and "estimate" not in out


def test_estimates_say_how_far_they_were_off(files, capsys):
    _, out, _ = run(capsys, files / "graph.cdg", "--outputs", "64")
    lut = total(AcceleratorConfig()).lut / resources.SHIPPED["xc7z020"].usage.lut - 1
    (line,) = [line for line in out.splitlines() if line.startswith("such an estimate was off by")]
    assert "resources (estimate)" in out and f"lut {100 * lut:+.1f} %" in line and abs(lut) < 0.1


def test_clock_changes_the_rate(files):
    program = load_program(files / "graph.cdg", None)
    slow, fast = (plan.plan(program, TARGETS["xc7z020"], clock) for clock in (75, 150))
    # Twice the clock, but the same memory: faster, and by less than two.
    assert slow.fps < fast.fps < 2 * slow.fps
    with pytest.raises(ConfigError):
        plan.plan(program, TARGETS["xc7z020"], -1)


def test_dilations_from_a_file(files, tmp_path, capsys):
    """Counts of one dilation that costs one cycle, and of one that costs nine, instead of all alike."""
    program = load_program(files / "graph.cdg", None)
    names = {source.name for source in dilation_sources(program).values()}
    assert names and names <= {tensor.name for tensor in program.tensors}
    cycles = {}
    for dilation in (1, 3):
        path = tmp_path / f"{dilation}.json"
        path.write_text(json.dumps({"dilations": {name: (7 * np.eye(8)[dilation]).tolist() for name in names}}))
        status, out, _ = run(capsys, files / "graph.cdg", "--dilations", path)
        assert status == 0 and "equally frequent" not in out
        cycles[dilation] = int(out.split("frames a second: ")[1].split()[0])
        alone = dict.fromkeys(dilation_sources(program), np.eye(8)[dilation])
        assert cycles[dilation] == plan.plan(program, TARGETS["xc7z020"], None, alone).prediction.cycles
    assert cycles[1] < cycles[3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "expected a JSON file of models.offsets"),
        ("{}", "found KeyError"),
        ('{"dilations": [1]}', "expected a JSON file"),
        ('{"dilations": {"elsewhere": [1, 0, 0, 0, 0, 0, 0, 0]}}', "no counts for .* it has \\['elsewhere'\\]"),
    ],
)
def test_dilations_that_are_none(files, tmp_path, content, message):
    path = tmp_path / "offsets.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=message):
        plan.read_dilations(path, load_program(files / "graph.cdg", None))
