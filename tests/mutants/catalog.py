# SPDX-License-Identifier: Apache-2.0
"""Which sources are mutated, and the mutants that are known to be equivalent."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from codenet.checkout import ROOT
from tests.mutants.mutate import Mutation, mutations

AREAS = ("hw", "sw/codenet/golden", "sw/codenet/compiler", "sw/codenet/runtime")

LIST = Path(__file__).with_name("equivalent.txt")


def sources(patterns: list[str]) -> dict[str, bytes]:
    """Sources by path, of those areas or files that match a pattern; all without one."""
    paths = [str(path.relative_to(ROOT)) for area in AREAS for path in sorted((ROOT / area).rglob("*.py"))]
    chosen = [path for path in paths if not patterns or any(fnmatch(path, pattern) for pattern in patterns)]
    return {path: (ROOT / path).read_bytes() for path in chosen}


@cache
def by_name(path: str) -> dict[str, Mutation]:
    """All mutations of a file."""
    return {mutation.name: mutation for mutation in mutations((ROOT / path).read_bytes(), path)}


def find(name: str) -> Mutation:
    """The mutation of this name; ``KeyError`` if the sources have none."""
    return by_name(name.partition(" ")[0])[name]


def area(path: str) -> str:
    """Of :data:`AREAS`."""
    return next(area for area in AREAS if path.startswith(f"{area}/"))


def equivalents(text: str) -> dict[str, str]:
    """Reasons by mutation's name."""
    reasons: dict[str, str] = {}
    for line in text.splitlines():
        if line[:1].isspace():
            name = next(reversed(reasons))
            reasons[name] = f"{reasons[name]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            assert line not in reasons, f"twice in the list: {line}"
            reasons[line] = ""
    return reasons
