# SPDX-License-Identifier: Apache-2.0
"""The shelf of bitstreams: what lies there is of this checkout, and what does not fit is refused."""

import dataclasses
import hashlib
import json
import lzma

import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import boards
from codenet.devices.bitstream import Handoff
from codenet.errors import ConfigError, FormatError
from codenet.isa import ISA_VERSION
from hw.boards.board import PYNQ_Z2
from hw.flow import flash, shelf
from tests.hw.flow.stand_ins import bit


class Top:
    """A design whose text is its configuration's."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config

    def verilog(self, name: str, platform: object) -> str:
        return f"module {name}; // {self.config}\nendmodule\n"


SMALL = dataclasses.replace(PYNQ_Z2, config=AcceleratorConfig.small(), top=Top)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def built(tmp_path, monkeypatch):
    """What a flow leaves behind."""
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / f"{SMALL.module}.v").write_text(SMALL.verilog(SMALL.config))
    (folder / "codenet.bit").write_bytes(bit("place and route"))
    monkeypatch.setattr(shelf, "git", lambda _root, *_arguments: COMMIT + "\n")
    report = {"timing_met": True, "constraint": 100.0, "config": SMALL.config.to_dict()}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def change(path, **members):
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


@pytest.mark.parametrize("place", sorted(shelf.SHELF.glob("*/")), ids=lambda place: place.name)
def test_shipped(place, tmp_path):
    """Whoever changes ISA, configuration or hardware of a board on the shelf builds it again, or takes it away."""
    from hw.boards.board import BOARDS

    board = BOARDS[place.name]
    assert shelf.moved_on(board) == [] and board.design == place.name
    for name in board.sharing:
        taken = shelf.take(name, tmp_path / name)
        handoff = Handoff.read(taken)
        handoff.check(taken, boards.BOARDS[name])
        assert handoff.boards == board.sharing and handoff.bitstream is not None
    assert sum(file.stat().st_size for file in place.iterdir()) < 4 << 20


def test_there_and_back(built, tmp_path):
    place = shelf.put(SMALL, built, tmp_path / "shelf")
    report = json.loads((place / "report.json").read_text())
    assert "No board has loaded it" in report["label"] and report["of"]["isa"] == ISA_VERSION
    assert report["of"]["commit"] == COMMIT
    assert shelf.moved_on(SMALL, tmp_path / "shelf") == []
    taken = shelf.take(SMALL.name, tmp_path / "taken", tmp_path / "shelf")
    assert taken.read_bytes() == (built / "codenet.bit").read_bytes()
    handoff = Handoff.read(taken)
    handoff.check(taken, boards.BOARDS["pynq-z2"])
    assert (handoff.clock_hz, handoff.boards) == (100e6, ("pynq-z2", "pynq-z1", "arty-z7-20"))
    for name in ("pynq-z1", "arty-z7-20"):
        assert shelf.take(name, tmp_path / name, tmp_path / "shelf").read_bytes() == taken.read_bytes()
    assert shelf.take("zybo-z7-20", tmp_path / "taken", tmp_path / "shelf") is None
    assert shelf.take("ultra96", tmp_path / "taken", tmp_path / "shelf") is None


def test_not_put(built, tmp_path):
    (built / f"{SMALL.module}.v").write_text("module old; endmodule")
    expected = hashlib.sha256(b"module old; endmodule").hexdigest()[:12]
    with pytest.raises(ConfigError, match=f"made of Verilog {expected}: expected "):
        shelf.put(SMALL, built, tmp_path / "shelf")
    change(built / "report.json", timing_met=False)
    with pytest.raises(ConfigError, match="timing_met is False: expected true"):
        shelf.put(SMALL, built, tmp_path / "shelf")


def test_not_taken(built, tmp_path):
    stock = tmp_path / "shelf"
    place = shelf.put(SMALL, built, stock)
    (place / "codenet.bit.xz").write_bytes(lzma.compress(bit("another")))
    with pytest.raises(FormatError, match="SHA-256 .*: expected "):
        shelf.take(SMALL.name, tmp_path / "taken", stock)
    (place / "codenet.bit.xz").write_bytes(b"no archive")
    with pytest.raises(FormatError, match="damaged"):
        shelf.take(SMALL.name, tmp_path / "taken", stock)
    of = json.loads((place / "report.json").read_text())["of"]
    change(place / "report.json", of=of | {"isa": ISA_VERSION - 1})
    with pytest.raises(ConfigError, match=f"for ISA version {ISA_VERSION - 1}: expected {ISA_VERSION}"):
        shelf.take(SMALL.name, tmp_path / "taken", stock)
    (place / "report.json").write_text("{")
    with pytest.raises(FormatError, match=r"report\.json: not JSON"):
        shelf.take(SMALL.name, tmp_path / "taken", stock)


def test_moved_on(built, tmp_path):
    stock = tmp_path / "shelf"
    shelf.put(SMALL, built, stock)
    other = dataclasses.replace(SMALL, config=dataclasses.replace(SMALL.config, vector_depth=1024))
    changed = [line.partition(":")[0] for line in shelf.moved_on(other, stock)]
    assert changed == ["verilog", "config"]


def test_flash_takes_it_where_none_was_built(built, tmp_path, monkeypatch, capsys):
    shelf.put(SMALL, built, tmp_path / "shelf")
    monkeypatch.setattr(shelf, "SHELF", tmp_path / "shelf")
    monkeypatch.setattr(flash, "BUILD", tmp_path / "build")
    monkeypatch.setattr(flash, "build_wheel", lambda folder: folder)
    sent = []
    monkeypatch.setattr(flash, "flash", lambda board, cargo, pictures: sent.append(cargo.bitstream.read_bytes()))
    assert flash.main(["pynq"]) == 0 and sent == [(built / "codenet.bit").read_bytes()]
    assert "No board has loaded it yet" in capsys.readouterr().out
    own = tmp_path / "build" / SMALL.name
    own.mkdir()
    for end in (".bit", ".hwh"):
        (own / f"codenet{end}").write_bytes(b"built here")
    assert flash.main(["pynq"]) == 0 and sent[1] == b"built here"
    assert flash.main(["pynq", "--board", "ultra96"]) == 2
    assert "build it with make bitstream" in capsys.readouterr().err
