# SPDX-License-Identifier: Apache-2.0
"""Programs that a build needs: found by a variable or on PATH, missed with a hint, run with their output in a log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codenet.errors import CodenetError, ConfigError

LOG_LINES = 12
"""Of a failed program's output, in the error."""


class BuildError(CodenetError):
    """A tool is missing or failed, or what it wrote is not understood."""


class TimingError(BuildError):
    """The design is implemented, but not fast enough."""


@dataclass(frozen=True)
class Tool:
    """A program or file that a flow needs.

    Attributes
    ----------
    names:
        Programs to look for on PATH, in order; none for a file or folder that only the variable, or ``places``, can
        name.
    variable:
        Environment variable that names it; goes before PATH.
    hint:
        Where to get it.
    places:
        Paths where it usually is.
    on_path:
        Whether PATH is searched.
    """

    names: tuple[str, ...]
    variable: str
    hint: str
    places: tuple[str, ...] = ()
    on_path: bool = True

    def find(self) -> Path | None:
        """Its path; none if it is nowhere.

        Raises
        ------
        BuildError
            The variable is set, but not to something that exists, or to a file that cannot be run.
        """
        value = os.environ.get(self.variable)
        if value:
            path = Path(value).expanduser()
            if not path.exists():
                raise BuildError(f"{self.variable} = {value}: no such file or folder")
            if self.names and not os.access(path, os.X_OK):
                raise BuildError(f"{self.variable} = {value}: expected a program")
            return path.absolute()
        for name in self.names if self.on_path else ():
            found = shutil.which(name)
            if found:
                return Path(found)
        return next((Path(place) for place in self.places if Path(place).exists()), None)

    @property
    def missing(self) -> str:
        """What to tell where there is none."""
        name = self.names[0] if self.names else self.variable
        where = f"not on PATH, and {self.variable} is not set" if self.names else "not set"
        return f"{name}: {where}; {self.hint}"


def require(tools: Sequence[Tool]) -> list[Path]:
    """Paths of all tools.

    Raises
    ------
    BuildError
        Some are missing; a line for each.
    """
    found = [tool.find() for tool in tools]
    missing = [tool.missing for tool, path in zip(tools, found, strict=True) if path is None]
    if missing:
        raise BuildError("missing for this flow:\n  " + "\n  ".join(missing))
    return [path for path in found if path is not None]


def run(command: Sequence[str | Path], folder: Path, log: str, output: str | None = None) -> str:
    """Run a program in ``folder``, what it says in file ``log`` there, or its standard output in file ``output``
    instead.

    Returns
    -------
    The log.

    Raises
    ------
    BuildError
        It cannot be started, or ended with an error; the end of the log is in the message.
    """
    words = [str(word) for word in command]
    print(f"{Path(words[0]).name}: see {folder / log}", file=sys.stderr, flush=True)
    with open(folder / log, "wb") as log_file, open(folder / (output or log), "ab" if output is None else "wb") as out:
        try:
            result = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log_file)
        except OSError as error:
            raise BuildError(f"{words[0]}: cannot be run: {error.strerror}") from error
    text = (folder / log).read_text(errors="replace")
    if result.returncode:
        tail = "\n  ".join(text.splitlines()[-LOG_LINES:])
        raise BuildError(f"{Path(words[0]).name} ended with status {result.returncode}, see {folder / log}:\n  {tail}")
    return text


def git(root: Path, *arguments: str) -> str:
    """What a command of git says about the checkout ``root``.

    Raises
    ------
    ConfigError
        It fails.
    """
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if result.returncode:
        raise ConfigError(f"{root}: git {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout
