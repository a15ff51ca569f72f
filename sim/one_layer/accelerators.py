# SPDX-License-Identifier: Apache-2.0
"""Accelerators with offsets a tap, for simulation only: the baselines of the one-layer study (docs/one-layer.md).

All that is not named here is the accelerator's own: registers, control, parameters, depthwise and pointwise units,
storer. The steps are those of :mod:`codenet.isa` with ``dilated`` 0, stride 1, no upsampling, and the address of the
offsets (:mod:`sim.one_layer.offset_reader`) in ``peak_address``.
"""

from __future__ import annotations

from functools import lru_cache

from amaranth import Module, ResetInserter
from amaranth.lib import wiring

from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator, Parts
from hw.lib import relay
from hw.verilog import Wrapper, convert
from sim.one_layer.bounded_window import BoundedWindow
from sim.one_layer.gather_loader import GatherLoader
from sim.one_layer.offset_reader import OffsetReader
from sim.one_layer.read_arbiter import ReadArbiter
from sim.one_layer.sample_buffer import SampleBuffer


class OffsetAccelerator(Accelerator):
    """The accelerator with a reader of offsets, which shares port 1 with the parameters, and another loader or
    window.
    """

    def _other_readers(self) -> dict[str, wiring.Component]:
        return {"offsets": OffsetReader()}

    def _parameter_reader(self, m: Module, parts: Parts) -> wiring.Component:
        m.submodules.arbiter = arbiter = ResetInserter(relay(m, self.reset, "reset_arbiter"))(ReadArbiter())
        wiring.connect(m, parts.fetcher.port, arbiter.first)
        wiring.connect(m, parts.others["offsets"].port, arbiter.second)
        return arbiter


class UnboundedAccelerator(OffsetAccelerator):
    """Samples come from memory one by one: :class:`GatherLoader` and :class:`SampleBuffer` in place of loader and
    window.
    """

    def _loader(self) -> GatherLoader:
        return GatherLoader(self.config)

    def _window(self) -> SampleBuffer:
        return SampleBuffer(self.config)

    def _connect_input(self, m: Module, parts: Parts) -> None:
        super()._connect_input(m, parts)
        wiring.connect(m, parts.others["offsets"].o, parts.loader.offsets)
        wiring.connect(m, parts.loader.inside, parts.window.inside)


class BoundedAccelerator(OffsetAccelerator):
    """Samples come from the window's rows, at nine arbitrary positions: :class:`BoundedWindow` in place of the
    window.
    """

    def _window(self) -> BoundedWindow:
        return BoundedWindow(self.config)

    def _connect_input(self, m: Module, parts: Parts) -> None:
        super()._connect_input(m, parts)
        wiring.connect(m, parts.others["offsets"].o, parts.window.offsets)


@lru_cache
def generate_unbounded(config: AcceleratorConfig) -> str:
    """Verilog of :class:`UnboundedAccelerator`, with the module name and ports of :func:`hw.verilog.generate`."""
    return convert(Wrapper(UnboundedAccelerator(config)))


@lru_cache
def generate_bounded(config: AcceleratorConfig) -> str:
    """Verilog of :class:`BoundedAccelerator`, with the module name and ports of :func:`hw.verilog.generate`."""
    return convert(Wrapper(BoundedAccelerator(config)))
