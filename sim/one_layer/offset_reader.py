# SPDX-License-Identifier: Apache-2.0
"""Offsets of a deformable convolution without bound, read from memory; for simulation only (docs/one-layer.md)."""

from amaranth import Cat, Module, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from hw.axi import BurstReader, BusControl, BusMaster, ReadPort
from hw.interfaces import StepControl
from hw.lib import connect_bundle, taken

TAPS = 9

OFFSET_BEATS = 3
"""Beats of a pixel: 18 int8 offsets, (dy, dx) of each tap in row-major order, and 6 bytes that mean nothing."""

OFFSETS = data.ArrayLayout(data.StructLayout({"dy": signed(8), "dx": signed(8)}), TAPS)
"""Tap (i, j), -1 to 1, of output pixel (y, x) is the input pixel (y + i + dy, x + j + dx)."""


class OffsetReader(wiring.Component):
    """The offsets of each output pixel, row-major, from ``base + step.peak_address`` on; a pixel in three cycles at
    best.

    The descriptor field ``peak_address`` has no other meaning in the steps of the simulation-only accelerators.

    Members
    -------
    step, start, base, clear, reset, busy, beat, error : as in :class:`hw.dma.loader.Loader`.
    port : AXI read channels.
    o : offsets.
    """

    STEP_FIELDS = ("output_pixels", "peak_address")

    def __init__(self) -> None:
        super().__init__(
            {
                **taken(StepControl()),
                **taken(BusMaster()),
                "port": Out(ReadPort()),
                "o": Out(stream.Signature(OFFSETS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = BurstReader()
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        connect_bundle(m, BusControl(), self, reader)
        control = Module()
        asking = Signal()
        control.d.comb += reader.runs.valid.eq(asking)
        with control.If(self.start):
            control.d.sync += [
                asking.eq(1),
                reader.runs.payload.address.eq(self.base + self.step.peak_address),
                reader.runs.payload.beats.eq(self.step.output_pixels + (self.step.output_pixels << 1)),
            ]
        with control.Elif(reader.runs.ready):
            control.d.sync += asking.eq(0)
        self._assemble(control, reader.data)
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(asking | ~reader.idle | self.o.valid)
        return m

    def _assemble(self, m: Module, beats: stream.Interface) -> None:
        """Join three beats."""
        count, earlier = Signal(range(OFFSET_BEATS)), Signal(64 * (OFFSET_BEATS - 1))
        complete = Signal()
        m.d.comb += [
            complete.eq(count == OFFSET_BEATS - 1),
            beats.ready.eq(~complete | ~self.o.valid | self.o.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(beats.valid & beats.ready):
            m.d.sync += [count.eq(count + 1), earlier.eq(Cat(earlier[64:], beats.payload))]
            with m.If(complete):
                m.d.sync += [
                    count.eq(0),
                    self.o.valid.eq(1),
                    self.o.payload.eq(Cat(earlier, beats.payload)[: OFFSETS.size]),
                ]
