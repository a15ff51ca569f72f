# SPDX-License-Identifier: Apache-2.0
"""Row buffer: pieces of rows of stored planes, read pixel by pixel for the expansion."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from codenet.config import AcceleratorConfig
from hw.interfaces import VECTOR, StepControl, VectorReader, begin_after
from hw.lib import READ_LATENCY, BlockMemory, count_to, delay, taken


class RowBuffer(wiring.Component):
    """Turns pieces of rows into pixels: vectors come by piece, plane, column and are read by piece, column, plane, once
    for each group of outputs.

    A ring of ``expand_depth`` vectors, of which at least one piece (``expand_planes * expand_columns``) must fit. A
    piece is read when it is complete, and its memory is free for another one when its last pixel is done; what room
    there is beyond one piece is filled meanwhile. Throughput: a vector a cycle, in and out.

    Members
    -------
    i : vectors of the loader, not before the third cycle after ``start``; only taken in steps with ``expand``.
    ready, take, last, free, payload : :class:`hw.interfaces.VectorReader`; a pixel's vectors are its planes.
    """

    STEP_FIELDS = "expand expand_planes expand_columns".split()

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "i": In(stream.Signature(VECTOR)),
                **VectorReader().members,
            }
        )

    @property
    def latency(self) -> int:
        return READ_LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.config.expand_depth
        m.submodules.memory = mem = BlockMemory(VECTOR.size, depth)
        last_column = delay(m, self.step.expand_columns - 1, 1, "last_column")
        restart = begin_after(m, self.start, 2)
        used, pieces = Signal(range(depth + 1)), Signal(range(depth + 1))
        accept = Signal()
        # The depth is a power of two: full is one bit.
        m.d.comb += [
            self.i.ready.eq(self.step.expand & ~used[-1]),
            accept.eq(self.i.valid & self.i.ready),
            self.payload.eq(mem.read_data),
        ]
        written, size = self._write(m, mem, accept, last_column, restart)
        done = self._read(m, mem, last_column, restart, size)
        freed = delay(m, done, 1, "done", reset=True)
        complete = delay(m, written, 1, "written", reset=True)
        m.d.sync += [
            pieces.eq(pieces + complete - done),
            # ``pieces != 0``
            self.ready.eq(complete | Mux(done, pieces[1:].any(), self.ready)),
            used.eq(used + accept - Mux(freed, size, 0)),
        ]
        with m.If(self.start):
            m.d.sync += [pieces.eq(0), self.ready.eq(0), used.eq(0)]
        return m

    def _write(self, m: Module, mem: BlockMemory, accept, last_column, restart):
        """Write pieces; returns "a piece's last vector is written" and, once there is a piece, the vectors of one."""
        address, count = Signal.like(mem.write_address), Signal.like(mem.write_address, name="count")
        size = Signal(len(address) + 1)
        ends_piece = Signal()
        last_plane = delay(m, self.step.expand_planes - 1, 1, "last_plane")
        ends_plane = count_to(m, "columns", last_column, accept, restart)
        m.d.comb += [
            ends_piece.eq(ends_plane & count_to(m, "planes", last_plane, accept & ends_plane, restart)),
            mem.write_enable.eq(accept),
            mem.write_address.eq(address),
            mem.write_data.eq(self.i.payload),
        ]
        with m.If(accept):
            m.d.sync += [address.eq(address + 1), count.eq(count + 1)]
            with m.If(ends_piece):
                m.d.sync += [count.eq(0), size.eq(count + 1)]
        with m.If(self.start):
            m.d.sync += [address.eq(0), count.eq(0)]
        return accept & ends_piece, size

    def _read(self, m: Module, mem: BlockMemory, last_column, restart, size):
        """Move the read pointer; returns "a piece's last vector is taken for the last time"."""
        address, pixel, piece = (Signal.like(mem.read_address, name=name) for name in ("read", "pixel", "piece"))
        ends_pixel, ends_piece = Signal(), Signal()
        at_last_column = count_to(m, "columns_read", last_column, ends_pixel, restart)
        m.d.comb += [
            ends_pixel.eq(self.take & self.last & self.free),
            ends_piece.eq(ends_pixel & at_last_column),
            mem.read_address.eq(address),
        ]
        with m.If(self.take):
            m.d.sync += address.eq(Mux(self.last, pixel, address + self.step.expand_columns))
        with m.If(ends_pixel):
            m.d.sync += [pixel.eq(pixel + 1), address.eq(pixel + 1)]
        with m.If(ends_piece):
            following = piece + size
            m.d.sync += [piece.eq(following), pixel.eq(following), address.eq(following)]
        with m.If(self.start):
            m.d.sync += [piece.eq(0), pixel.eq(0), address.eq(0)]
        return ends_piece
