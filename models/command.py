# SPDX-License-Identifier: Apache-2.0
"""What the commands of this package share: one-line errors, exit status, interruption, whole outputs.

Exit status: 0 success, 2 a bad argument, file or place to write to, 130 interrupted (Ctrl-C).
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import math
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from codenet.errors import CodenetError

BAD_INPUT, INTERRUPTED = 2, 130


class OutputError(CodenetError):
    """An output cannot be written, on a full disk for example; what was there before is as it was."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message} (--help lists all arguments)\n")


def number(kind: type[int] | type[float], low: float, high: float = math.inf) -> Callable[[str], Any]:
    """Type of an argument: a finite ``kind`` from ``low`` to ``high``."""
    name = "a whole number" if kind is int else "a number"
    expected = f"expected {name} of {low} or more" if high == math.inf else f"expected {name} of {low} to {high}"

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, {expected}") from None
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text}, {expected}")
        return value

    return read


def exit_status(work: Callable[[], int | None]) -> int:
    """Exit status of a command: what ``work`` returns, None being 0; one line on standard error for what goes wrong.

    2 for `CodenetError` and `OSError`, 130 for Ctrl-C, whose exception may say what becomes of the work.
    A name that the terminal has no characters for is printed with escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop}" if str(stop) else "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads any more; the interpreter flushes once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CodenetError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {describe(error)}", file=sys.stderr)
    return BAD_INPUT


def describe(error: OSError) -> str:
    """The file and what the system says of it."""
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def duration(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def sheltered() -> Iterator[None]:
    """Processes started in the body ignore Ctrl-C: the one that started them is interrupted, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_on_termination() -> None:
    """SIGTERM interrupts this process as Ctrl-C would: what is half written is removed. Nothing in other threads."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path``, of the same suffix, for the body to write; the complete file then takes the name.

    `OutputError` naming ``path`` if it cannot be written.
    """
    partial = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            # What the body's writer itself writes beside is named after it.
            for left in path.parent.glob(f"{glob.escape(partial.name)}*"):
                left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all; `OutputError` naming it if that fails."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as a JSON file, complete or not at all; `OutputError` naming it if that fails."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def check_folder(path: Path) -> None:
    """Make the folder ``path``; `CodenetError` if that is impossible or nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise CodenetError(f"{path}: is a file, expected a folder to write into") from None
    except OSError as error:
        raise CodenetError(f"{path}: no place to write to: {describe(error)}") from error


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | None] = ()) -> None:
    """`CodenetError` unless each file of ``outputs`` can be written, and none of them is one of ``inputs``.

    Missing folders are made.
    """
    read = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path.is_dir():
            raise CodenetError(f"{path}: is a folder, expected a file to write")
        if path.resolve() in read:
            raise CodenetError(f"{path}: is an input of this command, expected another file to write")
        check_folder(path.parent)
