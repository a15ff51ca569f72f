# SPDX-License-Identifier: Apache-2.0
"""Imports go one way between rooms: each may import those before it, and the packages that its folder may, and nothing
else.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from codenet.checkout import ROOT

ROOMS = {
    "codenet": (
        "errors files command checkout config fit isa registers graph program golden compiler zoo svg vision devices "
        "runtime live codenet cli"
    ),
    "hw": (
        "chips lib interfaces axi control dma window arithmetic depthwise pointwise accelerator verilog synthesis "
        "boards flow"
    ),
    "models": (
        "command network data pretrained quantization evaluation training studies "
        "train qat export evaluate soup widen restem sprint teacher zoo shape precisions ablation offsets diagrams"
    ),
    "sim": (
        "timing networks frame verilator netlist testbench platforms cycles performance shape one_layer benchmark "
        "pictures run search dilation_sets"
    ),
}
"""Rooms of each folder in the order of imports: a room may import those to its left. A name is a package or a single
module.
"""

FOLDERS = {"codenet": ROOT / "sw" / "codenet"} | {name: ROOT / name for name in ("hw", "models", "sim")}

ALLOWED = {"codenet": set(), "hw": {"codenet"}, "models": {"codenet"}, "sim": {"codenet", "hw", "models"}}
"""Folders of the project that each may import, besides itself."""

FOREIGN = {
    "codenet": {"torch", "amaranth", "brevitas", "cocotb"},
    "hw": {"torch", "brevitas"},
    "models": {"amaranth"},
    "sim": set(),
}
"""Packages of others that a folder may not need."""


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it; names of a package's members with it, as they may be
    modules.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import, expected absolute ones"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(folder: str, parts: list[str]) -> str:
    """Room that the rest of a dotted name lies in; the folder's own ``__init__`` has the folder's name."""
    return parts[0] if parts and parts[0] in ROOMS[folder].split() else folder


def arrows(folder: str) -> Iterator[tuple[str, str, str]]:
    """Of a folder's files: path, own room, and each dotted name imported."""
    for path in sorted(FOLDERS[folder].rglob("*.py")):
        parts = path.relative_to(FOLDERS[folder]).with_suffix("").parts
        own = folder if parts[0].startswith("__") else parts[0]
        for name in imported(path):
            yield str(path.relative_to(ROOT)), own, name


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_in_a_room_that_the_list_names(folder):
    names = {path.relative_to(FOLDERS[folder]).with_suffix("").parts[0] for path in FOLDERS[folder].rglob("*.py")}
    order = ROOMS[folder].split()
    assert len(order) == len(set(order))
    assert {name for name in names if not name.startswith("__")} == set(order) - {folder}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_between_rooms_go_one_way(folder):
    order = ROOMS[folder].split()
    wrong = []
    for path, own, name in arrows(folder):
        top, *rest = name.split(".")
        if top != folder:
            continue
        other = room(folder, rest)
        # What a folder's own __init__ and __main__ offer stands where the list has the folder's name, otherwise first.
        ranks = {place: order.index(place) if place in order else -1 for place in (own, other)}
        if own != other and ranks[other] >= ranks[own] and not path.endswith("__main__.py"):
            wrong.append(f"{path}: {own} imports {other} ({name})")
    assert not wrong


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_only_what_they_may(folder):
    forbidden = FOREIGN[folder] | {*FOLDERS, "tests"} - ALLOWED[folder] - {folder}
    assert not [f"{path}: {name}" for path, _, name in arrows(folder) if name.split(".")[0] in forbidden]


def modules() -> dict[str, list[str]]:
    """Every module of the project, and the modules of it that are imported when it is: at the top of the file, not for
    types only.
    """
    paths = {}
    for folder, base in FOLDERS.items():
        for path in base.rglob("*.py"):
            parts = [folder, *path.relative_to(base).with_suffix("").parts]
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found: dict[str, list[str]] = {}
    for name, path in paths.items():
        found[name] = []
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found[name].append(inner if inner in paths else str(node.module))
        found[name] = [other for other in found[name] if other in paths and other != name]
    return found


def test_no_cycle_between_modules():
    graph = modules()
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, f"cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                # A package imports its modules to offer their names; they do not import it.
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_tests_of_the_runtime_need_no_checkout_of_it():
    """They also run with the package installed (make test-oldest), where ``codenet.checkout`` has nothing to say."""
    files = [path for path in (ROOT / "tests" / "codenet").rglob("*.py") if path.name != "test_checkout.py"]
    found = [path for path in files if any(name.startswith("codenet.checkout") for name in imported(path))]
    assert len(files) > 30 and not found
