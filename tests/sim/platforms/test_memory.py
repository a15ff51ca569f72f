# SPDX-License-Identifier: Apache-2.0
"""``codenet doctor --memory`` finds the timing that the simulated board was given."""

import json

import pytest

from codenet import devices
from codenet.cli import command as cli
from codenet.devices import memory
from codenet.errors import DeviceError
from sim.performance.plan import read_timing
from sim.timing import CLOCK_HZ, DramTiming
from sim.verilator.board import PORT0_WRITE, SLAVE_ERROR, RtlDevice
from tests.board.networks import SMALL, program

LATENCY_TOLERANCE = 3
"""Cycles."""

RATE_TOLERANCE = 0.05


def rate(timing: DramTiming) -> float:
    """Bytes a cycle, refresh included."""
    pauses = timing.refresh_cycles / timing.refresh_interval if timing.refresh_interval else 0
    return timing.bytes_per_cycle * (1 - pauses)


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """Runs the command on a simulated board with a given memory; returns what it says, and the file."""
    monkeypatch.setattr(devices, "_registry", dict(devices._registry))
    program().save(tmp_path / "small.cdn")

    def run(timing):
        devices.register("timed", lambda config: RtlDevice(SMALL, timing))
        arguments = ["--device", "timed", "--program", str(tmp_path / "small.cdn"), "--memory"]
        status = cli.main(["doctor", *arguments, "--timing", str(tmp_path / "timing.json")])
        return status, capsys.readouterr().out, tmp_path / "timing.json"

    return run


@pytest.mark.parametrize(
    "timing",
    [
        DramTiming(),
        pytest.param(DramTiming(latency=100, bytes_per_cycle=6), marks=pytest.mark.slow),
        pytest.param(DramTiming(latency=25, bytes_per_cycle=12, refresh_interval=0), marks=pytest.mark.slow),
        pytest.param(DramTiming(outstanding=4), marks=pytest.mark.slow),
        pytest.param(DramTiming(latency=90, outstanding=6, bytes_per_cycle=8), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_simulated_timing_is_found_again(doctor, timing):
    """And by ``codenet plan``, which takes the file."""
    status, out, path = doctor(timing)
    assert status == 0, out
    found, clock = read_timing(path)
    assert clock == CLOCK_HZ / 1e6
    assert abs(found.latency - timing.latency) <= LATENCY_TOLERANCE
    assert rate(found) == pytest.approx(rate(timing), rel=RATE_TOLERANCE)
    if timing.latency > 30:
        assert found.outstanding == timing.outstanding
    assert "latency of a burst" in out and "copy and parameters, on both ports" in out


@pytest.mark.parametrize(
    ("responses", "name"), [(0, "latency"), (memory.REPETITIONS, "write, and a quarter of it read")]
)
def test_a_step_that_stops_says_which(responses, name):
    """A write is answered with an error: the first of all, or the first after those of the latency."""
    device = RtlDevice(SMALL)
    device.board.respond(PORT0_WRITE, responses, SLAVE_ERROR)
    with pytest.raises(DeviceError, match=f"^step '{name}' stopped: STATUS .*, cause OUTPUT_WRITE; the address lies"):
        memory.measure(device)
    device.close()


def test_the_model_is_that_of_the_predictions():
    default = DramTiming()
    assert {name: getattr(default, name) for name in memory.MODEL} == memory.MODEL
    assert memory.MODEL_CLOCK_HZ == CLOCK_HZ


def test_plan_takes_the_file(tmp_path, capsys):
    program().save(tmp_path / "small.cdn")
    path = tmp_path / "timing.json"
    path.write_text(json.dumps(memory.MODEL | {"clock_hz": 85e6, "latency": 77, "bytes_per_cycle": 12}))
    arguments = ["plan", str(tmp_path / "small.cdn"), "--timing", str(path)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "at 85 MHz" in out and "memory: 12 bytes a cycle, latency 77 cycles" in out
    assert cli.main([*arguments, "--clock", "150"]) == 2
    assert f"clock = 150 MHz: expected 85, at which {path} was measured" in capsys.readouterr().err
    for text in ("{", "[]", '{"clock_hz": null, "speed": 3}'):
        path.write_text(text)
        assert cli.main(arguments) == 2
        assert "expected a timing file of codenet doctor" in capsys.readouterr().err
    path.write_text(json.dumps(memory.MODEL | {"clock_hz": 85e6, "latency": -1}))
    assert cli.main(arguments) == 2
    assert "latency = -1: expected at least 0" in capsys.readouterr().err


def test_golden_model_has_no_memory_to_measure(tmp_path, capsys):
    assert cli.main(["doctor", "--device", "golden", "--memory"]) == 1
    assert "golden: counts no cycles: its memory cannot be measured" in capsys.readouterr().err
    assert cli.main(["doctor", "--device", "golden", "--timing", str(tmp_path / "x.json")]) == 2
    assert "expected --memory with it" in capsys.readouterr().err
