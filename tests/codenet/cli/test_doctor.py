# SPDX-License-Identifier: Apache-2.0
"""The command that checks a device: words and exit status."""

import pytest

from codenet import devices
from codenet.cli import command as cli
from codenet.cli import doctor
from codenet.command import BAD_INPUT
from codenet.config import AcceleratorConfig
from codenet.errors import DeviceError
from codenet.isa import ISA_VERSION
from tests.board.networks import SMALL, program
from tests.codenet.fakes import FakeDevice


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.cdn"
    program().save(path)
    return path


def run(capsys, *arguments):
    status = cli.main(["doctor", *map(str, arguments)])
    return status, capsys.readouterr().out.splitlines()


def test_device_that_is_well(capsys, small):
    status, lines = run(capsys, "--device", "golden", "--program", small)
    assert status == 0
    assert lines[0] == "ok      device: golden opens"
    assert lines[1].startswith(
        f"ok      identity: a CoDeNet accelerator of version {ISA_VERSION} answers, 128 multipliers"
    )
    assert "ok      configuration: is the one that program 'tiny' was compiled for" in lines
    assert lines[-2].startswith("-       clock: simulated")
    assert lines[-1] == "all is well"


def test_the_shipped_program_is_the_default(capsys):
    status, lines = run(capsys, "--device", "golden")
    assert status == 0
    assert lines[3] == "ok      configuration: is the one that program 'codenet-a' was compiled for"


def test_without_any_program(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "DEFAULT_PROGRAM", tmp_path / "none.cdn")
    status, lines = run(capsys, "--device", "golden")
    assert status == 0
    assert lines[3].startswith("ok      configuration: outputs=32, window_depth=1024")


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(devices, "_registry", dict(devices._registry))

    def broken(factory, **options):
        devices.register("broken", factory, **options)

    return broken


def test_failed_check_is_the_last(capsys, broken, small):
    made = []

    def other_configuration(config):
        made.append(FakeDevice(AcceleratorConfig()))
        return made[0]

    broken(other_configuration, self_test=True)
    status, lines = run(capsys, "--device", "broken", "--program", small)
    assert status == 1
    assert lines[-2].startswith("FAILED  configuration: device fake: configuration outputs=32")
    assert lines[-1] == "something is wrong, see above"
    assert made[0].closed == 1


def test_device_that_does_not_open(capsys, broken):
    def missing(config):
        raise DeviceError("device broken: no bitstream")

    broken(missing)
    status, lines = run(capsys, "--device", "broken")
    assert (status, lines[0]) == (1, "FAILED  device: device broken: no bitstream")


def test_program_that_is_none(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("no program")
    assert cli.main(["doctor", "--device", "golden", "--program", str(tmp_path / "notes.txt")]) == BAD_INPUT
    assert "notes.txt" in capsys.readouterr().err


def test_boards_are_tested_when_they_are_opened(broken):
    made = []

    def silent(config):
        made.append(FakeDevice(SMALL))
        made[-1].registers["IDENTITY"] = 0
        return made[-1]

    broken(silent, self_test=True)
    with pytest.raises(DeviceError, match="self-test: identity"):
        devices.open_device("broken", SMALL)
    assert made[0].closed == 1
    assert [check.passed for check in doctor.examine("broken")] == [True, False]
