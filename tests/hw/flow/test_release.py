# SPDX-License-Identifier: Apache-2.0
"""Releases of a small repository with stand-ins for bitstreams: what they are made of, and what is refused."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import zipfile

import pytest

from codenet import __version__
from codenet.checkout import ROOT
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError, ConfigError
from codenet.isa import ISA_VERSION
from codenet.zoo import ZOO
from hw.boards.board import BOARDS
from hw.flow import release, shelf
from hw.flow.flash import PLACE_BITSTREAM
from tests.board.handoff import write_bitstream
from tests.codenet.cli.test_setup import BOTH, LINUX, grow
from tests.hw.flow.stand_ins import bit
from tests.hw.flow.test_shelf import Top, change

DESIGNS = ("pynq-z2", "zybo-z7-20")


def git(folder, *arguments):
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A repository of what a release is made of, with the last of the programs, which is the smallest to run."""
    folder = tmp_path_factory.mktemp("original")
    shutil.copytree(
        ROOT / "sw",
        folder / "sw",
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "bitstream", "bitstream-*"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "docs/board.md", release.PHOTO):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    text = f"# Changelog\n\n## Unreleased\n\n## {__version__}\n\n- It finds cats.\n\n## 0.0.1\n\n- Nothing.\n"
    (folder / "CHANGELOG.md").write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A shelf with what stands for bitstreams of the default accelerator."""
    folder = tmp_path_factory.mktemp("stock")
    for name in DESIGNS:
        board = dataclasses.replace(BOARDS[name], top=Top)
        built = folder / "built" / name
        built.mkdir(parents=True)
        (built / f"{board.module}.v").write_text(board.verilog(board.config))
        (built / "codenet.bit").write_bytes(bit(name))
        report = {
            "timing_met": True,
            "constraint": 100.0,
            "flow": "open",
            "wns": 0.25,
            "config": board.config.to_dict(),
        }
        (built / "report.json").write_text(json.dumps(report))
        shelf.put(board, built, folder / "shelf")
    return folder / "shelf"


@pytest.fixture
def checkout(original, stock, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "BOARDS", {n: dataclasses.replace(b, top=Top) for n, b in BOARDS.items()})
    monkeypatch.setattr(release, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(shelf, "SHELF", tmp_path / "shelf")
    shutil.copytree(stock, tmp_path / "shelf")
    git(tmp_path, "clone", "--quiet", str(original), "checkout")
    return tmp_path / "checkout"


def commit(checkout, name, text):
    (checkout / name).write_text(text)
    git(checkout, "commit", "--quiet", "--all", "--message", "a change")


def refused(capsys, *arguments):
    assert release.main(list(arguments)) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "hw.flow.release: error: cannot be released:"
    return [line.strip() for line in lines]


def test_release(checkout, tmp_path, capsys):
    """The wheel has all, its checksums are right, and the list says what is in it; it has run out of the checkout."""
    folder = tmp_path / "out"
    assert release.main(["-o", str(folder), "--tag", f"v{__version__}"]) == 0, capsys.readouterr().err
    wheel = folder / f"codenet-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    for name in DESIGNS:
        assert {f"codenet/bitstreams/{name}/{file}" for file in ("codenet.bit.xz", "codenet.hwh", "report.json")} <= {
            *names
        }
    programs = sorted(path.name for path in ZOO.glob("*.cdn"))
    assert {f"codenet/zoo/{name}" for name in programs} | {"codenet/notebooks/codenet.ipynb"} <= {*names}
    assert wheel.stat().st_size < release.MOST_BYTES
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sorted([*sums, "SHA256SUMS"]) == sorted(path.name for path in folder.iterdir())
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / "CHANGES.md").read_text() == f"# CoDeNet {__version__}\n\n- It finds cats.\n"
    text = (folder / "VERIFIED.md").read_text()
    digest = hashlib.sha256(bit("pynq-z2")).hexdigest()
    assert f"| pynq-z2 | pynq-z2, pynq-z1, arty-z7-20 | open | 100.00 | 0.25 | {digest} |\n" in text
    # As Markdown has it: headings and tables have an empty line before and behind them.
    blocks = text.removesuffix("\n").split("\n\n")
    assert all(len({line[:1] if line[:1] in "#|" else "" for line in block.split("\n")}) == 1 for block in blocks)
    assert sum(block.startswith("#") for block in blocks) == 5 and text.endswith("|\n")
    assert shelf.LABEL in text and "No bitstream" not in text
    assert re.search(r"`codenet detect` says on the golden model: `photo\.jpg: \d+ detections", text)
    assert "| a PYNQ-Z2" in text
    setup_on_a_board(wheel, tmp_path)


def setup_on_a_board(wheel, tmp_path):
    """The installed wheel's ``codenet setup`` on files that stand for a Zybo: its bitstream is installed, and the
    golden model, which stands for its driver, is well.
    """
    grow(tmp_path / "zybo", BOTH | LINUX)
    package, pip = tmp_path / "package", ["-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    release._python(tmp_path, [*pip, "--target", str(package), str(wheel)], package)
    setup = ["-m", "codenet", "setup", "--root", str(tmp_path / "zybo"), "--device", "golden"]
    lines = release._python(tmp_path, setup, package).splitlines()
    assert lines[-1] == "all is well" and lines[0].startswith("ok      board: Zybo Z7-20")
    installed = package / "codenet/zoo/bitstream/codenet.bit"
    assert installed.read_bytes() == bit("zybo-z7-20")
    path = write_bitstream(tmp_path)
    assert release._python(tmp_path, ["-c", PLACE_BITSTREAM], package).strip() == str(installed)  # As make flash does.
    assert installed.read_bytes() == path.read_bytes()


def test_without_bitstreams(checkout, tmp_path):
    """Those that are named, or all."""
    shutil.rmtree(tmp_path / "shelf" / "zybo-z7-20")
    prepared = release.prepare(checkout, ("zybo-z7-20",))
    assert list(prepared.bitstreams) == ["pynq-z2"]
    text = release.verified(prepared, checkout / "LICENSE", "nothing", "")
    assert "**No bitstream of zybo-z7-20**, for zybo-z7-20." in text
    lines = text.splitlines()
    tables = [n for n, line in enumerate(lines) if line.startswith("| ") and not lines[n - 1].startswith("|")]
    assert len(tables) >= 2
    for n in tables:
        assert lines[n + 1] == "|---" * (lines[n].count("|") - 1) + "|", "the line that makes rows a table"
    assert release.prepare(checkout, DESIGNS).bitstreams == {}


def test_missing_bitstream(checkout, tmp_path, capsys):
    shutil.rmtree(tmp_path / "shelf" / "zybo-z7-20")
    (line,) = refused(capsys)
    assert line.startswith("bitstream of zybo-z7-20: not on the shelf")
    assert line.endswith("or --without-bitstreams zybo-z7-20")
    assert release.main(["--without-bitstreams", "pynq-z1"]) == 2
    assert "--without-bitstreams pynq-z1: expected some of pynq-z2, zybo-z7-20" in capsys.readouterr().err


def test_what_does_not_belong_together(checkout, tmp_path, capsys):
    """A bitstream of another ISA, one of an accelerator that no program is for, one of other Verilog; a program of
    another ISA: a line each.
    """
    reports = {name: tmp_path / "shelf" / name / "report.json" for name in DESIGNS}
    of = json.loads(reports["pynq-z2"].read_text())["of"]
    change(reports["pynq-z2"], of=of | {"isa": ISA_VERSION + 1})
    change(reports["zybo-z7-20"], config=AcceleratorConfig(outputs=24).to_dict())
    path = checkout / "sw/codenet/zoo/codenet-a.cdn"
    data = bytearray(path.read_bytes())
    data[12] = ISA_VERSION + 1
    path.write_bytes(data)
    git(checkout, "commit", "--quiet", "--all", "--message", "a newer program")
    lines = refused(capsys)
    assert f"codenet-a.cdn: descriptor version {ISA_VERSION + 1}, of a later release" in lines[0]
    assert f"pynq-z2: for ISA version {ISA_VERSION + 1}: expected {ISA_VERSION}" in lines[1]
    assert lines[2].startswith("bitstream of zybo-z7-20: config: ")
    expected = "compiled for outputs 32: expected outputs 24, as the bitstream of zybo-z7-20"
    assert lines[3] == f"program codenet-b.cdn: {expected}"
    change(reports["pynq-z2"], of=of | {"verilog": "0123"})
    assert any(line.startswith("bitstream of pynq-z2: verilog: 0123 on the shelf") for line in refused(capsys))


def test_damaged_bitstream(checkout, tmp_path, capsys):
    (tmp_path / "shelf/pynq-z2/codenet.bit.xz").write_bytes(b"nothing")
    (line,) = refused(capsys)
    assert "codenet.bit.xz: damaged" in line


def test_versions_and_the_tree(checkout, capsys):
    commit(checkout, "CHANGELOG.md", f"## Unreleased\n\n- More.\n\n## {__version__}\n\n- It finds cats.\n")
    citation = (checkout / "CITATION.cff").read_text()
    commit(checkout, "CITATION.cff", citation.replace(f"version: {__version__}", "version: 9"))
    (checkout / "README.md").write_text("changed")
    (checkout / "new").write_text("new")
    assert refused(capsys, "--tag", "v9") == [
        f"working tree {checkout}: 2 files are not as committed, README.md first: commit or remove them",
        f"CHANGELOG.md: its newest entries are of Unreleased: expected {__version__}, the package's version",
        f"CITATION.cff: has no line 'version: {__version__}', the package's version",
        f"tag v9: expected v{__version__}, of the package's version",
    ]


@pytest.mark.slow
def test_wheel_that_does_not_work(checkout, tmp_path):
    commit(checkout, "sw/codenet/cli/__init__.py", "import codenet.gone\n")
    prepared = release.prepare(checkout, DESIGNS)
    with pytest.raises(CodenetError, match="rehearsal: -m codenet detect failed: .*codenet.gone"):
        release.make(prepared, checkout, tmp_path / "out")


def test_wheel_that_is_too_large(checkout, tmp_path, monkeypatch):
    large = tmp_path / "codenet.whl"
    large.write_bytes(bytes(15_000_001))
    monkeypatch.setattr(release, "build_wheel", lambda folder, source: large)
    with pytest.raises(CodenetError, match=r"codenet.whl: 15000001 bytes: expected at most 15000000"):
        release.make(release.prepare(checkout, DESIGNS), checkout, tmp_path / "out")


def test_outside_of_a_repository(tmp_path):
    with pytest.raises(ConfigError, match="git status failed"):
        release.prepare(tmp_path)
