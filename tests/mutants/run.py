# SPDX-License-Identifier: Apache-2.0
"""Mutants in a copy of the checkout, and the tests that are to kill them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from functools import cache
from itertools import count
from pathlib import Path

from codenet.checkout import BUILD, ENVIRONMENT, ROOT, digest
from tests.mutants.mutate import Mutation

WORK = BUILD / "mutants"

KILLED, SURVIVED, TIMEOUT, EQUIVALENT = "killed", "survived", "timeout", "equivalent"

FALLBACK = {
    "hw/flow": (),
    "hw/synthesis": (),
    "hw/boards": ("tests/hw/flow/test_bitstream.py",),
    "hw/lib": ("tests/hw/dma", "tests/hw/pointwise", "tests/sim/test_errors.py"),
    "hw/arithmetic": ("tests/hw/lib/test_cells.py", "tests/sim/test_steps.py"),
    "hw": ("tests/hw/test_verilog.py", "tests/sim/test_steps.py", "tests/sim/test_errors.py"),
    "sw/codenet/golden": ("tests/codenet/devices/test_golden.py", "tests/codenet/compiler"),
    "sw/codenet/compiler": ("tests/codenet/runtime/test_verify.py", "tests/sim/cycles"),
    "sw/codenet/runtime": ("tests/codenet/cli",),
}
"""Tests besides those of the file's room, for the first folder that the file lies in."""

SLACK = 30.0
"""Seconds that any run may take besides a multiple of the tests' usual time."""

PATIENCE = 5.0
"""That multiple."""


def killers(path: str, stages: int = 3) -> list[list[str]]:
    """Tests of a source, stage by stage: those named after it, the others of its room, and those of what is built on
    it.
    """
    source = Path(path.removeprefix("sw/"))
    room = Path("tests") / source.parent
    own = room / f"test_{source.stem}.py"
    others = sorted(str(test.relative_to(ROOT)) for test in (ROOT / room).glob("test_*.py"))
    fallback = next((tests for folder, tests in FALLBACK.items() if path.startswith(f"{folder}/")), ())
    first = [str(own)] if str(own) in others else []
    every = [first, [test for test in others if test not in first], list(fallback)]
    return [tests for tests in every if tests][:stages]


class Tree:
    """A copy of the checkout in which one file at a time is mutated."""

    def __init__(self) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        lock, name = _free_place()
        weakref.finalize(self, os.close, lock)
        self.root, self.build = WORK / name, WORK / f"{name}-build"
        shutil.rmtree(self.root, ignore_errors=True)
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for path in filter(None, subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")):
            if (ROOT / path).is_file():
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, self.root / path)
        self._usual: dict[tuple[str, ...], float] = {}

    def suffer(self, mutation: Mutation, stages: int) -> tuple[str, str]:
        """Outcome of a mutant, and the test that killed it, or all that did not."""
        path = self.root / mutation.path
        original = path.read_bytes()
        every = killers(mutation.path, stages)
        for tests in every:
            limit = SLACK + PATIENCE * self.usual(tests)
            try:
                _write(path, mutation.apply(original))
                outcome, which = self.run(tests, limit)
            finally:
                _write(path, original)
            if outcome != SURVIVED:
                return outcome, which
        return SURVIVED, " ".join(test for tests in every for test in tests)

    def usual(self, tests: list[str]) -> float:
        """Seconds that the tests take with nothing mutated."""
        if tuple(tests) not in self._usual:
            began = time.monotonic()
            outcome, which = self.run(tests, None)
            if outcome != SURVIVED:
                raise RuntimeError(f"{which} fails without a mutation")
            self._usual[tuple(tests)] = time.monotonic() - began
        return self._usual[tuple(tests)]

    def run(self, tests: list[str], seconds: float | None) -> tuple[str, str]:
        """Outcome of some tests, and which of them failed."""
        before = self._built()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self.root), str(self.root / "sw")]),
            "OMP_NUM_THREADS": "1",
            ENVIRONMENT: str(self.build),
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", *tests]
        with subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                return TIMEOUT, f"{' '.join(tests)}: no end within {seconds:.0f} s"
            finally:
                _kill_group(process.pid)
                if seconds is not None:
                    for path in self._built() - before:
                        shutil.rmtree(path, ignore_errors=True)
        if process.returncode == 0:
            return SURVIVED, ""
        failed = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", output, re.MULTILINE)
        return KILLED, failed[1] if failed else output[-300:]

    def _built(self) -> set[Path]:
        """Simulations, of which each mutant makes its own."""
        return {path for kind in ("bench", "board") for path in (self.build / kind).glob("*") if path.is_dir()}


def _free_place() -> tuple[int, str]:
    """A name that no other process uses, as long as the file is open."""
    for number in count():
        file = os.open(WORK / f"tree-{number}.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file, f"tree-{number}"
        except BlockingIOError:
            os.close(file)
    raise AssertionError


_moments = 0


def _write(path: Path, source: bytes) -> None:
    """Write a source so that no compiled file is taken for its own, whatever the clock's resolution."""
    global _moments
    _moments += 2
    path.write_bytes(source)
    moment = time.time() + _moments
    os.utime(path, (moment, moment))


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


@cache
def key_of(path: str) -> str:
    """Digest of a source and of the tests of its stages."""
    places = [ROOT / test for tests in killers(path) for test in tests]
    files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return digest([ROOT / path, *files])
