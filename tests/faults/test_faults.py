# SPDX-License-Identifier: Apache-2.0
"""Some faults of each kind, and that the bench sees what a fault must not do. Many more: ``make faults``."""

import json

import numpy as np
import pytest

from codenet.errors import DeviceError
from codenet.isa import ErrorCause
from sim.verilator.board import PORT0_WRITE, PORT1_READ, READ, SLAVE_ERROR, WRITE
from tests import campaign
from tests.faults import __main__ as command
from tests.faults.bench import (
    CONFIG,
    RIGHT,
    UNDEFINED,
    Bench,
    Failure,
    because,
    expected,
    hasty_resets,
    image,
    integers,
    program,
)
from tests.faults.cases import case
from tests.faults.kinds import KINDS, flip, other_fields

FAULTS_OF_A_KIND = 3


@pytest.fixture
def bench():
    opened = Bench(np.random.default_rng(1))
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", KINDS)
def test_faults_end_well(kind):
    first = list(KINDS).index(kind)
    for number in range(FAULTS_OF_A_KIND):
        entry = case(f"2/{first + number * len(KINDS)}")
        assert entry["kind"] == kind
        assert entry["failure"] is None, entry


def test_a_fault_is_repeated_by_its_number():
    assert case("5/3") == case("5/3")
    assert case("5/3") != case("6/3")


def test_wrong_integers_are_a_failure(bench):
    outputs = bench.frame()
    assert bench.check(outputs) == RIGHT
    tensor = outputs.tensors["size"]
    outputs.memory[tensor.planes[0]] ^= 1
    with pytest.raises(Failure, match="wrong integers"):
        bench.check(outputs)


def test_another_result_than_that_of_the_flipped_memory_is_a_failure(bench, monkeypatch):
    monkeypatch.setattr(bench, "named", lambda action: _spoilt(action()))
    with pytest.raises(Failure, match="by golden of the flipped memory"):
        flip(bench, program().input.offset + 200, np.ones(1, np.uint8))


def _spoilt(outputs):
    outputs.memory[-1] ^= 1
    return outputs


def test_an_error_in_place_of_golden_integers_is_a_failure(bench):
    bench.device.board.respond(PORT1_READ, 100, SLAVE_ERROR)
    with pytest.raises(Failure, match="PARAMETER_READ, but golden computes"):
        flip(bench, program().input.offset + 200, np.ones(1, np.uint8))


def test_a_write_elsewhere_is_refused_counted_and_a_failure(bench):
    """The last step's peaks go outside of the memory: the board writes nothing, and says DECERR."""
    peaks = program().descriptors[-1]
    target = peaks.peak_address + (1 << 20)
    memory, before = bench.accelerator.memory, bench.device.board.memory.copy()
    offset, mask = other_fields(len(program().descriptors) - 1, peak_address=target)
    memory[offset : offset + mask.size] ^= mask
    assert bench.frame() == because(ErrorCause.OUTPUT_WRITE)
    changed = np.flatnonzero(before != bench.device.board.memory)
    assert changed.max() - changed.min() < program().memory_bytes
    assert bench.device.board.strays(WRITE) > 0 == bench.device.board.strays(READ)
    with pytest.raises(Failure, match="0 reads and [1-9][0-9]* writes outside of the memory"):
        bench.check_bus()


def test_a_guard_band_that_changes_is_a_failure(bench):
    bench._bands[1][0] ^= 1
    with pytest.raises(Failure, match="guard band"):
        bench.check_bus()


def test_a_next_frame_that_differs_is_a_failure(bench, monkeypatch):
    monkeypatch.setattr("tests.faults.bench.expected", lambda seed: {})
    with pytest.raises(Failure, match="next frame is wrong"):
        bench.check_next()


def test_a_hang_is_a_failure(bench):
    """With the watchdog off nothing ends a frame whose bus hangs."""
    bench.accelerator._write("WATCHDOG", 0)
    bench.device.max_cycles = 20_000
    bench.device.board.halt(PORT0_WRITE)
    with hasty_resets(), pytest.raises(Failure, match="no end within the watchdog's time"):
        bench.frame()


def test_what_was_switched_off_and_on_has_the_registers_of_the_start(bench):
    bench.start(3000)
    bench.device.board.restart()
    assert set(bench.registers.values()) == {0}
    bench.device.board.run(2000)
    assert bench.device.board.violation == ""


def test_what_a_broken_program_leaves_behind_does_not_reach_the_next_user(bench):
    """A step that says six rows, and four rows of pixels, ends without an error, and rows are left in the window."""
    with bench.open() as other:
        other.pixels[..., :3] = image(2).view(np.uint8)
        step = program().step_names.index("decoder2.dw + decoder2.pw")
        height = program().descriptors[step].output_height
        assert flip(bench, *other_fields(step, output_height=height ^ 2)) == UNDEFINED
        other.start()
        assert integers(other.finish()) == expected(2)


def test_command_counts_records_and_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    recorded = {}
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    assert command.main(["--count", "14", "--limit", "0"]) == 0
    assert recorded["faults"]["count"] == 14
    assert sum(sum(kind.values()) for kind in recorded["faults"]["by_kind"].values()) == 14
    monkeypatch.setattr(command, "case", None)
    assert command.main(["--count", "14", "--limit", "0"]) == 0, "all are kept"
    lines = (tmp_path / "faults.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines[:13]] == list(KINDS) and len(lines) == 14


def test_command_stops_at_a_failure_and_says_how_to_repeat_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "BUILD", tmp_path)

    def broken(bench):
        bench.text = "a broken thing"
        raise DeviceError("never caught")

    monkeypatch.setitem(KINDS, "stuck", broken)
    assert command.main(["--count", "20", "--seed", "9", "--limit", "0"]) == 1
    said = capsys.readouterr().out
    assert "fault 9/13, stuck: a broken thing: failed: Traceback" in said
    assert said.rstrip().endswith("repeat: python -m tests.faults --seed 9 --only 13")
    assert command.main(["--seed", "9", "--only", "13"]) == 1
    assert command.main(["--seed", "9", "--only", "14"]) == 0


def test_the_watchdog_is_longer_than_any_step():
    bench = Bench(np.random.default_rng(3))
    bench.accelerator.run(image(1))
    longest = max(sum(step.counters[:6]) for step in bench.accelerator.profile())
    bench.close()
    assert CONFIG.profile_depth >= len(program().descriptors) and longest < 10_000
