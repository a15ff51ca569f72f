# SPDX-License-Identifier: Apache-2.0
"""From here onto a board over SSH: ``make flash HOST=pynq``, or ``python -m hw.flow.flash HOST``.

Copies the wheel, the bitstream and programs, installs, and shows that it works: ``codenet doctor`` and a photo run on
the board, and the photo comes back with its boxes. Only ``ssh`` and ``scp`` are needed here, Python 3.10 with NumPy and
Pillow there.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codenet import command
from codenet.checkout import BUILD, PHOTOS, ROOT
from codenet.devices.boards import BOARDS
from codenet.devices.installation import BIT
from codenet.errors import CodenetError, DeviceError
from codenet.program import Program
from codenet.vision.image import load
from codenet.zoo import DEFAULT_PROGRAM
from hw.flow import shelf
from hw.flow.wheel import build_wheel

PHOTO = PHOTOS / "chelsea.jpg"
NOTEBOOK = ROOT / "sw" / "notebooks" / "codenet.ipynb"

CONNECT_SECONDS = 15

INSTALL, PLACE, DOCTOR, DETECT, COPY_NOTEBOOK = 11, 12, 13, 14, 15
"""Exit statuses of the steps on the board."""

FAILURES = {
    INSTALL: "installing the wheel failed on {host}",
    PLACE: "the bitstream cannot be put beside the package on {host}",
    DOCTOR: "codenet doctor found something wrong on {host}",
    DETECT: "finding objects in a photo failed on {host}",
    COPY_NOTEBOOK: "the notebook cannot be copied to Jupyter's folder on {host}",
    255: "the connection to {host} broke",
    1: "no root shell on {host}: log in as root (USER=root), or let sudo do without a password",
}

CHECK_PYTHON = "import sys; assert sys.version_info >= (3, 10), sys.version; import numpy, PIL, pip"

PLACE_BITSTREAM = (
    "import sys; from pathlib import Path; from codenet.command import run; "
    "from codenet.devices.installation import install, of_file; "
    "sys.exit(run('codenet', lambda: print(install(of_file(Path('codenet.bit'))))))"
)


class FlashError(CodenetError):
    """What stopped it, and what to do."""


class BoardError(FlashError, DeviceError):
    """The board cannot be reached, or something failed on it."""


@dataclass(frozen=True)
class Board:
    """How to reach a board, and what is where on it.

    Attributes
    ----------
    folder:
        On the board, relative to the home folder or absolute.
    python:
        The interpreter that has NumPy and Pillow, and on PYNQ images pynq, in a root login shell.
    sudo:
        Command that runs another one as root; ``None``: ``sudo``, unless the user is root.
    device:
        Of doctor and photo. Not ``auto``, which would be content with the golden model.
    notebooks:
        Jupyter's folder on the board, where the notebook goes if there is one.
    ssh_config:
        Instead of ``~/.ssh/config``.
    """

    host: str
    user: str = "xilinx"
    folder: str = "codenet"
    python: str = "python3"
    sudo: str | None = None
    device: str = "pynq"
    notebooks: str = "/home/xilinx/jupyter_notebooks"
    ssh_config: Path | None = None


@dataclass(frozen=True)
class Cargo:
    """Files for the board. ``bitstream``: a ``.bit`` with its ``.hwh`` beside it; ``None``: the board has one."""

    wheel: Path
    bitstream: Path | None
    programs: Sequence[Path] = field(default=(DEFAULT_PROGRAM,))
    photo: Path = PHOTO

    def files(self) -> list[tuple[Path, str]]:
        """Each with its name on the board."""
        files = [(self.wheel, self.wheel.name), (self.photo, self.photo.name)]
        files += [(program, program.name) for program in self.programs]
        if self.bitstream is not None:
            files += [(self.bitstream.with_suffix(end), "codenet" + end) for end in (".bit", ".hwh")]
        files += [(file, file.name) for file in (NOTEBOOK, PHOTO) if file != self.photo]
        return files

    def check(self) -> None:
        """Look at every file before anything is sent.

        Raises
        ------
        FlashError, FormatError, FileNotFoundError
            One is missing, or not what it should be.
        """
        if self.bitstream is not None:
            for end in (".bit", ".hwh"):
                path = self.bitstream.with_suffix(end)
                if not path.is_file():
                    raise FlashError(
                        f"{path}: no such file; build it with make bitstream, or name another with BITSTREAM="
                    )
        for program in self.programs:
            Program.load(program)
        load(self.photo)
        names = [name for _, name in self.files()]
        for name in names:
            if names.count(name) > 1:
                raise FlashError(f"{name}: two files of this name would overwrite each other on the board")


class Connection:
    """``ssh`` and ``scp`` to one board, over one connection, so that a password is asked for once."""

    def __init__(self, board: Board, sockets: Path) -> None:
        for tool in ("ssh", "scp"):
            if shutil.which(tool) is None:
                raise FlashError(f"{tool} is not on this system (Debian, Ubuntu: apt install openssh-client)")
        self.board = board
        self._options = ["-F", str(board.ssh_config)] if board.ssh_config is not None else []
        for option in (
            f"User={board.user}",
            f"ConnectTimeout={CONNECT_SECONDS}",
            "ControlMaster=auto",
            f"ControlPath={sockets}/%C",
            "ControlPersist=60",
        ):
            self._options += ["-o", option]

    def run(self, command: str, *, show: bool = False, terminal: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the board, its output shown as it comes, or kept."""
        kept = None if show else subprocess.PIPE
        ssh = ["ssh", *(["-tt"] if terminal else []), *self._options, self.board.host, command]
        return subprocess.run(ssh, stdout=kept, stderr=kept, text=True, errors="replace")

    def need(self, command: str, otherwise: str) -> str:
        """Output of a command that must succeed; ``otherwise`` says what it means if it does not.

        Raises
        ------
        BoardError
            It fails, or the board cannot be reached.
        """
        result = self.run(command)
        if result.returncode == 255:
            raise BoardError(f"{self._target}: no connection: {_last_lines(result.stderr)}")
        if result.returncode:
            raise BoardError(f"{self._target}: {otherwise}: {_last_lines(result.stderr) or result.returncode}")
        return result.stdout

    def copy(self, sources: Sequence[str], target: str) -> None:
        """``scp``; paths on the board are written ``:path``.

        Raises
        ------
        BoardError
            It fails.
        """
        paths = [f"{self.board.host}{path}" if path.startswith(":") else path for path in (*sources, target)]
        result = subprocess.run(
            ["scp", "-q", *self._options, *paths], stderr=subprocess.PIPE, text=True, errors="replace"
        )
        if result.returncode:
            raise BoardError(f"{self._target}: copying failed: {_last_lines(result.stderr)}")

    def close(self) -> None:
        """End the shared connection."""
        subprocess.run(["ssh", *self._options, "-O", "exit", self.board.host], capture_output=True)

    @property
    def _target(self) -> str:
        return f"{self.board.user}@{self.board.host}"


def flash(board: Board, cargo: Cargo, pictures: Path) -> Path:
    """Copy, install, run; returns the photo with boxes, in the folder ``pictures``.

    Raises
    ------
    FlashError
        Names the step; what the board said has been printed.
    FormatError, FileNotFoundError
        A file is not what it should be.
    """
    cargo.check()
    with tempfile.TemporaryDirectory(prefix="codenet-ssh-") as sockets:
        connection = Connection(board, Path(sockets))
        try:
            return _flash(connection, cargo, pictures)
        finally:
            connection.close()


def _flash(connection: Connection, cargo: Cargo, pictures: Path) -> Path:
    board = connection.board
    is_root = connection.need("id -u", "no shell").strip() == "0"
    folder = shlex.quote(board.folder)
    home = connection.need(f"mkdir -p {folder} && cd {folder} && pwd", f"folder {board.folder} cannot be made").strip()
    with tempfile.TemporaryDirectory(prefix="codenet-flash-") as local:
        for source, name in cargo.files():
            shutil.copy(source, Path(local) / name)
        (Path(local) / "flash.sh").write_text(board_script(board, cargo, home))
        print(f"copying {len(cargo.files())} files to {board.host}:{home}", flush=True)
        connection.copy([str(path) for path in sorted(Path(local).iterdir())], f":{home}/")
    sudo = board.sudo if board.sudo is not None else "" if is_root else "sudo"
    terminal = bool(sudo) and sys.stdin.isatty()  # For the password.
    if sudo == "sudo" and not terminal:
        sudo = "sudo -n"
    status = connection.run(f"{sudo} bash -l {shlex.quote(home)}/flash.sh", show=True, terminal=terminal).returncode
    if status:
        what = FAILURES.get(status, f"flash.sh stopped on {{host}} with status {status}")
        raise BoardError(what.format(host=board.host) + "; its output is above")
    pictures.mkdir(parents=True, exist_ok=True)
    picture = f"{cargo.photo.stem}-detections.jpg"
    connection.copy([f":{home}/boxes/{picture}"], str(pictures))
    return pictures / picture


def board_script(board: Board, cargo: Cargo, folder: str) -> str:
    """Shell script that installs and tries what has been copied to ``folder``. Run by a root login shell, which PYNQ
    images set up for pynq.
    """
    python = shlex.quote(board.python)
    program = shlex.quote(cargo.programs[0].name)
    device = shlex.quote(board.device)
    photo = shlex.quote(cargo.photo.name)
    pip = "-m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall"
    place = f"{python} -c {shlex.quote(PLACE_BITSTREAM)} || exit {PLACE}\n" if cargo.bitstream is not None else ""
    notebooks = shlex.quote(board.notebooks)
    return f"""\
cd {shlex.quote(folder)} || exit {INSTALL}
echo "== install"
{python} -c {shlex.quote(CHECK_PYTHON)} || {{
    echo "needed: Python 3.10 or later, NumPy, Pillow, pip"
    exit {INSTALL}
}}
{python} {pip} {shlex.quote(cargo.wheel.name)} || exit {INSTALL}
{place}echo "== codenet doctor"
{python} -m codenet doctor --device {device} --program {program} || exit {DOCTOR}
echo "== codenet detect"
{python} -m codenet detect {photo} --program {program} --device {device} -o boxes || exit {DETECT}
chmod -R a+rX boxes
if [ -d {notebooks} ] && [ -f {NOTEBOOK.name} ]; then
    mkdir -p {notebooks}/codenet && cp {NOTEBOOK.name} {PHOTO.name} {notebooks}/codenet || exit {COPY_NOTEBOOK}
    echo "== notebook in" {notebooks}/codenet
fi
exit 0
"""


def _bitstream(board: str) -> Path:
    """The one that was built, or otherwise the one that lies in the repository."""
    built = BUILD / BOARDS[board].design / BIT
    if not built.exists() and (shelved := shelf.take(board, BUILD / "shelf" / board)) is not None:
        print(f"no {built}: the repository's bitstream is taken. {shelf.LABEL}", flush=True)
        return shelved
    return built


def _last_lines(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-3:])


def _run(options: argparse.Namespace) -> None:
    if not options.host:
        raise FlashError("no host: make flash HOST=pynq, the name or address of the board")
    board = Board(
        options.host,
        options.user,
        options.folder,
        options.python,
        options.sudo,
        options.device,
        ssh_config=options.ssh_config,
    )
    build = BUILD / options.board
    bitstream = None if options.no_bitstream else options.bitstream or _bitstream(options.board)
    cargo = Cargo(Path("codenet.whl"), bitstream, options.programs or [DEFAULT_PROGRAM], options.photo)
    cargo.check()  # Before the wheel is built.
    wheel = build_wheel(BUILD / "wheel")
    picture = flash(board, Cargo(wheel, bitstream, cargo.programs, cargo.photo), build)
    print(f"written: {picture}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; status 1 if the board cannot be reached, or something fails there."""
    parser = command.Parser(prog="python -m hw.flow.flash", description="Copy to a board over SSH, install, and try.")
    parser.add_argument("host", help="name or address of the board")
    parser.add_argument("--user", default="xilinx", help="default: xilinx, the user of PYNQ images")
    parser.add_argument(
        "--board",
        choices=sorted(BOARDS),
        default="pynq-z2",
        help="whose bitstream: build/BOARD/codenet.bit, or else the repository's (default: pynq-z2)",
    )
    parser.add_argument("--bitstream", type=Path, metavar="FILE", help="another .bit, its .hwh beside it")
    parser.add_argument("--no-bitstream", action="store_true", help="the board has one")
    parser.add_argument("--programs", nargs="*", type=Path, default=[], metavar="FILE", help="default: the package's")
    parser.add_argument(
        "--photo", type=Path, default=PHOTO, metavar="FILE", help="to try (default: docs/photos/chelsea.jpg)"
    )
    parser.add_argument("--device", default="pynq", help="of doctor and photo: pynq (default), or uio on plain Linux")
    parser.add_argument("--folder", default="codenet", help="on the board (default: codenet, in the home folder)")
    parser.add_argument("--python", default="python3", metavar="COMMAND", help="on the board (default: python3)")
    parser.add_argument("--sudo", metavar="COMMAND", help="default: sudo, unless the user is root")
    parser.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of ~/.ssh/config")
    return command.main(parser, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
