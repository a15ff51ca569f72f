# SPDX-License-Identifier: Apache-2.0
"""The runtime on an emulated ARM gives this machine's bits; and what is said where it cannot run."""

import copy
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.board import arm, oldest


@pytest.mark.slow
def test_emulated_arm_gives_the_same_bits(capsys):
    try:
        arm.check_machine()
        arm.make_userland()
    except arm.Missing as error:
        pytest.skip(str(error))
    assert arm.main() == 0
    out = capsys.readouterr().out
    assert "emulated: armv7l, Python 3.11." in out and "the same, bit for bit" in out
    assert "not of an ARM" in out and "driver: " in out


@pytest.fixture(scope="module")
def here():
    command = [sys.executable, arm.ROOT / "tests/board/frame_digest.py", *arm.PHOTOS[1:2]]
    environment = {**os.environ, "PYTHONPATH": str(arm.ROOT / "sw")}
    return json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


def test_comparison_sees_every_difference(here):
    assert arm.differences(here, {**copy.deepcopy(here), "machine": "another"}) == []
    (photo,) = here["frames"]
    assert len(here["frames"][photo]["detections"]) >= 3

    def changed(change):
        there = copy.deepcopy(here)
        change(there, there["frames"][photo])
        return arm.differences(here, there)

    assert changed(lambda there, frame: there.update(program="")) == ["the program file differs"]
    assert changed(lambda there, frame: frame.update(pixels="")) == [f"{photo}: pixels differ"]
    assert changed(lambda there, frame: frame["outputs"].update(size="")) == [f"{photo}: outputs differ"]
    assert changed(lambda there, frame: frame["detections"].pop()) == [f"{photo}: detections differ"]
    assert changed(lambda there, frame: there["frames"].clear())[0] == f"{photo}: pixels differ"
    assert changed(lambda there, frame: frame.update({"stream is the same": False}))[1:] == [
        f"{photo}: the stream's results are not those of single photos"
    ]


@pytest.mark.parametrize(("tool", "package"), [("qemu-arm-static", "qemu-user-static"), ("debootstrap", "debootstrap")])
def test_missing_tool_is_named_with_its_package(monkeypatch, capsys, tool, package):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
    assert arm.main() == 2
    assert f"{tool} is not on this system (Debian, Ubuntu: apt install {package})" in capsys.readouterr().err


def test_user_who_is_not_root(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert arm.main() == 2
    assert "need root" in capsys.readouterr().err


def test_debian_that_cannot_be_reached(monkeypatch, capsys, tmp_path):
    (tmp_path / "debootstrap").write_text("#!/bin/sh\necho E: cannot reach $5\nexit 1\n")
    (tmp_path / "debootstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(arm, "check_machine", lambda: None)
    monkeypatch.setattr(arm, "BUILD", tmp_path / "arm")
    monkeypatch.setattr(arm, "USERLAND", tmp_path / "arm" / "root")
    assert arm.main() == 2
    assert "debootstrap failed (E: cannot reach bookworm)" in capsys.readouterr().err


def test_python_of_another_version(capsys, tmp_path):
    assert oldest.main(str(tmp_path / "python")) == 2
    assert "is not on this system" in capsys.readouterr().err
    (tmp_path / "python").write_text("#!/bin/sh\necho Python 3.9.2\n")
    (tmp_path / "python").chmod(0o755)
    assert oldest.main(str(tmp_path / "python")) == 2
    assert "is Python 3.9.2, expected Python 3.10" in capsys.readouterr().err
