# SPDX-License-Identifier: Apache-2.0
"""Plane runs: adds the offset of a plane to the address of a run."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.isa import Section
from hw.axi import RUN
from hw.dma.plane_table import OffsetTable
from hw.interfaces import ParameterBus
from hw.lib import delay

DEPTH = 16
"""Runs that wait for a bus master."""

_MARGIN = 6
"""Places kept free for the runs that are looked up and do not count yet."""


class PlaneRuns(wiring.Component):
    """Runs relative to a plane in, runs in memory out, in order, one a cycle; nothing on the way waits.

    Parameters
    ----------
    depth, section:
        Of :class:`hw.dma.plane_table.OffsetTable`.

    Members
    -------
    parameters, half:
        Offsets of the planes, and the half of them that is used.
    room:
        A run may enter.
    i, plane:
        Runs, and the plane of each; with ``room`` only.
    absolute:
        The address is one already. Stable in a step.
    o:
        The runs.
    busy:
        Some are inside.
    """

    def __init__(self, depth: int, section: Section) -> None:
        self.table = OffsetTable(depth, section)
        super().__init__(
            {
                "parameters": In(ParameterBus()),
                "half": In(1),
                "room": Out(1),
                "i": In(stream.Signature(RUN, always_ready=True)),
                "plane": In(self.table.index.shape()),
                "absolute": In(1),
                "o": Out(stream.Signature(RUN)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = self.table
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=RUN.size, depth=DEPTH)
        wiring.connect(m, table.parameters, wiring.flipped(self.parameters))
        m.d.comb += [table.half.eq(self.half), table.index.eq(self.plane)]
        # Looked up, added, in the queue.
        stages = [self.i.valid]
        for n in range(table.LATENCY + 2):
            stages.append(delay(m, stages[-1], 1, f"stage_{n}", reset=True))
        run = delay(m, self.i.payload, table.LATENCY, "run")
        payload = Signal(RUN, reset_less=True)
        m.d.sync += [
            payload.address.eq(run.address + Mux(self.absolute, 0, table.offset)),
            payload.beats.eq(run.beats),
            self.room.eq(queue.level <= DEPTH - _MARGIN),
        ]
        m.d.comb += [
            queue.w_en.eq(stages[-2]),
            queue.w_data.eq(payload),
            queue.r_en.eq(self.o.ready),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            self.busy.eq(Cat(stages).any() | queue.r_rdy),
        ]
        return m
