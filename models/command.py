# SPDX-License-Identifier: Apache-2.0
"""What the commands of this package share beyond `codenet.command`: arguments, interruption, places for outputs."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from codenet.command import describe
from codenet.errors import CodenetError
from codenet.files import check_output


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


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path] = ()) -> None:
    """Make the folders of ``outputs``; errors of `check_folder`, and of `codenet.files.check_output` for each."""
    inputs = list(inputs)
    for path in outputs:
        check_folder(path.parent)
        check_output(path, inputs)
