"""Row buffer: rows of stored planes, read pixel by pixel for the expansion."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.block_memory import READ_LATENCY, BlockMemory
from hw.interfaces import STEP, VECTOR
from hw.pipeline import delay


class RowBuffer(wiring.Component):
    """Turns rows of planes into pixels: vectors come by row, plane, column and are read by row, column, plane, once for each group of outputs.

    A ring of ``expand_depth`` vectors, of which at least one row (``expand_planes`` times the stored width) must fit. A row is read when it is
    complete, and its memory is free for another one when its last pixel is done; what room there is beyond one row is filled meanwhile.
    Throughput: a vector a cycle, in and out.

    Members
    -------
    i : vectors of the loader, not before the third cycle after ``start``; only taken in steps with ``expand``.
    ready, take, last, free, o_payload : read side, as that of :class:`hw.vector_buffer.VectorBuffer`: the vector at the read pointer is there; go
        on to the next plane; this was the pixel's last plane, return to its first, or, with ``free``, go on to the next pixel; the vector that the read
        pointer pointed at :attr:`latency` cycles ago.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "i": In(stream.Signature(VECTOR)),
                "ready": Out(1),
                "take": In(1),
                "last": In(1),
                "free": In(1),
                "o_payload": Out(VECTOR),
            }
        )

    @property
    def latency(self) -> int:
        return READ_LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.config.expand_depth
        m.submodules.memory = mem = BlockMemory(VECTOR.size, depth)
        width, last_column = Signal(12), Signal(12)
        m.d.sync += [
            width.eq(Mux(self.step.upsample, self.step.input_width >> 1, self.step.input_width)),
            last_column.eq(width - 1),
        ]
        used, rows = Signal(range(depth + 1)), Signal(range(depth + 1))
        accept = Signal()
        # The depth is a power of two: full is one bit.
        m.d.comb += [
            self.i.ready.eq(self.step.expand & ~used[-1]),
            accept.eq(self.i.valid & self.i.ready),
            self.ready.eq(rows != 0),
            self.o_payload.eq(mem.read_data),
        ]
        row_written, row_size = self._write(m, mem, accept, last_column)
        row_done = self._read(m, mem, width, last_column, row_size)
        done = delay(m, row_done, 1, "row_done", reset=True)
        m.d.sync += [
            rows.eq(rows + delay(m, row_written, 1, "row_written", reset=True) - row_done),
            used.eq(used + accept - Mux(done, row_size, 0)),
        ]
        with m.If(self.start):
            m.d.sync += [rows.eq(0), used.eq(0)]
        return m

    def _write(self, m: Module, mem: BlockMemory, accept, last_column):
        """Write rows; returns "a row's last vector is written" and, once there is a row, the vectors of one."""
        address, count, size = (
            Signal.like(mem.write_address),
            Signal.like(mem.write_address),
            Signal(len(mem.write_address) + 1),
        )
        column, plane = Signal(12), Signal(9)
        ends_plane, ends_row = Signal(), Signal()
        m.d.comb += [
            ends_plane.eq(column == last_column),
            ends_row.eq(ends_plane & (plane == delay(m, self.step.expand_planes - 1, 1, "planes"))),
            mem.write_enable.eq(accept),
            mem.write_address.eq(address),
            mem.write_data.eq(self.i.payload),
        ]
        with m.If(accept):
            m.d.sync += [address.eq(address + 1), column.eq(column + 1), count.eq(count + 1)]
            with m.If(ends_plane):
                m.d.sync += [column.eq(0), plane.eq(plane + 1)]
            with m.If(ends_row):
                m.d.sync += [plane.eq(0), count.eq(0), size.eq(count + 1)]
        with m.If(self.start):
            m.d.sync += [address.eq(0), column.eq(0), plane.eq(0), count.eq(0)]
        return accept & ends_row, size

    def _read(self, m: Module, mem: BlockMemory, width, last_column, row_size):
        """Move the read pointer; returns "a row's last vector is taken for the last time"."""
        address, pixel, row = (Signal.like(mem.read_address, name=name) for name in ("read", "pixel", "row"))
        column = Signal(12)
        ends_pixel, ends_row = Signal(), Signal()
        m.d.comb += [
            ends_pixel.eq(self.take & self.last & self.free),
            ends_row.eq(ends_pixel & (column == last_column)),
            mem.read_address.eq(address),
        ]
        with m.If(self.take):
            m.d.sync += address.eq(Mux(self.last, pixel, address + width))
        with m.If(ends_pixel):
            m.d.sync += [pixel.eq(pixel + 1), address.eq(pixel + 1), column.eq(column + 1)]
        with m.If(ends_row):
            following = row + row_size
            m.d.sync += [row.eq(following), pixel.eq(following), address.eq(following), column.eq(0)]
        with m.If(self.start):
            m.d.sync += [row.eq(0), pixel.eq(0), address.eq(0), column.eq(0)]
        return ends_row
