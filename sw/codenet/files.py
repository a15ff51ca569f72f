# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, never over an input; archives of arrays, read whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

AnyPath: TypeAlias = "str | os.PathLike[str]"


def write(path: AnyPath, data: bytes | str, *, inputs: Iterable[AnyPath] = ()) -> None:
    """Write a whole file; text as UTF-8. Errors as of :func:`writing`."""
    with writing(path, inputs=inputs) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_json(path: AnyPath, value: Any, *, inputs: Iterable[AnyPath] = ()) -> None:
    """Write a value as a JSON file for people to read, too. Errors as of :func:`writing`."""
    write(path, json.dumps(value, indent=1) + "\n", inputs=inputs)


@contextmanager
def writing(path: AnyPath, *, inputs: Iterable[AnyPath] = ()) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends.

    It is written beside it, brought to the disk and renamed. If the block raises, what was there stays, and nothing
    else is left behind. A symbolic link keeps its name, its target is replaced. Pipes, terminals and the like are
    written directly.

    Parameters
    ----------
    inputs:
        Files that must not be replaced; those that do not exist count for nothing.

    Raises
    ------
    OSError
        As the operating system says, always with the name of the file; FileExistsError if it is one of ``inputs``.
    """
    check_output(path, inputs)
    target = Path(os.path.realpath(path))
    direct = target.exists() and not target.is_file()
    part = target if direct else target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb" if direct else "xb") as file:
            yield file
            file.flush()
            if not direct:
                os.fsync(file.fileno())
        if not direct:
            part.replace(target)
    except BaseException as error:
        if not direct:
            with suppress(OSError):
                part.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            # Only opening and renaming say of which file they are, and then of one that nobody has asked for.
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), os.fspath(path)) from error
        raise


def check_output(path: AnyPath, inputs: Iterable[AnyPath] = ()) -> None:
    """Refuse what :func:`writing` would refuse, before the work that makes the contents.

    Raises
    ------
    OSError
        ``path`` is a folder, its folder does not exist, or it is one of ``inputs``.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a folder, expected a file to write", os.fspath(path))
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"cannot be written, there is no folder {folder}", os.fspath(path))
    for other in inputs:
        with suppress(FileNotFoundError):
            if os.path.samefile(path, other):
                raise FileExistsError(errno.EEXIST, "is an input, which would be overwritten", os.fspath(path))


def arrays(archive: bytes) -> dict[str, np.ndarray]:
    """Arrays by name of a NumPy archive (``.npz``).

    Raises
    ------
    ValueError
        No archive, a damaged one, or one with a member that is no plain array.
    """
    try:
        with np.load(io.BytesIO(archive), allow_pickle=False) as opened:
            found = {name: opened[name] for name in opened.files}
    except Exception as error:  # Whatever zipfile, zlib and NumPy trip over in a broken file.
        raise ValueError("no NumPy archive of plain arrays, or a damaged one") from error
    for name, value in found.items():
        if not isinstance(value, np.ndarray):  # NumPy gives the bytes of a member with another name than an array has.
            raise ValueError(f"member {name!r} of the NumPy archive is no array")
    return found
