"""Imports go one way: the runtime knows nothing of the checkout, hardware and networks nothing of each other or of simulation."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Folder, and what it may not import.
FORBIDDEN = {
    "sw/codenet": {"hw", "sim", "models", "tests", "torch", "amaranth", "brevitas", "cocotb"},
    "hw": {"sim", "models", "tests", "torch", "brevitas"},
    "models": {"sim", "hw", "tests", "amaranth"},
    "sim": {"tests"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of all packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_go_one_way(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert len(files) > 20
    wrong = {
        str(path.relative_to(ROOT)): sorted(found) for path in files if (found := imported(path) & FORBIDDEN[folder])
    }
    assert not wrong
