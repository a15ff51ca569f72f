# SPDX-License-Identifier: Apache-2.0
"""A release: ``make release``, or ``python -m hw.flow.release``.

A wheel that needs no checkout: runtime, programs, notebook, and of every board that has one the bitstream with its
handoff file, from the shelf (:mod:`hw.flow.shelf`). Beside it what has changed, what was verified and how, and
checksums.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from codenet import command, files
from codenet.checkout import BUILD, ROOT
from codenet.devices.installation import Bitstream, unpack
from codenet.errors import CodenetError, ConfigError
from codenet.isa import ISA_VERSION
from codenet.program import Program
from hw.boards.board import BOARDS, Board
from hw.flow import shelf
from hw.flow.tools import git
from hw.flow.wheel import build_wheel

MOST_BYTES = 15_000_000
"""Of the wheel: minutes over a slow line, and little of a card."""

SOURCES = ("sw", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built of."""

PHOTO = "docs/photos/chelsea.jpg"

SUMS, CHANGES, VERIFIED = "SHA256SUMS", "CHANGES.md", "VERIFIED.md"

REHEARSAL = ["-m", "codenet", "detect", "photo.jpg", "--device", "golden", "-o", "boxes"]


@dataclass(frozen=True)
class Release:
    """What goes into one.

    Attributes
    ----------
    changes:
        Entry of the changelog.
    programs, bitstreams:
        By name of the file and of the design.
    without:
        Designs whose bitstream is left out.
    """

    version: str
    commit: str
    changes: str
    programs: Mapping[str, Program]
    bitstreams: Mapping[str, Bitstream]
    without: tuple[str, ...]


def prepare(root: Path, without: tuple[str, ...] = (), tag: str | None = None) -> Release:
    """What the checkout ``root`` would release.

    ``without``: designs whose bitstream is left out. ``tag``: of the commit, if it has one.

    Raises
    ------
    ConfigError
        Something is missing or does not belong together; a line for each.
    """
    problems = _dirty(root)
    version = _version(root)
    newest, changes = newest_changes((root / "CHANGELOG.md").read_text())
    if newest != version:
        problems.append(f"CHANGELOG.md: its newest entries are of {newest}: expected {version}, the package's version")
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text():
        problems.append(f"CITATION.cff: has no line 'version: {version}', the package's version")
    if tag is not None and tag != f"v{version}":
        problems.append(f"tag {tag}: expected v{version}, of the package's version")
    programs: dict[str, Program] = {}
    bitstreams: dict[str, Bitstream] = {}
    for path in sorted((root / "sw/codenet/zoo").glob("*.cdn")):
        with _collected(problems):
            programs[path.name] = Program.load(path)
    if not programs:
        problems.append(f"{root / 'sw/codenet/zoo'}: no programs")
    for board in designs():
        if board.name not in without:
            with _collected(problems):
                bitstreams[board.name] = _bitstream(board, programs, problems)
    if problems:
        raise ConfigError("cannot be released:\n  " + "\n  ".join(problems))
    return Release(version, git(root, "rev-parse", "HEAD").strip(), changes, programs, bitstreams, without)


def designs() -> Iterator[Board]:
    """Boards that bitstreams are made for."""
    return (board for board in BOARDS.values() if board.family is not None and board.design == board.name)


def newest_changes(changelog: str) -> tuple[str, str]:
    """Title and text of the first section of a changelog that has any."""
    sections = re.split(r"^## (.+)\n", changelog, flags=re.MULTILINE)[1:]
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        if text.strip():
            return title.strip(), text.strip()
    return "no version", ""


def make(release: Release, root: Path, folder: Path) -> Path:
    """Build the release in ``folder``, emptied first; returns the wheel.

    Raises
    ------
    CodenetError
        The wheel is too large, or does not work.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="codenet-release-") as temporary:
        source = Path(temporary) / "source"
        _stage(release, root, source)
        wheel = build_wheel(folder, source)
        size = wheel.stat().st_size
        if size > MOST_BYTES:
            raise CodenetError(f"{wheel}: {size} bytes: expected at most {MOST_BYTES}")
        found = rehearse(wheel, root / PHOTO, Path(temporary) / "board")
    files.write(folder / CHANGES, f"# CoDeNet {release.version}\n\n{release.changes}\n")
    files.write(folder / VERIFIED, verified(release, wheel, found, (root / "docs/board.md").read_text()))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    files.write(folder / SUMS, "".join(sums))
    return wheel


def rehearse(wheel: Path, photo: Path, folder: Path) -> str:
    """Install the wheel into an empty folder, without the network, and find objects there on the golden model, out of
    the checkout's sight; returns what the command says.

    Raises
    ------
    CodenetError
        With what failed.
    """
    package = folder / "package"
    folder.mkdir(parents=True)
    shutil.copy(photo, folder / "photo.jpg")
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    _python(folder, [*pip, "--target", str(package), str(wheel)], package)
    where = Path(_python(folder, ["-c", "import codenet; print(codenet.__file__)"], package).strip())
    if package not in where.parents:
        raise CodenetError(f"rehearsal: codenet comes from {where}: expected {package}")
    return _python(folder, REHEARSAL, package).strip()


def verified(release: Release, wheel: Path, found: str, board_page: str) -> str:
    """What is in a release, and what was verified how, for people; ``found`` is what the rehearsal said, ``board_page``
    has the table of what tests do for boards.
    """
    lines = [f"# CoDeNet {release.version}: what is in it, and what was verified how", ""]
    lines += [f"Commit {release.commit}, ISA version {ISA_VERSION}.", "", "## Bitstreams", ""]
    lines += ["| design | boards | flow | MHz | setup slack, ns | SHA-256 |", "|---|---|---|---|---|---|"]
    for name, bitstream in release.bitstreams.items():
        report, sharing = bitstream.report, ", ".join(BOARDS[name].sharing)
        values = f"{report['flow']} | {report['constraint']:.2f} | {report['wns']}"
        lines.append(f"| {name} | {sharing} | {values} | {report['bit_sha256']} |")
    lines += ["", *sorted({str(bitstream.report["label"]) for bitstream in release.bitstreams.values()})]
    lines += [f"**No bitstream of {name}**, for {', '.join(BOARDS[name].sharing)}." for name in release.without]
    lines += ["", "## Programs", "", "| program | accelerator | steps | SHA-256 of its memory |", "|---|---|---|---|"]
    for name, program in release.programs.items():
        config = ", ".join(f"{key} {value}" for key, value in program.config.to_dict().items())
        digest = hashlib.sha256(program.image).hexdigest()
        lines.append(f"| {name} | {config} | {len(program.descriptors)} | {digest} |")
    lines += ["", "## By this build", ""]
    said = found.splitlines()
    lines += [
        "- Programs and bitstreams are of the package's ISA version and of one accelerator; bitstreams are of this "
        "commit's Verilog, and meet the timing of their tools' reports.",
        f"- {wheel.name} ({wheel.stat().st_size} bytes) installs into an empty folder without the network.",
        f"- There, out of the checkout's sight, `codenet detect` says on the golden model: `{' / '.join(said)}`",
        "",
    ]
    _, _, table = board_page.partition("## What was tested, and how\n")
    return "\n".join([*lines, "## By the project's tests", "", table.split("\n## ")[0].strip(), ""])


def _bitstream(board: Board, programs: Mapping[str, Program], problems: list[str]) -> Bitstream:
    place = shelf.SHELF / board.name
    if not place.is_dir():
        raise ConfigError(
            f"bitstream of {board.name}: not on the shelf {shelf.SHELF}: make bitstream BOARD={board.name} and "
            f"python -m hw.flow.shelf {board.name}, or --without-bitstreams {board.name}"
        )
    bitstream = unpack(place)
    problems += [f"bitstream of {board.name}: {line}" for line in shelf.moved_on(board)]
    config = bitstream.report["config"]
    for name, program in programs.items():
        wanted = program.config.to_dict()
        if wanted != config:
            differing = [key for key in wanted if wanted[key] != config.get(key)]
            text = ", ".join(f"{key} {wanted[key]}" for key in differing)
            expected = ", ".join(f"{key} {config.get(key)}" for key in differing)
            problems.append(
                f"program {name}: compiled for {text}: expected {expected}, as the bitstream of {board.name}"
            )
    return bitstream


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Errors of a block as lines."""
    try:
        yield
    except (CodenetError, OSError) as error:
        problems.append(command.describe(error))


def _version(root: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"', (root / "sw/codenet/__init__.py").read_text(), re.MULTILINE)
    if not found:
        raise ConfigError(f"{root / 'sw/codenet/__init__.py'}: no __version__")
    return found[1]


def _dirty(root: Path) -> list[str]:
    changed = git(root, "status", "--porcelain").splitlines()
    if not changed:
        return []
    return [
        f"working tree {root}: {len(changed)} files are not as committed, {changed[0][3:]} first: commit or remove them"
    ]


def _stage(release: Release, root: Path, source: Path) -> None:
    """The tree that the wheel is built of: what is committed, and what the wheel alone has."""
    archive = subprocess.run(["git", "-C", str(root), "archive", release.commit, *SOURCES], capture_output=True)
    if archive.returncode:
        raise ConfigError(f"{root}: git archive failed: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(source, filter="data")
    package = source / "sw" / "codenet"
    for name in release.bitstreams:
        shutil.copytree(shelf.SHELF / name, package / "bitstreams" / name)
    (package / "notebooks").mkdir()
    for notebook in sorted((source / "sw" / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, package / "notebooks")
    shutil.copy(root / PHOTO, package / "notebooks")


def _python(folder: Path, arguments: list[str], package: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODENET_")}
    environment["PYTHONPATH"] = str(package)
    python = [sys.executable, *arguments]
    result = subprocess.run(python, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise CodenetError(f"rehearsal: {' '.join(arguments[:3])} failed: {said[-1]}")
    return result.stdout


def _run(options: argparse.Namespace) -> None:
    names = [board.name for board in designs()]
    without = tuple(names if options.without_bitstreams == [] else options.without_bitstreams or ())
    for name in without:
        if name not in names:
            raise ConfigError(f"--without-bitstreams {name}: expected some of {', '.join(names)}")
    release = prepare(ROOT, without, options.tag)
    folder = options.output or BUILD / "release"
    wheel = make(release, ROOT, folder)
    print(f"{wheel}, {CHANGES}, {VERIFIED}, {SUMS}: {wheel.stat().st_size / 1e6:.1f} MB")
    for name in release.without:
        print(f"without the bitstream of {name}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 if it cannot be released, with a line for each reason."""
    parser = command.Parser(prog="python -m hw.flow.release", description="Build a release from a clean checkout.")
    parser.add_argument(
        "--without-bitstreams",
        nargs="*",
        metavar="DESIGN",
        help="leave out these, or all if none is named; the list of what was verified says so",
    )
    parser.add_argument("--tag", help="the commit's tag: has to be v and the version")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="emptied first (default: build/release)")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
