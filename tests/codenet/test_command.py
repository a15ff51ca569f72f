# SPDX-License-Identifier: Apache-2.0
"""How every command ends: status and one line, whatever happens."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from codenet import command
from codenet.errors import CodenetError, DeviceError, DeviceTimeout, FormatError

RUN = "import sys; from codenet import command; sys.exit(command.run('tool', lambda: {}))"


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (FormatError("a file:\nbroken"), 2, "tool: error: a file: broken"),
        (FormatError("2 problems\n  a\nb\n  c"), 2, "tool: error: 2 problems\n  a b\n  c"),
        (CodenetError("no"), 2, "tool: error: no"),
        (DeviceError("gone"), 1, "tool: error: gone"),
        (DeviceTimeout("late"), 1, "tool: error: late"),
        (FileNotFoundError(2, "No such file", "x.jpg"), 2, "tool: error: x.jpg: No such file"),
        (OSError(28, "No space left on device"), 2, "tool: error: No space left on device"),
        (MemoryError(), 2, "tool: error: not enough memory"),
        (KeyboardInterrupt(), 130, "tool: interrupted"),
        (KeyboardInterrupt("all is saved"), 130, "tool: interrupted: all is saved"),
    ],
)
def test_errors_are_one_line(capsys, error, status, line):
    assert command.run("tool", raising(error)) == status
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize(("program", "name"), [("tool", "tool"), ("python -m models.train", "models.train")])
def test_wrong_arguments_are_one_line(capsys, program, name):
    parser = command.Parser(prog=program)
    parser.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--count", "a\nb"])
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith(f"{name}: error: argument --count: ") and text.index("\n") == len(text) - 1
    assert text.endswith("(--help lists all arguments)\n")


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_status_is_what_work_returns(returned, status):
    assert command.run("tool", lambda: returned) == status


def test_a_mistake_of_ours_is_no_message():
    with pytest.raises(ZeroDivisionError):
        command.run("tool", raising(ZeroDivisionError()))


def test_a_terminal_without_a_character(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert command.run("tool", lambda: print("caf\u00e9 \udcff")) == 0
    assert written.getvalue() == b"caf\\xe9 \\udcff\n"


def run(work, **options):
    return subprocess.run([sys.executable, "-c", RUN.format(work)], stderr=subprocess.PIPE, text=True, **options)


def test_a_full_disk_behind_the_output():
    with open("/dev/full", "w") as full:
        done = run("print('x')", stdout=full)
    assert (done.returncode, done.stderr) == (2, "tool: error: No space left on device\n")


def test_nobody_reads_the_output():
    read, write = os.pipe()
    os.close(read)
    done = run("print('x' * 100000)", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c():
    words = [sys.executable, "-c", RUN.format("[print('up', flush=True), __import__('time').sleep(60)]")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "tool: interrupted\n")
