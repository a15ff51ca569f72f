# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: their exit status, and one line on standard error for whatever ends them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from codenet.errors import CodenetError, DeviceError

SUCCESS, FAILURE, BAD_INPUT = 0, 1, 2

INTERRUPTED = 130
"""What shells say of a command that the keyboard has interrupted."""


def run(name: str, work: Callable[[], int | None]) -> int:
    """Exit status of the command ``name``, whose work is ``work``.

    What ``work`` returns, ``None`` being 0; otherwise, with one line on standard error: 1 if a device failed, 2 for any
    other error of this project or of the operating system, 130 if interrupted; 1, and no line, if nobody reads the
    output any more. Characters that the terminal has not are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = work() or SUCCESS
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return FAILURE
    except KeyboardInterrupt:
        return _say(name, "interrupted", INTERRUPTED)
    except (CodenetError, OSError, MemoryError) as error:
        return report(name, error)
    finally:
        _settle()


def report(name: str, error: CodenetError | OSError | MemoryError) -> int:
    """Print an error as one line on standard error; returns the exit status that it means."""
    text = "not enough memory" if isinstance(error, MemoryError) else str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return _say(name, f"error: {text}", FAILURE if isinstance(error, DeviceError) else BAD_INPUT)


def _say(name: str, text: str, status: int) -> int:
    print(f"{name}: {' '.join(text.split())}", file=sys.stderr)
    return status


def _settle() -> None:
    """The interpreter flushes once more at exit, and shall not complain of a pipe or a disk that takes nothing."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
