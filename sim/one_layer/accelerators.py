"""Accelerators with offsets a tap, for simulation only: the baselines of the one-layer study (docs/one-layer.md).

All that is not named here is the accelerator's own: registers, control, parameters, depthwise and pointwise units, storer. The steps are
those of :mod:`codenet.isa` with ``dilated`` 0, stride 1, no upsampling, and the address of the offsets (:mod:`sim.one_layer.offset_reader`) in ``peak_address``.
"""

from __future__ import annotations

from functools import lru_cache

from amaranth import Module
from amaranth.lib import wiring

from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from hw.control import Registers, Sequencer
from hw.dma import Loader, ParameterFetcher, Storer
from hw.verilog import Wrapper, convert
from sim.one_layer.bounded_window import BoundedWindow
from sim.one_layer.gather_loader import GatherLoader
from sim.one_layer.offset_reader import OffsetReader
from sim.one_layer.read_arbiter import ReadArbiter
from sim.one_layer.sample_buffer import SampleBuffer


class OffsetAccelerator(Accelerator):
    """The accelerator with a reader of offsets, which shares port 1 with the parameters, and another loader or window."""

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.registers = registers = Registers(config)
        m.submodules.sequencer = sequencer = Sequencer()
        m.submodules.fetcher = fetcher = ParameterFetcher(config)
        m.submodules.offsets = offsets = OffsetReader()
        m.submodules.arbiter = arbiter = ReadArbiter()
        m.submodules.loader = loader = self._loader()
        m.submodules.storer = storer = Storer(config)
        datapath = self._datapath(m, sequencer)
        wiring.connect(m, fetcher.port, arbiter.first)
        wiring.connect(m, offsets.port, arbiter.second)
        self._connect_ports(m, registers, arbiter, loader, storer)
        self._connect_control(m, registers, sequencer)
        self._connect_memory_side(m, sequencer, fetcher, loader, storer, datapath["window"])
        self._connect_datapath(m, sequencer, loader, storer, **datapath)
        self._connect_offsets(m, sequencer, fetcher, loader, storer, offsets, datapath["window"])
        self._broadcast(m, sequencer, fetcher, [loader, storer, *datapath.values()])
        self._profile(m, registers, sequencer, arbiter, loader, storer, **datapath)
        return m

    def _connect_offsets(self, m, sequencer, fetcher, loader, storer, offsets, window):
        m.d.comb += [
            offsets.step.eq(sequencer.step),
            offsets.start.eq(sequencer.step_start),
            offsets.base.eq(sequencer.memory_base),
            offsets.clear.eq(sequencer.clear),
            # In place of what the accelerator itself connects.
            sequencer.read_error.eq(loader.error | offsets.error),
            sequencer.step_done.eq(storer.done & ~loader.busy & ~window.busy & ~offsets.busy),
            sequencer.idle.eq(~(fetcher.busy | loader.busy | storer.busy | offsets.busy)),
        ]


class UnboundedAccelerator(OffsetAccelerator):
    """Samples come from memory one by one: :class:`GatherLoader` and :class:`SampleBuffer` in place of loader and window."""

    def _loader(self):
        return GatherLoader(self.config)

    def _window(self):
        return SampleBuffer(self.config)

    def _connect_offsets(self, m, sequencer, fetcher, loader, storer, offsets, window):
        super()._connect_offsets(m, sequencer, fetcher, loader, storer, offsets, window)
        wiring.connect(m, offsets.o, loader.offsets)
        wiring.connect(m, loader.inside, window.inside)


class BoundedAccelerator(OffsetAccelerator):
    """Samples come from the window's rows, at nine arbitrary positions: :class:`BoundedWindow` in place of the window."""

    def _loader(self):
        return Loader(self.config)

    def _window(self):
        return BoundedWindow(self.config)

    def _connect_offsets(self, m, sequencer, fetcher, loader, storer, offsets, window):
        super()._connect_offsets(m, sequencer, fetcher, loader, storer, offsets, window)
        wiring.connect(m, offsets.o, window.offsets)


@lru_cache
def generate_unbounded(config: AcceleratorConfig) -> str:
    """Verilog of :class:`UnboundedAccelerator`, with the module name and ports of :func:`hw.verilog.generate`."""
    return convert(Wrapper(UnboundedAccelerator(config)))


@lru_cache
def generate_bounded(config: AcceleratorConfig) -> str:
    """Verilog of :class:`BoundedAccelerator`, with the module name and ports of :func:`hw.verilog.generate`."""
    return convert(Wrapper(BoundedAccelerator(config)))
