# SPDX-License-Identifier: Apache-2.0
"""Flashing, against an SSH server of this machine whose "board" is a folder with a Python of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from codenet import Detector
from codenet.checkout import ROOT
from codenet.cli import command as cli
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.vision.image import load
from hw.flow import flash as module
from hw.flow.flash import DEFAULT_PROGRAM, PHOTO, Board, Cargo, Connection, FlashError, board_script, flash, main
from hw.flow.wheel import build_wheel
from tests.board.handoff import write_bitstream
from tests.networks import network

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
BORROWED = ("numpy", "numpy.libs", "PIL", "pillow.libs", "pip")

needs_doctor = pytest.mark.skipif(
    "doctor" not in cli._parser().format_help(), reason="this checkout has no codenet doctor"
)


@dataclass
class Desk:
    """A server, and what is on the board and beside it."""

    board: Board
    cargo: Cargo
    log: Path
    python: Path


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def await_server(port, server, log):
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    pytest.skip(f"sshd does not start here: {log.read_text().strip()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """SSH configuration of a server on this machine, for the host "board"."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("no SSH server on this system (Debian, Ubuntu: apt install openssh-server openssh-client)")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        make_key(folder / name)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Which sshd wants of root, and the service would make.
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n"
    )
    (folder / "config").write_text(
        f"Host board stranger\n  HostName 127.0.0.1\n  Port {port}\n  StrictHostKeyChecking no\n  BatchMode yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  IdentitiesOnly yes\n  LogLevel ERROR\n"
        f"Host board\n  IdentityFile {folder}/user\nHost stranger\n  IdentityFile {folder}/host\n"
        f"Host nobody\n  HostName 127.0.0.1\n  Port {free_port()}\n"
    )
    log = folder / "log"
    with log.open("w") as file:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=file)
    try:
        await_server(port, server, log)
        yield folder / "config"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def desk(server, wheel, tmp_path):
    home = tmp_path / "board"
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / "bin" / "python"
    site = next((home / "venv").glob("lib/python*/site-packages"))
    for name in BORROWED:
        found = Path(np.__file__).parents[1] / name
        if found.exists():
            (site / name).symlink_to(found)
    (tmp_path / "built").mkdir()
    write_bitstream(tmp_path / "built", "any name")
    compile_graph(network(32, equal_heads=True), AcceleratorConfig.small()).save(tmp_path / "small net.cdn")
    board = Board(
        "board",
        getpass.getuser(),
        str(home / "a folder"),
        str(python),
        device="golden",
        notebooks=str(home / "jupyter's notebooks"),
        ssh_config=server,
    )
    cargo = Cargo(wheel, tmp_path / "built" / "any name.bit", [tmp_path / "small net.cdn", DEFAULT_PROGRAM])
    return Desk(board, cargo, server.parent / "log", python)


def installed(desk):
    return next((desk.python.parents[1]).glob("lib/python*/site-packages/codenet"))


@needs_doctor
@pytest.mark.slow
def test_everything_arrives_and_runs(desk, tmp_path, capfd):
    notebooks = Path(desk.board.notebooks)
    notebooks.mkdir()
    picture = flash(desk.board, desk.cargo, tmp_path / "pictures")
    out = capfd.readouterr().out
    assert picture == tmp_path / "pictures" / "chelsea-detections.jpg"
    with Detector(desk.cargo.programs[0], "golden") as detector:
        expected = detector(PHOTO)
        drawn = detector.draw(PHOTO, expected)
        drawn.save(tmp_path / "expected.jpg", quality=90)
    assert np.array_equal(np.asarray(load(picture)), np.asarray(load(tmp_path / "expected.jpg")))
    assert [line for line in out.splitlines() if line.startswith("== ")] == [
        "== install",
        "== codenet doctor",
        "== codenet detect",
        f"== notebook in {notebooks}/codenet",
    ]
    assert set(os.listdir(notebooks / "codenet")) == {"codenet.ipynb", "chelsea.jpg"}
    assert f"chelsea.jpg: {len(expected)} detections" in out
    folder = Path(desk.board.folder)
    assert {"small net.cdn", "codenet-a.cdn", "codenet.bit", "codenet.hwh"} <= set(os.listdir(folder))
    for end in (".bit", ".hwh"):
        built = desk.cargo.bitstream.with_suffix(end)
        assert (installed(desk) / "zoo" / "bitstream" / f"codenet{end}").read_bytes() == built.read_bytes()
    flash(desk.board, replace(desk.cargo, bitstream=None), tmp_path / "pictures")  # A second time, over the first.


def test_the_end_of_what_a_tool_said():
    said = "".join(f"  line {n}  \n" for n in range(5))
    assert module._last_lines(said) == "line 2 / line 3 / line 4"
    assert module._last_lines("one\n") == "one"


def test_output_of_a_command_is_shown_or_kept(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(module.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(module.subprocess, "run", lambda arguments, **options: taken.append((arguments, options)))
    connection = Connection(Board("board", "somebody", "folder", "python"), tmp_path)
    connection.run("first")
    connection.run("second", show=True, terminal=True)
    (kept, kept_options), (shown, shown_options) = taken
    assert kept[-2:] == ["board", "first"] and "-tt" not in kept
    assert shown[-2:] == ["board", "second"] and "-tt" in shown
    assert (kept_options["stdout"], kept_options["stderr"]) == (subprocess.PIPE, subprocess.PIPE)
    assert (shown_options["stdout"], shown_options["stderr"]) == (None, None)


def test_what_goes_to_the_board():
    """The notebook goes along with its photo, which is sent once."""
    cargo = Cargo(Path("codenet.whl"), Path("built/z2.bit"))
    both = {"codenet.bit": Path("built/z2.bit"), "codenet.hwh": Path("built/z2.hwh")}
    expected = {p.name: p for p in (cargo.wheel, DEFAULT_PROGRAM, PHOTO, module.NOTEBOOK)} | both
    street = replace(cargo, bitstream=None, photo=Path("street.jpg"))
    for sent, files in ((cargo, expected), (street, expected.keys() - both | {"street.jpg"})):
        assert sorted(name for _, name in sent.files()) == sorted(files)
    assert {name: path for path, name in cargo.files()} == expected


def broken(desk, tmp_path, capfd):
    with pytest.raises(FlashError) as error:
        flash(desk.board, desk.cargo, tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
    return str(error.value), capfd.readouterr().out


@pytest.mark.slow
def test_doctor_that_finds_something(desk, tmp_path, capfd):
    desk.board = replace(desk.board, device="fpga9")
    message, out = broken(desk, tmp_path, capfd)
    assert message == "codenet doctor found something wrong on board; its output is above"
    assert "== codenet doctor" in out and "== codenet detect" not in out
    assert installed(desk).is_dir()


@pytest.mark.slow
def test_wheel_that_cannot_be_installed(desk, tmp_path, capfd):
    (tmp_path / "codenet-9-py3-none-any.whl").write_text("no wheel")
    desk.cargo = replace(desk.cargo, wheel=tmp_path / "codenet-9-py3-none-any.whl")
    message, out = broken(desk, tmp_path, capfd)
    assert message == "installing the wheel failed on board; its output is above"
    assert "== codenet doctor" not in out


@pytest.mark.slow
def test_board_without_numpy(desk, tmp_path, capfd):
    next(desk.python.parents[1].glob("lib/python*/site-packages/numpy")).unlink()
    message, out = broken(desk, tmp_path, capfd)
    assert message.startswith("installing the wheel failed")
    assert "needed: Python 3.10 or later, NumPy, Pillow, pip" in out


@pytest.mark.slow
def test_no_root(desk, tmp_path, capfd):
    """A ``sudo`` that wants a password where nobody can give one ends with status 1."""
    desk.board = replace(desk.board, sudo="false")
    message, out = broken(desk, tmp_path, capfd)
    assert "no root shell on board" in message and "== install" not in out


@pytest.mark.slow
def test_sudo_is_used(desk, tmp_path, capfd):
    desk.board = replace(desk.board, sudo="echo as root:")
    with pytest.raises(FlashError, match="copying failed"):  # As nothing has run, there is no picture.
        flash(desk.board, desk.cargo, tmp_path / "pictures")
    assert f"as root: bash -l {desk.board.folder}/flash.sh" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("host", "reason"), [("nobody", "refused"), ("stranger", "Permission denied")])
def test_board_that_cannot_be_reached(desk, tmp_path, capfd, host, reason):
    desk.board = replace(desk.board, host=host)
    message, _ = broken(desk, tmp_path, capfd)
    assert message.startswith(f"{desk.board.user}@{host}: no connection: ") and reason in message


@pytest.mark.slow
def test_folder_that_cannot_be_made(desk, tmp_path, capfd):
    desk.board = replace(desk.board, folder=str(desk.python / "below a file"))
    assert "cannot be made" in broken(desk, tmp_path, capfd)[0]


@pytest.mark.parametrize("missing", ["ssh", "scp"])
def test_tool_that_is_missing(monkeypatch, tmp_path, missing):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *more: None if name == missing else which(name, *more) or name)
    with pytest.raises(FlashError, match=f"{missing} is not on this system .*openssh-client"):
        flash(Board("board"), Cargo(tmp_path / "w.whl", None), tmp_path)


def test_connection_is_one_and_of_the_boards_user(monkeypatch, tmp_path):
    """A password is asked for once: what the second command needs, the first one leaves."""
    commands = []
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    Connection(replace(Board("board"), user="somebody"), tmp_path).run("true")
    (command,) = commands
    options = [value for option, value in zip(command, command[1:], strict=False) if option == "-o"]
    assert command[0] == "ssh" and command[-2:] == ["board", "true"]
    assert {"User=somebody", "ControlMaster=auto", f"ControlPath={tmp_path}/%C"} < {*options} and len(options) == 5


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert status == 2 and not captured.out
    assert captured.err.startswith("hw.flow.flash: error: ")
    return captured.err


def test_bad_input_is_told_before_anything_happens(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "build_wheel", None)
    monkeypatch.setattr(module, "Connection", None)
    assert "make flash HOST=pynq" in run(capsys, "", "--no-bitstream")
    missing = tmp_path / "codenet.bit"
    assert f"{missing}: no such file; build it with make bitstream" in run(capsys, "pynq", "--bitstream", missing)
    missing.touch()
    assert f"{missing.with_suffix('.hwh')}: no such file" in run(capsys, "pynq", "--bitstream", missing)
    assert "build/ultra96/codenet.bit: no such file" in run(capsys, "pynq", "--board", "ultra96")
    (tmp_path / "notes.cdn").write_text("no program")
    notes = run(capsys, "pynq", "--no-bitstream", "--programs", tmp_path / "notes.cdn")
    assert "notes.cdn: expected a CoDeNet program file" in notes
    assert "notes.cdn" in run(capsys, "pynq", "--no-bitstream", "--photo", tmp_path / "notes.cdn")
    twice = ("--programs", DEFAULT_PROGRAM, DEFAULT_PROGRAM)
    assert "codenet-a.cdn: two files" in run(capsys, "pynq", "--no-bitstream", *twice)


def test_script_is_one_that_a_shell_reads(tmp_path):
    """Names with blanks and quotes stay whole."""
    board = Board("b", python="/a b/python'3")
    script = board_script(
        board, Cargo(Path("c.whl"), None, [Path("x/my net.cdn")], Path("p/a photo.jpg")), "/home/it's"
    )
    (tmp_path / "s.sh").write_text(script)
    assert subprocess.run(["bash", "-n", str(tmp_path / "s.sh")]).returncode == 0
    assert "--device pynq" in script, "auto would be content with the golden model"
    assert "'my net.cdn'" in script and "'a photo.jpg'" in script and "codenet.bit" not in script


def make(*arguments):
    command = ["make", "-n", "flash", *arguments]
    environment = {**os.environ, "USER": "somebody", "PYTHON": sys.executable}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_make_passes_what_it_is_given_and_not_the_name_of_this_user():
    (line,) = [line for line in make("HOST=pynq").stdout.splitlines() if "hw.flow.flash" in line]
    assert line.split()[1:] == ["-m", "hw.flow.flash", "pynq", "--board", "pynq-z2"]
    given = ("HOST=10.0.0.5", "USER=root", "DEVICE=uio", "PROGRAMS=a.cdn b.cdn", "BITSTREAM=x.bit", "BOARD=ultra96")
    (line,) = [line for line in make(*given).stdout.splitlines() if "hw.flow.flash" in line]
    expected = "10.0.0.5 --user root --device uio --board ultra96 --bitstream x.bit --programs a.cdn b.cdn"
    assert line.split()[3:] == expected.split()
    assert "HOST=pynq" in make().stdout + make().stderr
