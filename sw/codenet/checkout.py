# SPDX-License-Identifier: Apache-2.0
"""The checkout that this ``codenet`` is run from: its folders, and which of its files a module is made from.

For ``hw``, ``sim`` and ``models``, which exist in a checkout only; the installed runtime uses nothing of it.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from codenet.errors import CodenetError

ENVIRONMENT = "CODENET_BUILD"
"""Environment variable that names another folder for what is generated."""

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get(ENVIRONMENT) or ROOT / "build").absolute()
"""All that is generated."""

PHOTOS = ROOT / "docs" / "photos"

_HOMES = {"codenet": ROOT / "sw", "hw": ROOT, "models": ROOT, "sim": ROOT}
"""Where the packages of the project lie."""


def build_folder(name: str) -> Path:
    """A folder below :data:`BUILD` for tools that build with ``make``; made if it is not there.

    Raises
    ------
    CodenetError
        It cannot be written, or its path has a space, which ``make`` takes for the end of a name.
    """
    folder = BUILD / name
    advice = f"set {ENVIRONMENT} to another folder"
    if any(letter.isspace() for letter in str(folder)):
        raise CodenetError(f"build folder {folder}: has a space in its path, where make cannot build; {advice}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CodenetError(f"build folder {folder}: cannot be written ({error.strerror}); {advice}") from error
    return folder


def sources(*modules: str) -> list[Path]:
    """Files of the checkout that the modules are made from: their own, and those of all that they import, however
    indirectly.

    For the keys of caches: a result that depends on what a module computes is stale when one of these files has
    changed. An import counts wherever in the file it stands, except for types only (``if TYPE_CHECKING``).

    Raises
    ------
    FileNotFoundError
        No such module.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    for name in modules:
        if _file(name) is None:
            raise FileNotFoundError(f"module {name}: not in the checkout {ROOT}")
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is not None and name not in found:
            found[name] = path
            waiting += _imports(path)
    return sorted(found.values())


def digest(paths: Iterable[Path], *texts: str) -> str:
    """Sixteen hexadecimal digits that change with any of the files or texts."""
    total = hashlib.sha256()
    for part in (*(path.read_bytes() for path in paths), *(text.encode() for text in texts)):
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:16]


@cache
def _file(module: str) -> Path | None:
    """Of a module of the project; none for others, and for names inside modules."""
    home = _HOMES.get(module.split(".")[0])
    if home is None:
        return None
    path = home.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Names that may be modules: those that a file imports, with the packages around them."""
    for node in _statements(ast.parse(path.read_bytes())):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _statements(child)
