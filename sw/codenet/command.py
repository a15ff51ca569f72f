# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: their exit status, and one line on standard error for whatever ends them."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from codenet.errors import CodenetError, DeviceError

SUCCESS, FAILURE, BAD_INPUT = 0, 1, 2

INTERRUPTED = 130
"""What shells say of a command that the keyboard has interrupted."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on standard error."""
        self.exit(_say(self.name, f"error: {message} (--help lists all arguments)", BAD_INPUT))

    @property
    def name(self) -> str:
        """What messages call the command: ``models.train`` for the program ``python -m models.train``."""
        return self.prog.removeprefix("python -m ")


def main(parser: Parser, work: Callable[[argparse.Namespace], int | None], arguments: Sequence[str] | None) -> int:
    """:func:`run` ``work`` with the options that ``parser`` reads from ``arguments`` (None: the command line)."""
    return run(parser.name, lambda: work(parser.parse_args(arguments)))


def run(name: str, work: Callable[[], int | None]) -> int:
    """Exit status of the command ``name``, whose work is ``work``.

    What ``work`` returns, ``None`` being 0; otherwise, with one line on standard error: 1 if a device failed, 2 for any
    other error of this project or of the operating system, 130 if interrupted, with what the interrupt says; 1, and no
    line, if nobody reads the output any more. Lines of an error that are indented, a list below the first, stay lines
    of their own. Characters that the terminal has not are printed as escapes. Ctrl-C raises KeyboardInterrupt, whatever
    handler it had.
    """
    if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = work() or SUCCESS
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return FAILURE
    except KeyboardInterrupt as stop:
        return _say(name, f"interrupted: {stop}" if str(stop) else "interrupted", INTERRUPTED)
    except (CodenetError, OSError, MemoryError) as error:
        return report(name, error)
    finally:
        _settle()


def report(name: str, error: CodenetError | OSError | MemoryError) -> int:
    """Print an error as one line on standard error; returns the exit status that it means."""
    return _say(name, f"error: {describe(error)}", FAILURE if isinstance(error, DeviceError) else BAD_INPUT)


def describe(error: BaseException) -> str:
    """What an error says, for people: of the operating system's, the file and the reason."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return "not enough memory" if isinstance(error, MemoryError) else str(error)


def _say(name: str, text: str, status: int) -> int:
    lines = [" ".join(line.split()) for line in re.split(r"\n(?=  )", text)]
    print(f"{name}: " + "\n  ".join(lines), file=sys.stderr)
    return status


def _settle() -> None:
    """The interpreter flushes once more at exit, and shall not complain of a pipe or a disk that takes nothing."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
