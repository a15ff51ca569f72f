# SPDX-License-Identifier: Apache-2.0
"""The detectors in the repository are what their graphs compile to."""

import pytest

from codenet.compiler import compile as compile_graph
from codenet.graph import Graph
from codenet.program import Program
from codenet.zoo import ZOO
from tests.paths import ROOT

GRAPHS = ROOT / "models" / "zoo"
PROGRAMS = sorted(ZOO.glob("*.cdn"))


@pytest.mark.skipif(not PROGRAMS, reason="no compiled detector in sw/codenet/zoo")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_is_current_and_small(path, tmp_path):
    shipped = Program.load(path)
    compile_graph(Graph.load(GRAPHS / f"{path.stem}.cdg"), shipped.config).save(tmp_path / path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes(), (
        f"compile again: codenet compile models/zoo/{path.stem}.cdg -o sw/codenet/zoo/{path.name}"
    )
    assert path.stat().st_size < 3 << 20
