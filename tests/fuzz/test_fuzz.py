# SPDX-License-Identifier: Apache-2.0
"""Some broken files for every reader, and that the bench sees what a reader must not do. Many more: ``make fuzz``."""

import json
import warnings

import numpy as np
import pytest

from codenet.errors import FormatError
from tests import campaign
from tests.fuzz import __main__ as command
from tests.fuzz import batch as batches
from tests.fuzz.batch import Broken, read_one
from tests.fuzz.mutate import change_json, change_xml, damage
from tests.fuzz.targets import TARGETS, VOC, BitFile

FILES = {"bit": 300, "hwh": 300, "voc": 200, "coco": 200, "photo": 200, "program": 60, "graph": 40, "checkpoint": 60}
"""Of each kind, by the time that they take."""


@pytest.fixture
def quiet():
    """Warnings of decoders about broken photos are no failures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kind", TARGETS)
def test_broken_files_are_taken_or_refused_by_name(kind, tmp_path, quiet):
    outcomes = {read_one(TARGETS[kind], f"{kind}/7/0/{index}", tmp_path)[1] for index in range(FILES[kind])}
    assert any(outcome.startswith("refused: ") for outcome in outcomes)


@pytest.mark.parametrize("kind", TARGETS)
def test_whole_files_are_taken(kind, tmp_path):
    for data in TARGETS[kind].valid:
        TARGETS[kind].read(data, tmp_path, np.random.default_rng(0))


def test_a_file_is_repeated_by_its_number():
    for kind, target in TARGETS.items():
        files = [target.case(np.random.default_rng([1, 2, n])) for n in (3, 3, 4)]
        assert files[0] == files[1], kind
    assert len({damage(np.random.default_rng(n), b"0123456789") for n in range(50)}) > 40


def test_changes_of_meaning_parse():
    rng = np.random.default_rng(0)
    value = {"a": [1, {"b": "c"}], "d": 2.5}
    changed = [change_json(rng, value) for _ in range(50)]
    assert value == {"a": [1, {"b": "c"}], "d": 2.5}
    assert sum(json.dumps(other) != json.dumps(value) for other in changed) > 40
    assert len({change_xml(rng, VOC) for _ in range(50)}) > 30


class Reader(BitFile):
    """Reads as it is told."""

    def __init__(self, read):
        self._read = read

    def read(self, data, folder, rng):
        self._read()


def fail():
    raise FormatError("")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: {}["key"], "KeyError: 'key'"),
        (lambda: next(iter(())), "StopIteration"),
        (fail, "an error without a text"),
    ],
    ids=["another error", "another kind", "no text"],
)
def test_what_a_reader_must_not_do(read, message, tmp_path):
    with pytest.raises(Broken, match=message):
        read_one(Reader(read), "bit/0/0/0", tmp_path)


@pytest.mark.parametrize(
    ("seconds", "peak", "message"),
    [(100, 0, "100 s, expected at most 20"), (0, 2 << 30, "2048 MiB for a file of [0-9]+ bytes")],
)
def test_what_a_reader_must_not_take(seconds, peak, message, tmp_path, monkeypatch):
    times, peaks = iter([0, seconds]), iter([0, peak])
    monkeypatch.setattr(batches, "_now", lambda: next(times))
    monkeypatch.setattr(batches, "_peak", lambda: next(peaks))
    with pytest.raises(Broken, match=message):
        read_one(Reader(lambda: None), "bit/0/0/0", tmp_path)


def test_command_counts_records_and_resumes(tmp_path, monkeypatch, capsys):
    recorded = {}
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    monkeypatch.setattr(command, "TARGETS", {"bit": BitFile()})
    arguments = ["--count", "300", "--limit", "0"]
    assert command.main(arguments) == 0
    assert sum(recorded["fuzz"]["by_kind"]["bit"].values()) == 2 * batches.BATCH
    monkeypatch.setattr(command, "batch", None)
    assert command.main(arguments) == 0, "all are kept"


def test_command_stops_at_a_failure_and_says_how_to_repeat_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setitem(TARGETS, "bit", Reader(lambda: {}["key"]))
    assert command.main(["bit", "--count", "300", "--limit", "0"]) == 1
    assert capsys.readouterr().out.endswith("KeyError: 'key'\n\nrepeat: python -m tests.fuzz --only bit/0/0/0\n")
    assert command.main(["--only", "bit/0/0/0"]) == 1
    assert "the file is in " in capsys.readouterr().out


def test_command_refuses_kinds_that_are_not_there(capsys):
    with pytest.raises(SystemExit):
        command.main(["zip"])
    assert "no kind of file is named 'zip': expected some of program, graph" in capsys.readouterr().err
