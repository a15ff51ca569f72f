# SPDX-License-Identifier: Apache-2.0
"""Cache keys: a module's sources are all files that it imports, and an edited one changes the key."""

import importlib
import os
import re
import subprocess
import sys

import pytest

from codenet import checkout
from codenet.checkout import PHOTOS, ROOT, digest, sources

pytestmark = pytest.mark.skipif(not (ROOT / "hw").is_dir(), reason="codenet is installed, and no checkout")


@pytest.mark.parametrize("module", ["hw.verilog", "sim.one_layer.accelerators", "models.quantization.untrained"])
def test_sources_are_what_python_loads(module):
    """Against the interpreter itself: what an import really brings in is in the key."""
    script = (
        f"import {module}, sys; print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', 0)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = [ROOT / "sw" / "codenet", ROOT / "hw", ROOT / "models", ROOT / "sim"]
    ours = {name for name in loaded.stdout.split() if any(name.startswith(f"{package}/") for package in packages)}
    assert len(ours) > 20
    assert ours <= {str(path) for path in sources(module)}


def test_sources_of_the_accelerator_are_in_the_key_of_the_simulated_board():
    names = {path.relative_to(ROOT).as_posix() for path in sources("hw.verilog")}
    every = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hw").rglob("*.py")}
    tools = ("hw/boards/", "hw/flow/", "hw/synthesis/")
    assert every - names <= {name for name in every if name.startswith(tools)} | {"hw/chips.py"}
    assert "sw/codenet/isa/descriptor.py" in names and "sw/codenet/registers.py" in names


def test_edited_component_is_built_anew(tmp_path, monkeypatch):
    """Of `sim.verilator.library`: the key of a build follows a source however deep in the tree, and the Verilog."""
    from codenet.config import AcceleratorConfig
    from sim.verilator import library as build

    deep = tmp_path / "hw" / "room" / "cell.py"
    deep.parent.mkdir(parents=True)
    deep.write_text("WIDTH = 8\n")
    top = tmp_path / "hw" / "top.py"
    top.write_text("def generate(config):\n    from hw.room import cell\n    return f'// {cell.WIDTH}'\n")
    monkeypatch.setattr(checkout, "_HOMES", {"hw": tmp_path})
    monkeypatch.setattr(build, "BOARDS", tmp_path / "build")
    made = []

    def generate(config):
        made.append(deep.read_text())
        return made[-1]

    generate.__module__ = "hw.top"
    keys = []
    for text in ("WIDTH = 8\n", "WIDTH = 8\n", "WIDTH = 9\n", "WIDTH = 8\n"):
        deep.write_text(text)
        checkout._file.cache_clear()
        keys.append(build._key(AcceleratorConfig(), generate))
    checkout._file.cache_clear()
    assert keys[0] == keys[1] == keys[3] != keys[2]
    assert len(made) == 2  # What was seen before is not generated again.


def test_types_only_and_foreign_imports_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "a.py").write_text(
        "import numpy\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sim import b\n"
        "def f():\n    from sim.c import x\n"
    )
    for name in "bc":
        (tmp_path / "sim" / f"{name}.py").write_text("x = 1\n")
    monkeypatch.setattr(checkout, "_HOMES", {"sim": tmp_path})
    checkout._file.cache_clear()
    assert [path.name for path in sources("sim.a")] == ["a.py", "c.py"]
    checkout._file.cache_clear()


def test_unknown_module():
    with pytest.raises(FileNotFoundError, match="module hw.nothing: not in the checkout"):
        sources("hw.nothing")


def test_digest_tells_parts_apart(tmp_path):
    path = tmp_path / "file"
    path.write_text("ab")
    assert digest([path], "c") != digest([path], "", "c")
    assert digest([], "ab", "c") != digest([], "a", "bc")
    assert importlib.import_module("codenet.checkout").ROOT == ROOT


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        ("a checkout/build", "has a space in its path, where make cannot build"),
        ("file/build", r"cannot be written \(Not a directory\)"),
        ("/proc/build", r"cannot be written \(.*\)"),
    ],
)
def test_nothing_is_built_where_it_cannot_be(tmp_path, build, reason):
    """Through the command that a user types, before anything is made."""
    (tmp_path / "file").touch()
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "sw"))), checkout.ENVIRONMENT: str(tmp_path / build)}
    words = [sys.executable, "-m", "codenet", "detect", str(PHOTOS / "chelsea.jpg"), "--device", "rtl"]
    done = subprocess.run(words, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    line = rf"codenet: error: build folder {tmp_path / build}/board: {reason}; set CODENET_BUILD to another folder\n"
    assert re.fullmatch(line, done.stderr)


def test_a_build_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(checkout, "BUILD", tmp_path / "new")
    assert checkout.build_folder("board") == tmp_path / "new" / "board"
    assert not list((tmp_path / "new" / "board").iterdir())
