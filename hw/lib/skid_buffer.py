# SPDX-License-Identifier: Apache-2.0
"""Stream register: cuts the paths between the two sides of a stream."""

from amaranth import Module, Mux, Signal
from amaranth.hdl import ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamRegister(wiring.Component):
    """Two places, so that ``valid``, ``payload`` and ``ready`` all come from registers; an item a cycle, latency 1
    cycle.

    Members
    -------
    i, o : the stream of ``shape`` before and behind it.
    """

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # What came while ``o`` waited.
        spare = Signal.like(self.i.payload, reset_less=True)
        payload = Signal.like(self.i.payload, reset_less=True)
        spare_full, valid = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(~spare_full), self.o.valid.eq(valid), self.o.payload.eq(payload)]
        with m.If(~spare_full):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(self.o.ready | ~valid):
            m.d.sync += [
                valid.eq(self.i.valid | spare_full),
                payload.eq(Mux(spare_full, spare, self.i.payload)),
                spare_full.eq(0),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += spare_full.eq(1)
        return m
