# SPDX-License-Identifier: Apache-2.0
"""The site: the pages of the checkout and the API reference, in `build/site`; called by `make site`.

Warnings are errors: a link that leads nowhere, a picture that is missing, a public name without a docstring.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCE, TARGET = ROOT / "build" / "site-source", ROOT / "build" / "site"

PACKAGES = {"codenet": ROOT / "sw", "hw": ROOT, "models": ROOT, "sim": ROOT}
"""Packages of the reference, and where they lie."""


def modules(package: str) -> list[str]:
    """Dotted names of a package's public modules."""
    home = PACKAGES[package]
    paths = sorted((home / package).rglob("*.py"))
    names = [path.relative_to(home).with_suffix("").parts for path in paths]
    return [".".join(parts) for parts in names if not any(part.startswith("_") for part in parts)]


def room_of(module: str) -> str:
    """The room of a module, or the module itself if it lies beside the rooms."""
    return ".".join(module.split(".")[:2])


def write_reference(folder: Path) -> None:
    """A page for each room, its modules one after the other."""
    folder.mkdir()
    index = ["API reference", "=============", ""]
    for package in PACKAGES:
        rooms: dict[str, list[str]] = {}
        for module in modules(package):
            rooms.setdefault(room_of(module), []).append(module)
        index += [".. toctree::", f"   :caption: {package}", "", *(f"   {room}" for room in rooms), ""]
        for room, members in rooms.items():
            lines = [room, "=" * len(room), ""]
            if members != [room]:
                lines += [f".. automodule:: {room}", "   :ignore-module-all:", ""]
            for member in members:
                if member != room:
                    lines += [member, "-" * len(member), ""]
                lines += [f".. automodule:: {member}", ""]
            (folder / f"{room}.rst").write_text("\n".join(lines))
    (folder / "index.rst").write_text("\n".join(index))


def main() -> int:
    """Lay the sources out and run Sphinx; returns its status."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    # Pages link to each other, to pictures and to sources as they lie in the checkout.
    for name in ("docs", "models"):
        shutil.copytree(ROOT / name, SOURCE / name, ignore=shutil.ignore_patterns("__pycache__", "site"))
    for name in ("hw", "sim", "sw", "tests", "CITATION.cff", "LICENSE"):
        (SOURCE / name).symlink_to(ROOT / name)
    for name, page in {
        "README.md": "index.md",
        "CHANGELOG.md": "CHANGELOG.md",
        "CONTRIBUTING.md": "CONTRIBUTING.md",
    }.items():
        shutil.copy(ROOT / name, SOURCE / page)
    write_reference(SOURCE / "api")
    return sphinx(["-b", "html", "-n", "-W", "--keep-going", "-q", "-c", str(HERE), str(SOURCE), str(TARGET)])


if __name__ == "__main__":
    sys.exit(main())
