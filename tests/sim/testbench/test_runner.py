# SPDX-License-Identifier: Apache-2.0
"""What a cocotb test imports, wherever the build lies."""

from pathlib import Path

import cocotb
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import hw
from codenet.checkout import ROOT
from sim import testbench as bench


class Wire(wiring.Component):
    """Nothing but a wire."""

    def __init__(self) -> None:
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(self.i)
        return m


def test_builds_below_another_checkout(tmp_path, monkeypatch):
    """Builds of one checkout may lie in another one, whose sources are not those that are tested."""
    other = tmp_path / "other"
    (other / "hw").mkdir(parents=True)
    (other / "hw" / "__init__.py").write_text("raise ImportError('of another checkout')\n")
    (other / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    monkeypatch.setattr(bench.runner, "BENCHES", other / "build" / "bench")
    bench.run(Wire(), __file__)


@cocotb.test()
async def check_sources(dut):
    assert ROOT / "hw" / "__init__.py" == Path(hw.__file__).resolve()
