# SPDX-License-Identifier: Apache-2.0
"""Some frames, and that a wrong one, or memory that grows, is noticed. Many more: ``make soak``."""

import numpy as np
import pytest

from codenet.checkout import PHOTOS
from codenet.golden import interpreter
from tests import campaign
from tests.soak import __main__ as command
from tests.soak import frames
from tests.soak.frames import FRAMES, case, timing

QUICK = "small 32x32"


def test_frames_are_equal_and_repeat():
    first = case(f"{QUICK}/5/0")
    assert first["failure"] is None and first["outcomes"] == {"equal": FRAMES} and first["resident"] > 1 << 20
    assert case(f"{QUICK}/5/0")["cycles"] == first["cycles"] > 5000 * FRAMES


def test_timings_differ():
    drawn = {timing(np.random.default_rng(n)) for n in range(20)}
    assert len(drawn) == 20 and {t.stall for t in drawn} == {0.0, 0.05, 0.3}


@pytest.mark.parametrize("available", [True, False], ids=["photos", "no photos"])
def test_photos_and_without_them(available, monkeypatch):
    monkeypatch.setattr(frames, "photos", lambda: [PHOTOS / "chelsea.jpg"] if available else [])
    _, program = frames.graph_and_program(QUICK)
    image = frames.activation(np.random.default_rng(0), program)
    assert image.shape == (32, 32, 3) and image.dtype == np.int8 and image.std() > 10


def test_wrong_tensor_is_a_failure(monkeypatch):
    def wrong(*arguments, **named):
        tensors = interpreter_run(*arguments, **named)
        tensors["decoder0.pw"] = tensors["decoder0.pw"] ^ 1
        return tensors

    interpreter_run = interpreter.run
    monkeypatch.setattr(interpreter, "run", wrong)
    assert "frame 0: step" in case(f"{QUICK}/5/1")["failure"]


def test_growth_is_that_after_the_first_cases():
    sizes = [100, 300, 120, 290, 310, 305]
    entries = [{"resident": size} for size in sizes]
    assert command.grown(entries, 2) == 10
    assert command.grown(entries[:4], 2) == command.grown(entries[:1], 2) == 0


def test_command_counts_records_and_resumes(tmp_path, monkeypatch, capsys):
    recorded = {}
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    arguments = ["--networks", QUICK, "--count", str(FRAMES)]
    assert command.main(arguments) == 0
    assert recorded["soak"]["frames"] == {QUICK: {"equal": FRAMES}} and recorded["soak"]["cycles"] > 0
    monkeypatch.setattr(command, "case", None)
    assert command.main(arguments) == 0, "all are kept"
    monkeypatch.setattr(command, "grown", lambda entries, first: command.GROWTH + 1)
    assert command.main(arguments) == 1
    assert "memory of a process grew by at most 64.0 MiB" in capsys.readouterr().out


def test_command_stops_at_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setattr(command, "case", lambda number: {"case": number, "failure": "frame 2: it differs"})
    assert command.main(["--networks", QUICK, "--count", "10"]) == 1
    assert capsys.readouterr().out == f"{QUICK}/0/0: frame 2: it differs\n"


def test_command_refuses_networks_that_are_not_there(capsys):
    assert command.main(["--networks", "h"]) == 2
    assert "no network is named 'h': expected some of small 32x32" in capsys.readouterr().err
